#!/usr/bin/env bash
# Builds and runs the end-to-end suite of the pipeline beside the control plane of
# KRM_TEST_CLUSTER_DIR.
set -euo pipefail
cd "$(dirname "$0")/.."
(cd test/e2e && go build -o ../../bin/e2e-pipeline ./pipeline)
exec bin/e2e-pipeline --krm=bin/krm --cluster="$(hack/cluster.sh build)" --cluster-dir="$KRM_TEST_CLUSTER_DIR" "$@"
