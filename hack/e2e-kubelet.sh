#!/usr/bin/env bash
# Builds and runs the suite that compares KRM with a real kubelet. It needs root, and
# the Debian packages of "hack/deps.sh node".
set -euo pipefail
cd "$(dirname "$0")/.."
hack/deps.sh node
cluster=$(hack/cluster.sh build)
mkdir -p bin
(
	cd test/node
	export CGO_ENABLED=0
	go build -trimpath -o ../../bin/e2e-kubelet .
	go build -trimpath -ldflags '-s -w' -o ../../bin/burn ./burn
)
as_root=()
[ "$(id -u)" -eq 0 ] || as_root=(sudo -n)
exec "${as_root[@]}" bin/e2e-kubelet --krm=bin/krm --burn=bin/burn --cluster="$cluster" "$@"
