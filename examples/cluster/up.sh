#!/usr/bin/env bash
# Starts an etcd and three nodes on this machine, and stops them when it is ended. It
# keeps what it needs in a directory of its own, which it removes: DIR names one that
# stays. CADDY and ETCD name the programs; without them they are built from this checkout.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
dir=${DIR:-$(mktemp -d)}
mkdir -p "$dir"
dir=$(cd "$dir" && pwd)
keep=${DIR:-}
started=() # etcd first
finish() {
	trap - EXIT INT TERM
	# The nodes give their leases back, so etcd ends after them.
	kill "${started[@]:1}" 2>/dev/null || true
	wait "${started[@]:1}" 2>/dev/null || true
	kill "${started[@]:0:1}" 2>/dev/null || true
	wait
	[ -n "$keep" ] || rm -rf "$dir"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

caddy=${CADDY:-$dir/caddy} etcd=${ETCD:-$dir/etcd}
[ -x "$caddy" ] || (cd "$root" && go build -o "$caddy" ./cmd/caddy)
[ -x "$etcd" ] || (cd "$root/e2e" && go build -o "$etcd" go.etcd.io/etcd/server/v3)

export ETCD_ENDPOINTS=http://127.0.0.1:${ETCD_PORT:-12379}
peer=http://127.0.0.1:${ETCD_PEER_PORT:-12380}
"$etcd" --name etcd --data-dir "$dir/etcd.data" --log-level warn \
	--listen-client-urls "$ETCD_ENDPOINTS" --advertise-client-urls "$ETCD_ENDPOINTS" \
	--listen-peer-urls "$peer" --initial-advertise-peer-urls "$peer" --initial-cluster "etcd=$peer" \
	--auto-compaction-mode periodic --auto-compaction-retention 1h >"$dir/etcd.log" 2>&1 &
started+=($!)

for i in 1 2 3; do
	NODE=n$i ADMIN_PORT=$((12018 + i)) HTTP_PORT=$((18079 + i)) HTTPS_PORT=$((18442 + i)) DNS_PORT=$((15352 + i)) \
		XDG_DATA_HOME=$dir/n$i XDG_CONFIG_HOME=$dir/n$i \
		"$caddy" run --config "$here/Caddyfile" --adapter caddyfile >"$dir/n$i.log" 2>&1 &
	started+=($!)
done

for ((tries = 0; ; tries++)); do
	if status=$("$caddy" apoxy cluster status --address localhost:12019 2>"$dir/status.log") && [ "$(grep -c '  live  ' <<<"$status")" = 3 ]; then
		break
	fi
	for p in "${started[@]}"; do
		kill -0 "$p" 2>/dev/null || { echo "one of them has ended:" >&2; tail -n 3 "$dir"/*.log >&2; exit 1; }
	done
	[ $tries -lt 300 ] || { echo "they are not live after a minute: see $dir" >&2; keep=yes; exit 1; }
	sleep 0.2
done
cat <<TEXT
$status

Three nodes are live. Try, in another terminal:

  $caddy apoxy domainrecord apply -f $root/examples/domainrecord.yaml --address localhost:12019
  $caddy apoxy domainrecord get --address localhost:12021
  dig @127.0.0.1 -p 15354 shop.customer.test.cname.example.net
  kill -9 ${started[2]}    # node n2: its work goes to the others within seconds
  $caddy apoxy cluster status --address localhost:12019

Logs are in $dir. Ctrl-C ends all of it.
TEXT
wait
