#!/usr/bin/env bash
# Checks everything that needs no test run. "make fix" repairs most of it.
set -uo pipefail
cd "$(dirname "$0")/.."
failed=0
check() { # check NAME COMMAND...: prints the command's output only if it fails
	local name=$1 output
	shift
	if output=$("$@" 2>&1); then
		echo "ok    $name"
	else
		echo "FAIL  $name"
		printf '%s\n' "$output" | tail -n 60
		failed=$((failed + 1))
	fi
	checks=$((checks + 1))
}
checks=0
tool() { go tool -modfile=tools/go.mod "$@"; }
formatted() { local found; found=$(tool gofumpt -l $(git ls-files --cached --others --exclude-standard '*.go')); [ -z "$found" ] || { echo "not gofumpt-ed (make fix):"; echo "$found"; return 1; }; }
tidy() { (cd "$1" && go mod tidy -diff); }
scripts() { local file; for file in hack/*.sh .ci/run; do bash -n "$file" || return 1; done; }
help_lists() { # every target that people are told of is listed by make help
	local target list
	list=$(make --no-print-directory help)
	for target in run build deps test test-unit test-integration test-compat test-metrics test-billing e2e-pipeline e2e e2e-kubelet bench-stream bench-read bench-collector bench-billing verify fix cluster; do
		grep -q "^  $target " <<<"$list" || { echo "make help does not list $target"; return 1; }
	done
}

check "format" formatted
for module in . test/cluster test/e2e test/bench test/kubectl test/kubelets test/node test/influxd tools; do
	check "modules of $module" tidy "$module"
done
check "lint" tool golangci-lint run ./...
check "lint with integration tests" tool golangci-lint run --build-tags=integration ./...
for module in test/e2e test/bench test/kubelets test/node; do
	check "vet $module" env -C "$module" go vet ./...
done
check "vet test/cluster" hack/cluster.sh vet
check "scripts" scripts
check "make help" help_lists
echo "RESULT suite=verify checks=$checks failed=$failed"
[ "$failed" -eq 0 ]
