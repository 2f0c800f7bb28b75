#!/usr/bin/env bash
# Installs the Debian packages that the tests need, or says how.
#
#   hack/deps.sh         what "make test" needs
#   hack/deps.sh node    besides, what a real kubelet needs: a container runtime and its network plugins
set -euo pipefail

declare -A package_of=([redis-server]=redis-server [redis-cli]=redis-tools [redis-sentinel]=redis-sentinel [flock]=util-linux [curl]=curl)
if [ "${1:-}" = node ]; then
	package_of+=([containerd]=containerd [runc]=runc [/usr/lib/cni/bridge]=containernetworking-plugins [ip]=iproute2)
fi
PATH=$PATH:/usr/sbin:/sbin
missing=()
for command in "${!package_of[@]}"; do
	command -v "$command" >/dev/null || missing+=("${package_of[$command]}")
done
[ ${#missing[@]} -eq 0 ] && exit 0

as_root=()
if [ "$(id -u)" -ne 0 ]; then
	if sudo -n true 2>/dev/null; then
		as_root=(sudo -n)
	else
		echo "The tests need these Debian packages. Install them with:" >&2
		echo "  sudo apt-get update && sudo apt-get install -y --no-install-recommends ${missing[*]}" >&2
		exit 1
	fi
fi

echo "installing ${missing[*]}"
# Debian starts a packaged server at once; the tests start their own, so keep it from that.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
	printf '#!/bin/sh\nexit 101\n' | "${as_root[@]}" tee "$policy" >/dev/null
	"${as_root[@]}" chmod +x "$policy"
	trap '"${as_root[@]}" rm -f "$policy"' EXIT
fi
"${as_root[@]}" apt-get update -qq
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
