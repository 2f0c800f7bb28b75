#!/usr/bin/env bash
# Builds the local Kubernetes control plane of test/cluster once per machine, and runs it.
#
#   hack/cluster.sh build         build if needed and print the path of the binary (also with no argument)
#   hack/cluster.sh COMMAND ...   build if needed, then run the binary: up, stop, selftest, ...
#   hack/cluster.sh test          test the module with the flags of the build, so that Kubernetes is not compiled twice
#   hack/cluster.sh vet           vet the module; the first time this reads all of Kubernetes, for 4 minutes
#
# The binary lies in ${XDG_CACHE_HOME:-~/.cache}/krm/cluster/KEY, where KEY is made of its sources,
# its go.sum and the Go version. The three keys used last are kept.
set -euo pipefail

source=$(cd "$(dirname "${BASH_SOURCE[0]}")/../test/cluster" && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/krm/cluster
kubernetes=$(awk '$1 == "k8s.io/kubernetes" { print $2; exit }' "$source/go.mod")
ldflags="-s -w -X k8s.io/component-base/version.gitVersion=$kubernetes -X k8s.io/client-go/pkg/version.gitVersion=$kubernetes"
export CGO_ENABLED=0 GOWORK=off

say() { echo "hack/cluster.sh: $*" >&2; }

key() {
	cd "$source"
	{
		go version
		echo "$ldflags"
		find . -name '*.go' ! -name '*_test.go' -o -name '*.yaml' -o -name go.mod -o -name go.sum |
			LC_ALL=C sort | xargs sha256sum
	} | sha256sum | cut -c1-16
}

# Prints how many packages the build must compile: those whose result is not in Go's cache.
# Fetches the modules if they are not there.
stale() {
	local packages
	packages=$(cd "$source" && go list -trimpath -deps -f '{{if .Stale}}{{.ImportPath}}{{end}}' .) || return
	grep -c . <<<"$packages" || true
}

# build TARGET: compiles to a temporary name beside TARGET, so that TARGET is whole or absent.
build() {
	local target=$1 temp log start pid state total
	temp=$(mktemp -d "$cache/build.XXXXXX")
	log=$temp/log
	# shellcheck disable=SC2064
	trap "rm -rf '$temp'; kill \$(jobs -p) 2>/dev/null || true" EXIT
	start=$SECONDS
	say "building Kubernetes $kubernetes from its Go modules"
	total=$(stale) || { say "the modules could not be read or fetched: see above, and try again with a network"; exit 1; }
	say "$total packages to compile; all of them, as on a new machine, take 5 to 10 minutes on 2 cores"
	(cd "$source" && exec go build -v -trimpath -buildvcs=false -ldflags "$ldflags" -o "$temp/cluster" .) >"$log" 2>&1 &
	pid=$!
	while kill -0 "$pid" 2>/dev/null; do
		# Wakes at once when the build ends, and every 10 s to tell how far it is.
		timeout 10 tail --pid="$pid" -f /dev/null || say "$((SECONDS - start)) s: $(wc -l <"$log") of $total packages"
	done
	if ! wait "$pid"; then
		tail -n 30 "$log" >&2
		say "the build failed: see above"
		exit 1
	fi
	mkdir -p "$(dirname "$target")"
	mv "$temp/cluster" "$target"
	rm -rf "$temp"
	trap - EXIT
	say "built in $((SECONDS - start)) s: $target"
}

# prune removes all keys but the three that were used last.
prune() {
	find "$cache" -mindepth 1 -maxdepth 1 -type d ! -name 'build.*' -printf '%T@ %p\n' |
		sort -rn | tail -n +4 | cut -d' ' -f2- | xargs -r -d '\n' rm -rf --
}

case ${1:-build} in
test)
	cd "$source"
	exec go test -vet=off -trimpath ./...
	;;
vet)
	cd "$source"
	exec go vet -trimpath ./...
	;;
esac

mkdir -p "$cache"
binary=$cache/$(key)/cluster
exec 9>"$cache/lock"
if [[ ! -x $binary ]]; then
	flock -n 9 || { say "another build is running, waiting for it"; flock 9; }
	[[ -x $binary ]] || build "$binary"
	touch "$(dirname "$binary")"
	prune
fi
touch "$(dirname "$binary")"
exec 9>&-

if [[ ${1:-build} == build ]]; then
	echo "$binary"
else
	exec "$binary" "$@"
fi
