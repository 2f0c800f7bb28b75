#!/usr/bin/env bash
# Builds and runs the suite that compares KRM with the API server, beside the control
# plane of KRM_TEST_CLUSTER_DIR. Arguments go to the suite: --parts=requests --only=watch
set -euo pipefail
cd "$(dirname "$0")/.."
mkdir -p bin
export CGO_ENABLED=0
kubectl=$(hack/kubectl.sh build)
cd test/e2e
go build -o ../../bin/test-compat ./compat
go build -o ../../bin/informers-thisyear ./compat/informers
go build -modfile=lastyear.mod -tags=lastyear -o ../../bin/informers-lastyear ./compat/informers
cd ../..
exec bin/test-compat --krm=bin/krm --kubectl="$kubectl" --cluster="$(hack/cluster.sh build)" --cluster-dir="$KRM_TEST_CLUSTER_DIR" \
	--informers=thisyear=bin/informers-thisyear,lastyear=bin/informers-lastyear "$@"
