#!/usr/bin/env bash
# Runs the integration tests beside the control plane of KRM_TEST_CLUSTER_DIR, one
# package after the other: some of them restart the control plane.
set -euo pipefail
cd "$(dirname "$0")/.."
set -a
. "$KRM_TEST_CLUSTER_DIR/env"
set +a
export KRM_TEST_KUBECONFIG="$KUBECONFIG" KRM_TEST_ETCD="${ETCD_ENDPOINTS:-}"
unset KUBECONFIG
exec hack/gotest.sh integration -count=1 -p 1 -tags integration -timeout 10m \
	./internal/... ./streamer/... ./verifier/... ./aggregator/... ./apiserver/... ./client/... ./cmd/...
