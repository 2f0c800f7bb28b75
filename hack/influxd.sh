#!/usr/bin/env bash
# Builds the InfluxDB server of test/influxd once per machine, and runs it.
#
#   hack/influxd.sh build         build if needed and print the path of the binary (also with no argument)
#   hack/influxd.sh COMMAND ...   build if needed, run COMMAND beside a fresh server with authentication and Flux on,
#                                 bound to 127.0.0.1, and remove the server and its data afterwards. Within another
#                                 such call COMMAND uses the server that runs already.
#
# COMMAND finds the server's URL in KRM_TEST_INFLUX_URL, its administrator in KRM_TEST_INFLUX_USER and
# KRM_TEST_INFLUX_PASSWORD, and its process in KRM_TEST_INFLUX_PID. The binary lies in ${XDG_CACHE_HOME:-~/.cache}/krm/influxd/KEY, where KEY is made
# of the module's files and the Go version. The three keys used last are kept.
set -euo pipefail

source=$(cd "$(dirname "${BASH_SOURCE[0]}")/../test/influxd" && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/krm/influxd
version=$(awk '$2 == "github.com/influxdata/influxdb" { print $3; exit }' "$source/go.mod")
ldflags="-s -w -X main.version=${version#v}"

say() { echo "hack/influxd.sh: $*" >&2; }

key() {
	cd "$source"
	{
		go version
		echo "$ldflags"
		LC_ALL=C sha256sum -- *.go go.mod go.sum
	} | sha256sum | cut -c1-16
}

# build TARGET: compiles to a temporary name beside TARGET, so that TARGET is whole or absent.
build() {
	local target=$1 temp start=$SECONDS
	temp=$(mktemp -d "$cache/build.XXXXXX")
	# shellcheck disable=SC2064
	trap "rm -rf '$temp'" EXIT
	say "building influxd $version from its Go module: about a minute on 2 cores"
	(cd "$source" && CGO_ENABLED=0 GOWORK=off nice -n 5 go build -trimpath -buildvcs=false -ldflags "$ldflags" \
		-o "$temp/influxd" github.com/influxdata/influxdb/cmd/influxd) || { say "the build failed: see above"; exit 1; }
	mkdir -p "$(dirname "$target")"
	mv "$temp/influxd" "$target"
	rm -rf "$temp"
	trap - EXIT
	say "built in $((SECONDS - start)) s: $target"
}

# prune removes all keys but the three that were used last.
prune() {
	find "$cache" -mindepth 1 -maxdepth 1 -type d ! -name 'build.*' -printf '%T@ %p\n' |
		sort -rn | tail -n +4 | cut -d' ' -f2- | xargs -r -d '\n' rm -rf --
}

mkdir -p "$cache"
binary=$cache/$(key)/influxd
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
	exit
fi
[[ -n ${KRM_TEST_INFLUX_URL:-} ]] && exec "$@"

dir=$(mktemp -d "${TMPDIR:-/tmp}/krm-influxd.XXXXXX")
# settings HTTP-PORT RPC-PORT: port 0 would be free by itself, but influxd does not say which it took.
settings() {
	cat <<-CONF
		reporting-disabled = true
		bind-address = "127.0.0.1:$2"
		[meta]
		  dir = "$dir/meta"
		[data]
		  dir = "$dir/data"
		  wal-dir = "$dir/wal"
		  index-version = "tsi1"
		  max-series-per-database = 0
		  max-values-per-tag = 0
		  query-log-enabled = false
		[http]
		  bind-address = "127.0.0.1:$1"
		  auth-enabled = true
		  flux-enabled = true
		  log-enabled = false
		[monitor]
		  store-enabled = false
		[logging]
		  level = "warn"
	CONF
}

pid=
stop() {
	status=$?
	trap - EXIT
	[[ -n $pid ]] && { kill -TERM "$pid" 2>/dev/null || true; wait "$pid" 2>/dev/null || true; }
	if [[ $status -ne 0 && -n ${KRM_KEEP:-} ]]; then
		say "the server's folder is kept: $dir"
	else
		rm -rf "$dir"
	fi
	exit "$status"
}
trap stop EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

up=
for _ in 1 2 3 4 5; do # another port where one is taken
	port=$((20000 + RANDOM % 12000))
	settings "$port" $((port + 1)) >"$dir/influxd.conf"
	"$binary" run -config "$dir/influxd.conf" >"$dir/log" 2>&1 &
	pid=$!
	for _ in $(seq 1 150); do
		kill -0 "$pid" 2>/dev/null || break
		if curl -fsS -o /dev/null "http://127.0.0.1:$port/ping" 2>/dev/null && kill -0 "$pid" 2>/dev/null; then
			up=1
			break 2
		fi
		read -r -t 0.2 <> <(:) || true
	done
	kill -TERM "$pid" 2>/dev/null || true
	wait "$pid" 2>/dev/null || true
done
[[ -n $up ]] || { tail -n 20 "$dir/log" >&2; say "influxd did not start: see above"; exit 1; }

export KRM_TEST_INFLUX_URL=http://127.0.0.1:$port KRM_TEST_INFLUX_USER=root KRM_TEST_INFLUX_PID=$pid
KRM_TEST_INFLUX_PASSWORD=$(od -An -N12 -tx1 /dev/urandom | tr -d ' \n')
export KRM_TEST_INFLUX_PASSWORD
curl -fsS -o /dev/null -XPOST "$KRM_TEST_INFLUX_URL/query" \
	--data-urlencode "q=CREATE USER root WITH PASSWORD '$KRM_TEST_INFLUX_PASSWORD' WITH ALL PRIVILEGES"
"$@"
