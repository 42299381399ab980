#!/usr/bin/env bash
# Counts what reloads of CADDY cut, with net.ipv4.tcp_migrate_req as it is given. Runs as
# root, in a network namespace of its own.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
if [ "${3:-}" != inside ]; then
	dir=$(mktemp -d)
	trap 'rm -rf "$dir"' EXIT
	(cd "$here" && go build -o "$dir/reload" .)
	DIR=$dir unshare --net "$0" "$(realpath "$1")" "$2" inside
	exit
fi
ip link set lo up
sysctl -q net.ipv4.tcp_migrate_req="$2"
export XDG_DATA_HOME=$DIR/data XDG_CONFIG_HOME=$DIR/config HOME=$DIR
printf '{\n\tskip_install_trust\n\tlocal_certs\n}\nhttps://localhost {\n\trespond ok\n}\n' >"$DIR/Caddyfile"
"$1" run --config "$DIR/Caddyfile" --adapter caddyfile >"$DIR/log" 2>&1 &
caddy=$!
trap 'kill "$caddy" 2>/dev/null || true; wait "$caddy" 2>/dev/null || true' EXIT
for ((tries = 0; ; tries++)); do
	curl -ksf -o /dev/null https://localhost/ && break
	[ $tries -lt 100 ] || { tail -n 5 "$DIR/log" >&2; exit 1; }
	sleep 0.1
done
"$DIR/reload" "$1" "$DIR/Caddyfile"
