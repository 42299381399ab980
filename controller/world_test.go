package controller

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/apoxy-dev/caddy-apoxy/internal/dnstest"
	"github.com/apoxy-dev/caddy-apoxy/resolver"
)

const ownZone = "cname.example.net"

func newTestResolver(t testing.TB, w *dnstest.World, change ...func(*resolver.Config)) *resolver.Resolver {
	t.Helper()
	cfg := resolver.Config{
		Resolvers:     []string{fmt.Sprintf("127.0.0.1:%d", w.Port())},
		Port:          uint16(w.Port()),
		OwnZone:       func() string { return ownZone },
		EdgeAddresses: func() []netip.Addr { return addrs("203.0.113.10") },
		Timeout:       6 * time.Second,
		QueryTimeout:  600 * time.Millisecond,
		Grace:         400 * time.Millisecond,
		CacheTTL:      time.Nanosecond,
		// The world lives on loopback.
		PrivateNetworks: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")},
	}
	for _, f := range change {
		f(&cfg)
	}
	return resolver.New(cfg)
}

func addrs(s ...string) []netip.Addr {
	var out []netip.Addr
	for _, a := range s {
		out = append(out, netip.MustParseAddr(a))
	}
	return out
}
