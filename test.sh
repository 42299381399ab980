#!/usr/bin/env bash
# Passes all tests, on a Debian machine with nothing but Go and git: installs
# the Debian packages that are missing, then runs `make -f xcaddy.mk test`. Asks
# for root, through sudo, for the packages and for the end-to-end tests, which
# make a network of their own.
set -euo pipefail
cd "$(dirname "$0")"
PATH="$PATH:/usr/local/go/bin:/usr/sbin:/sbin"
if [ "$(id -u)" = 0 ]; then
	e2e/packages.sh
else
	e2e/packages.sh 2>/dev/null || sudo e2e/packages.sh
fi
exec make -f xcaddy.mk test
