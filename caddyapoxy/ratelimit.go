package caddyapoxy

import (
	"crypto/rand"
	"fmt"
	"strconv"
	"strings"
	"sync"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/apoxy-dev/caddy-apoxy/dnsprovider"
)

// noRateLimit is `dns_rate_limit off` in JSON.
const noRateLimit = -1

// dnsGuard returns what all DNS servers of the process share: the secret of DNS
// cookies, random, and the measure of what is sent to whom. Both outlive
// configurations, so that a reload forgets no client and forgives no flood.
var dnsGuard = sync.OnceValue(func() *dnsprovider.Guard {
	var secret [32]byte
	_, _ = rand.Read(secret[:]) // never fails
	return dnsprovider.NewGuard(secret)
})

// parseRateLimit parses
//
//	dns_rate_limit <answers a second>|off
func parseRateLimit(d *caddyfile.Dispenser, to *int) error {
	arg := strings.Join(d.RemainingArgs(), " ")
	n, err := strconv.Atoi(arg)
	if arg == "off" {
		n = noRateLimit
	} else if err != nil || n < 1 || n > dnsprovider.MaxRateLimit {
		return d.Errf("dns_rate_limit: expected answers a second, from 1 to %d, or off, got %q", dnsprovider.MaxRateLimit, arg)
	}
	*to = n
	return nil
}

// checkRateLimit refuses what no Caddyfile can hold.
func (a *App) checkRateLimit() error {
	if a.DNSRateLimit < noRateLimit || a.DNSRateLimit > dnsprovider.MaxRateLimit {
		return fmt.Errorf("dns_rate_limit: expected answers a second, from 1 to %d, or %d for no limit, got %d",
			dnsprovider.MaxRateLimit, noRateLimit, a.DNSRateLimit)
	}
	return nil
}

// rateLimit is the limit as the zones take it: 0 for none.
func (a *App) rateLimit() int {
	if a.DNSRateLimit == 0 {
		return dnsprovider.DefaultRateLimit
	}
	return max(a.DNSRateLimit, 0)
}
