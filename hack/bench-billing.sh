#!/usr/bin/env bash
# Builds and runs the benchmark of billing: a real krm over an embedded metric database
# and over the influxd of hack/influxd.sh. It takes the flags of test/bench/billing.
set -euo pipefail
cd "$(dirname "$0")/.."
mkdir -p bin
(cd test/bench && CGO_ENABLED=0 go build -trimpath -o ../../bin/bench-billing ./billing)
exec bin/bench-billing --krm=bin/krm "$@"
