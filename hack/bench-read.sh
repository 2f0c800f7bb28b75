#!/usr/bin/env bash
# Builds and runs the benchmark of reads: KRM beside kube-apiserver, on a control plane
# of its own. It takes the flags of test/bench/read.
set -euo pipefail
cd "$(dirname "$0")/.."
(cd test/bench && go build -o ../../bin/bench-read ./read)
exec bin/bench-read --krm=bin/krm --cluster="$(hack/cluster.sh build)" "$@"
