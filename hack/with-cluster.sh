#!/usr/bin/env bash
# Runs a command beside a fresh local control plane, whose folder it finds in
# KRM_TEST_CLUSTER_DIR. Within another such call it uses the one that runs already.
set -euo pipefail
cd "$(dirname "$0")/.."

[ -n "${KRM_TEST_CLUSTER_DIR:-}" ] && exec "$@"

dir=$(mktemp -d "${TMPDIR:-/tmp}/krm-cluster.XXXXXX")
cluster=$(hack/cluster.sh build)
"$cluster" up --dir="$dir" --nodes=5 >"$dir/ready" 2>"$dir/up.log" &
pid=$!

stop() {
	status=$?
	trap - EXIT
	kill -TERM "$pid" 2>/dev/null || true
	wait "$pid" 2>/dev/null || true
	if [ "$status" -ne 0 ]; then
		echo "the control plane's folder is kept: $dir" >&2
	else
		rm -rf "$dir"
	fi
	exit "$status"
}
trap stop EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

for _ in $(seq 1 600); do
	grep -q '^ready ' "$dir/ready" && break
	if ! kill -0 "$pid" 2>/dev/null; then
		cat "$dir/up.log" >&2
		echo "the local control plane did not start" >&2
		exit 1
	fi
	read -r -t 0.2 <> <(:) || true
done
grep -q '^ready ' "$dir/ready" || { cat "$dir/up.log" >&2; echo "the local control plane was not ready within 2 minutes" >&2; exit 1; }

KRM_TEST_CLUSTER_DIR="$dir" KRM_TEST_KUBECONFIG="$dir/kubeconfig" "$@"
