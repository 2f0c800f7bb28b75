#!/usr/bin/env bash
# Runs the integration tests beside the control plane of KRM_TEST_CLUSTER_DIR and
# ends in a RESULT line computed from what ran.
set -euo pipefail
cd "$(dirname "$0")/.."
set -a
. "$KRM_TEST_CLUSTER_DIR/env"
set +a
export KRM_TEST_KUBECONFIG="$KUBECONFIG" KRM_TEST_ETCD="${ETCD_ENDPOINTS:-}"
unset KUBECONFIG

report=$(mktemp)
trap 'rm -f "$report"' EXIT
status=0
go test -json -count=1 -p 1 -tags integration -timeout 10m ./internal/... ./streamer/... ./verifier/... ./aggregator/... ./apiserver/... ./client/... ./cmd/... >"$report" || status=$?
count() { grep -c "\"Action\":\"$1\".*\"Test\":" "$report" || true; }
passed=$(count pass) failed=$(count fail) skipped=$(count skip)
if [ "$status" -ne 0 ]; then
	grep -h '"Action":"output"' "$report" | sed -E 's/.*"Output":"(.*)"\}$/\1/; s/\\n$//; s/\\t/\t/g; s/\\"/"/g' | grep -vE '^=== |^--- PASS|^ok ' | tail -n 200
fi
echo "RESULT suite=integration passed=$passed failed=$failed skipped=$skipped"
[ "$status" -eq 0 ] && [ "$passed" -gt 0 ] && [ "$skipped" -eq 0 ]
