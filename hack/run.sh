#!/usr/bin/env bash
# Runs KRM in one process: for your kubeconfig if there is one, else beside a local
# control plane with simulated nodes, kubelets and pods, which it builds and starts.
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
(cd test/kubelets && CGO_ENABLED=0 go build -trimpath -o ../../bin/kubelets .)
"$cluster" up --dir="$dir" --nodes=10 --pods="$pods" >"$dir/ready" &
pids=($!)
stop() {
	status=$?
	trap - EXIT
	kill -TERM "${pids[@]}" 2>/dev/null || true
	wait "${pids[@]}" 2>/dev/null || true
	exit "$status"
}
trap stop EXIT
trap : INT TERM # both reach krm, which ends; then this script goes on to stop

until grep -q '^ready ' "$dir/ready"; do
	kill -0 "${pids[0]}" 2>/dev/null || { echo "The local control plane did not start; see $dir/logs." >&2; exit 1; }
	sleep 0.2
done
# The simulated nodes' kubelets have the API server's certificate, so that whoever trusts that trusts them.
bin/kubelets --kubeconfig="$dir/kubeconfig" --dir="$dir/kubelets" --housekeeping=5s \
	--tls-cert-file="$dir/pki/apiserver.crt" --tls-private-key-file="$dir/pki/apiserver.key" >/dev/null 2>"$dir/logs/kubelets.log" &
pids+=($!)
bin/krm standalone --kubeconfig="$dir/kubeconfig" --metric-resolution=10s --data-dir="$dir/krm" "$@"
