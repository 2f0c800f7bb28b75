#!/usr/bin/env bash
# Builds and runs the suite that proves KRM's metrics right, beside the control plane
# of KRM_TEST_CLUSTER_DIR. Arguments go to the suite: --parts=vectors --keep=DIR
set -euo pipefail
cd "$(dirname "$0")/.."
mkdir -p bin
export CGO_ENABLED=0
kubectl=$(hack/kubectl.sh build)
(cd test/kubelets && go build -trimpath -o ../../bin/kubelets .)
(cd test/e2e && go build -o ../../bin/test-metrics ./metrics)
exec bin/test-metrics --krm=bin/krm --kubelets=bin/kubelets --kubectl="$kubectl" --cluster-dir="$KRM_TEST_CLUSTER_DIR" "$@"
