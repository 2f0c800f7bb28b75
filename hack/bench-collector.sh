#!/usr/bin/env bash
# Builds and runs the benchmark of metrics: a real collector and a real apiserver beside
# kubelets that test/kubelets plays. It takes the flags of test/bench/collector.
set -euo pipefail
cd "$(dirname "$0")/.."
(cd test/kubelets && CGO_ENABLED=0 go build -trimpath -o ../../bin/kubelets .)
(cd test/bench && go build -o ../../bin/bench-collector ./collector)
exec bin/bench-collector --krm=bin/krm --kubelets=bin/kubelets "$@"
