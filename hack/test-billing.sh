#!/usr/bin/env bash
# Builds and runs the suite that proves billing right, on a real InfluxDB and on the
# embedded database. Arguments go to the suite: --parts=figures --databases=embedded --keep=DIR
#
# Both databases lie in memory where there is room for that: their thousands of synced
# writes say nothing about billing, and take minutes on a busy disk. So an InfluxDB of
# its own is started there, also within hack/influxd.sh.
set -euo pipefail
cd "$(dirname "$0")/.."
mkdir -p bin
export CGO_ENABLED=0
influxd=$(hack/influxd.sh build)
(cd test/kubelets && go build -trimpath -o ../../bin/kubelets .)
(cd test/e2e && go build -o ../../bin/test-billing ./billing)
memory=/dev/shm
if [[ -w $memory && $(df --output=avail -k "$memory" | tail -1) -gt 2000000 ]]; then
	unset KRM_TEST_INFLUX_URL
	export TMPDIR=$memory
fi
exec hack/influxd.sh bin/test-billing --krm=bin/krm --kubelets=bin/kubelets --influxd="$influxd" "$@"
