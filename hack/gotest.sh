#!/usr/bin/env bash
# Runs Go tests as a suite: hack/gotest.sh SUITE GO-TEST-ARGUMENTS...
# Prints what failed, and last a RESULT line computed from what ran. A suite in which
# nothing ran, or something was skipped, or which misses a planted fault, fails.
set -euo pipefail
suite=$1
shift
report=$(mktemp)
trap 'rm -f "$report"' EXIT

# count ACTION: how many tests (not packages) ended so.
count() { grep -c "\"Action\":\"$1\".*\"Test\":" "$report" || true; }

planted=missed
KRM_PLANT_FAULT=1 go test -json -count=1 -run '^TestPlantedFault$' . >"$report" 2>&1 || [ "$(count fail)" -eq 0 ] || planted=found

status=0
start=$SECONDS
go test -json "$@" >"$report" || status=$?
passed=$(count pass) failed=$(count fail) skipped=$(count skip)
if [ "$status" -ne 0 ] || [ "$skipped" -ne 0 ]; then
	grep -h '"Action":"\(build-\)\?output"' "$report" |
		sed -E 's/.*"Output":"(.*)"\}$/\1/; s/\\n$//; s/\\t/\t/g; s/\\"/"/g; s/\\u003c/</g; s/\\u003e/>/g; s/\\u0026/\&/g' |
		grep -vE '^(=== |--- PASS|ok |PASS$|\? )' | tail -n 300 || true
	grep '"Action":"fail".*"Test":' "$report" | sed -E 's/.*"Package":"([^"]*)","Test":"([^"]*)".*/FAILED \1 \2/' || true
fi
echo "RESULT suite=$suite passed=$passed failed=$failed skipped=$skipped seconds=$((SECONDS - start)) planted=$planted"
[ "$status" -eq 0 ] && [ "$passed" -gt 0 ] && [ "$skipped" -eq 0 ] && [ "$planted" = found ]
