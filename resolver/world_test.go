package resolver

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/apoxy-dev/caddy-apoxy/internal/dnstest"
)

const ownZone = "cname.example.net"

func newTestResolver(t testing.TB, w *dnstest.World, change ...func(*Config)) *Resolver {
	t.Helper()
	cfg := Config{
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
	return New(cfg)
}

// customer is a world with the zone example.com on two servers.
type customer struct {
	*dnstest.World
	ns1, ns2 *dnstest.Server
	zone     *dnstest.Zone
}

func newCustomer(t testing.TB) *customer {
	w := dnstest.New(t)
	c := &customer{World: w, ns1: w.Server("ns1.provider.test"), ns2: w.Server("ns2.provider.test")}
	c.zone = w.Zone("example.com", c.ns1, c.ns2)
	w.Zone("example.net", w.Server("ns1.example.net"))
	return c
}

func (c *customer) behave(b dnstest.Behaviour) {
	c.ns1.Behave(b)
	c.ns2.Behave(b)
}

const (
	rightTraffic   = "api 300 IN CNAME api.example.com.cname.example.net."
	rightChallenge = "_acme-challenge.api 300 IN CNAME _acme-challenge.api.example.com.cname.example.net."
)

func addrs(s ...string) []netip.Addr {
	var out []netip.Addr
	for _, a := range s {
		out = append(out, netip.MustParseAddr(a))
	}
	return out
}

// packets counts what has reached any server but the resolver, by UDP and TCP.
func packets(c *customer) int {
	n := 0
	for _, s := range c.Servers() {
		n += s.Asked()
	}
	return n
}
