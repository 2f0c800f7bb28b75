#!/usr/bin/env bash
# Runs KRM in one process: for your kubeconfig if there is one, else beside a local
# control plane with simulated nodes and pods, which it builds and starts.
set -euo pipefail
cd "$(dirname "$0")/.."

if [ -n "${KUBECONFIG:-}" ] || [ -f "$HOME/.kube/config" ]; then
	echo "Watching the cluster of ${KUBECONFIG:-$HOME/.kube/config}"
	exec bin/krm standalone "$@"
fi

dir=${CLUSTER_DIR:-.krm/cluster}
pods=${PODS:-300}
mkdir -p "$dir"
echo "No kubeconfig found, so KRM gets a cluster of its own: a real control plane on 127.0.0.1 with $pods simulated pods."
cluster=$(hack/cluster.sh build)
"$cluster" up --dir="$dir" --nodes=10 --pods="$pods" >"$dir/ready" &
pid=$!
stop() {
	status=$?
	trap - EXIT
	kill -TERM "$pid" 2>/dev/null || true
	wait "$pid" 2>/dev/null || true
	exit "$status"
}
trap stop EXIT
trap : INT TERM # both reach krm, which ends; then this script goes on to stop

until grep -q '^ready ' "$dir/ready"; do
	kill -0 "$pid" 2>/dev/null || { echo "The local control plane did not start; see $dir/logs." >&2; exit 1; }
	sleep 0.2
done
bin/krm standalone --kubeconfig="$dir/kubeconfig" "$@"
