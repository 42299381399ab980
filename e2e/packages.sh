#!/usr/bin/env bash
# Installs the Debian packages that the tests need and that are missing: the
# peers of the end-to-end tests, and what the race detector needs to link.
# Does nothing, and needs neither root nor a network, if all are there.
set -euo pipefail

missing=()
need() { # program package
	command -v "$1" >/dev/null || missing+=("$2")
}
PATH="$PATH:/usr/sbin:/sbin"
need make make
need gcc gcc
need nsd nsd
need unbound unbound
need ldns-signzone ldnsutils
need dig dnsutils
need dnsperf dnsperf
need openssl openssl
need curl curl
need chromium chromium
need npm npm
need certutil libnss3-tools
need nginx nginx-light
need haproxy haproxy
need nft nftables
[ -e /usr/include/stdlib.h ] || missing+=(libc6-dev)
[ -e /etc/ssl/certs/ca-certificates.crt ] || missing+=(ca-certificates)

[ ${#missing[@]} -eq 0 ] && exit 0
if [ "$(id -u)" != 0 ]; then
	echo "These Debian packages are missing: ${missing[*]}. Run 'sudo $0' to install them." >&2
	exit 1
fi
# The daemons are started by the tests, never by their packages.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
	printf '#!/bin/sh\nexit 101\n' >"$policy"
	chmod +x "$policy"
	trap 'rm -f "$policy"' EXIT
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update -q
apt-get install -y -q --no-install-recommends "${missing[@]}"
