#!/usr/bin/env bash
# Builds kubectl from its Go modules (test/kubectl) once per machine.
#
#   hack/kubectl.sh build          build if needed and print the path of the binary (also with no argument)
#   hack/kubectl.sh ARGUMENT ...   build if needed, then run it: get pods, ...
#
# The binary lies in ${XDG_CACHE_HOME:-~/.cache}/krm/kubectl/KEY, where KEY is made of its source,
# its go.sum and the Go version. The two keys used last are kept.
set -euo pipefail

source=$(cd "$(dirname "${BASH_SOURCE[0]}")/../test/kubectl" && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/krm/kubectl
# v0.36.3 of the module is v1.36.3 of Kubernetes.
version=v1.$(awk '$1 == "k8s.io/kubectl" { sub(/^v0\./, "", $2); print $2; exit }' "$source/go.mod")
ldflags="-s -w -X k8s.io/component-base/version.gitVersion=$version -X k8s.io/component-base/version.gitMajor=1 -X k8s.io/component-base/version.gitMinor=$(cut -d. -f2 <<<"$version")"
export CGO_ENABLED=0 GOWORK=off

say() { echo "hack/kubectl.sh: $*" >&2; }

key() {
	{
		go version
		echo "$ldflags"
		cat "$source/main.go" "$source/go.mod" "$source/go.sum"
	} | sha256sum | cut -c1-16
}

# build TARGET: compiles to a temporary name beside TARGET, so that TARGET is whole or absent.
build() {
	local temp start=$SECONDS
	temp=$(mktemp -d "$cache/build.XXXXXX")
	say "building kubectl $version from its Go modules, which takes 1 to 3 minutes"
	# The flags are those of hack/cluster.sh, so that what both need is compiled once.
	if ! (cd "$source" && go build -trimpath -buildvcs=false -ldflags "$ldflags" -o "$temp/kubectl" .); then
		rm -rf "$temp"
		say "the build failed: see above"
		exit 1
	fi
	mkdir -p "$(dirname "$1")"
	mv "$temp/kubectl" "$1"
	rm -rf "$temp"
	say "built in $((SECONDS - start)) s: $1"
}

mkdir -p "$cache"
binary=$cache/$(key)/kubectl
exec 9>"$cache/lock"
if [[ ! -x $binary ]]; then
	flock 9
	[[ -x $binary ]] || build "$binary"
	touch "$(dirname "$binary")"
	find "$cache" -mindepth 1 -maxdepth 1 -type d ! -name 'build.*' -printf '%T@ %p\n' |
		sort -rn | tail -n +3 | cut -d' ' -f2- | xargs -r -d '\n' rm -rf --
fi
touch "$(dirname "$binary")"
exec 9>&-

if [[ ${1:-build} == build ]]; then
	echo "$binary"
else
	exec "$binary" "$@"
fi
