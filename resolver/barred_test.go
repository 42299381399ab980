package resolver

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/apoxy-dev/caddy-apoxy/internal/dnstest"
	"github.com/apoxy-dev/caddy-apoxy/ownership"
)

// nowhere takes loopback, where the world lives, off what may be contacted.
func nowhere(c *Config) { c.PrivateNetworks = nil }

// only lists single addresses.
func only(addrs ...netip.Addr) func(*Config) {
	return func(c *Config) {
		c.PrivateNetworks = nil
		for _, a := range addrs {
			c.PrivateNetworks = append(c.PrivateNetworks, netip.PrefixFrom(a, a.BitLen()))
		}
	}
}

func TestServersOnSpecialAddressesAreNotContacted(t *testing.T) {
	world := dnstest.NewCustomer(t)
	world.Domain.Set(dnstest.RightTraffic, dnstest.RightChallenge)
	r := newTestResolver(t, world.World, nowhere)
	for _, kind := range []Kind{KindTraffic, KindACMEChallenge} {
		got := r.Observe(t.Context(), "api.example.com", kind)
		if got.Outcome != ownership.Seen || len(got.Chain) != 1 || !got.Cached || got.Problem != "" {
			t.Errorf("kind %d: %+v", kind, got)
		}
		for _, want := range []string{
			"ns1.provider.test (" + world.NS1.Addr.String() + ")", "127.0.0.0/8, loopback (RFC 1122)", "`private_networks`",
			"what resolver 127.0.0.1 says is used instead",
		} {
			if !strings.Contains(got.Err, want) {
				t.Errorf("Err is %q, want it to hold %q", got.Err, want)
			}
		}
		if !got.Barred {
			t.Errorf("not said to be barred: %+v", got)
		}
	}
	r.CAA(t.Context(), "api.example.com")
	r.Delegated(t.Context(), "api.example.com")
	r.Addresses(t.Context(), "www.example.com")
	r.Observe(t.Context(), "absent.example.com", KindOwnership)
	for _, s := range []*dnstest.Server{world.NS1, world.NS2} {
		if n := s.Asked(); n > 0 {
			t.Errorf("%s was asked %d times", s.Name, n)
		}
	}
}

func TestCustomersWithForbiddenServersSilenceNobodyElse(t *testing.T) {
	world := dnstest.NewCustomer(t)
	world.Domain.Set(dnstest.RightTraffic)
	for i := range mutedAfter + 1 {
		origin := fmt.Sprintf("insider%d.com", i)
		world.Zone(origin, world.Server("ns1.insider.test"))
	}
	r := newTestResolver(t, world.World, only(world.NS1.Addr, world.NS2.Addr))
	for i := range mutedAfter + 1 {
		r.Observe(t.Context(), fmt.Sprintf("www.insider%d.com", i), KindTraffic)
	}
	if got := r.Observe(t.Context(), "api.example.com", KindTraffic); got.Cached || got.Outcome != ownership.Seen {
		t.Errorf("got %+v", got)
	}
}

func TestAZoneWithSomeForbiddenServers(t *testing.T) {
	world := dnstest.NewCustomer(t)
	world.Domain.Set(dnstest.RightTraffic)
	// What may not be asked has no say: it would disagree for ever.
	world.NS2.Fork(world.Domain).Set("api IN CNAME app.old.org.")
	r := newTestResolver(t, world.World, only(world.NS1.Addr))
	got := r.Observe(t.Context(), "api.example.com", KindTraffic)
	if got.Outcome != ownership.Seen || got.Cached || got.Barred || got.Problem != "" || len(got.Chain) != 1 {
		t.Errorf("got %+v", got)
	}
	if !strings.Contains(got.Err, "ns2.provider.test ("+world.NS2.Addr.String()+")") || strings.Contains(got.Err, "ns1.") {
		t.Errorf("Err is %q", got.Err)
	}
	if n := world.NS2.Asked(); n > 0 {
		t.Errorf("the forbidden server was asked %d times", n)
	}
	// That the other is out of order is no reason to believe a lone resolver.
	world.NS1.Behave(dnstest.Fail(dns.RcodeRefused))
	if got := r.Observe(t.Context(), "api.example.com", KindTraffic); !got.Cached || got.Barred {
		t.Errorf("with the other out of order: %+v", got)
	}
}

func TestGlueOnSpecialAddressesIsNotContacted(t *testing.T) {
	world := dnstest.NewCustomer(t)
	insider := world.Server("ns.insider.test")
	world.Behave(dnstest.ReferTo("api.example.com", []string{"ns.api.example.com"},
		fmt.Sprintf("ns.api.example.com. 60 IN A %s", insider.Addr), "ns.api.example.com. 60 IN A 10.0.0.1",
		"ns.api.example.com. 60 IN AAAA ::ffff:192.168.0.1", "ns.api.example.com. 60 IN AAAA 64:ff9b::a9fe:a9fe"))
	r := newTestResolver(t, world.World, only(world.NS1.Addr, world.NS2.Addr, world.Server("a.root-servers.test").Addr))
	got := r.Observe(t.Context(), "api.example.com", KindTraffic)
	if insider.Asked() > 0 || !strings.Contains(got.Err, "name server ns.api.example.com ("+insider.Addr.String()+") (and 3 others) is not asked") {
		t.Errorf("the insider was asked %d times; observed %+v", insider.Asked(), got)
	}
}

func TestForbiddenServersDoNotCrowdOutOthers(t *testing.T) {
	r := New(Config{Resolvers: []string{"127.0.0.1"}})
	glue := map[string][]netip.Addr{"ns.example.com.": addrs("10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4",
		"10.0.0.5", "10.0.0.6", "10.0.0.7", "10.0.0.8", "8.8.8.8")}
	r.addresses.Put("ns.example.com.", glue["ns.example.com."], time.Minute)
	may, barred := r.resolveServers(t.Context(), "example.com", []string{"ns.example.com."}, nil)
	if len(may) != 1 || may[0].addr != netip.MustParseAddr("8.8.8.8") || len(barred) != 8 {
		t.Errorf("asked: %v; barred: %v", may, barred)
	}
}
