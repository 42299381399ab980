package resolver

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/miekg/dns"

	"github.com/apoxy-dev/caddy-apoxy/internal/dnstest"
	"github.com/apoxy-dev/caddy-apoxy/ownership"
)

var looseObservation = cmp.Options{
	cmpopts.IgnoreFields(ownership.DNSObservation{}, "At", "Servers", "TTL", "Err", "Zone", "ZoneSure", "ZoneServers"),
	cmpopts.EquateEmpty(), cmpopts.EquateComparable(netip.Addr{}),
}

func TestObserve(t *testing.T) {
	alias := func(chain ...string) ownership.DNSObservation {
		return ownership.DNSObservation{Outcome: ownership.Seen, Chain: chain}
	}
	unknown := func(p ownership.ZoneProblem) ownership.DNSObservation {
		return ownership.DNSObservation{Outcome: ownership.CouldNotTell, Problem: p}
	}
	for _, c := range []struct {
		what     string
		set      func(c *dnstest.Customer)
		hostname string
		kind     Kind
		want     ownership.DNSObservation
		err      string // part of Err
	}{
		{
			what: "the right CNAME ends at our zone",
			set:  func(c *dnstest.Customer) { c.Domain.Set(dnstest.RightTraffic) },
			want: alias("api.example.com.cname.example.net."),
		},
		{
			what: "the right delegation",
			set:  func(c *dnstest.Customer) { c.Domain.Set(dnstest.RightChallenge) },
			kind: KindACMEChallenge,
			want: alias("_acme-challenge.api.example.com.cname.example.net."),
		},
		{
			what: "a chain through another zone",
			set: func(c *dnstest.Customer) {
				c.Domain.Set("api IN CNAME alias.other.org.")
				c.Zone("other.org", c.Server("ns.other.org")).Set("alias IN CNAME api.example.com.cname.example.net.")
			},
			want: alias("alias.other.org.", "api.example.com.cname.example.net."),
		},
		{
			what: "an alias of the old provider, with its addresses",
			set: func(c *dnstest.Customer) {
				c.Domain.Set("api IN CNAME app.old.org.")
				c.Zone("old.org", c.Server("ns.old.org")).Set("app IN A 192.0.2.7")
			},
			want: ownership.DNSObservation{Outcome: ownership.Seen, Chain: []string{"app.old.org."}, Addresses: addrs("192.0.2.7")},
		},
		{
			what: "an alias that leads to no name",
			set:  func(c *dnstest.Customer) { c.Domain.Set("api IN CNAME gone.example.com.") },
			want: ownership.DNSObservation{Outcome: ownership.Seen, Chain: []string{"gone.example.com."}, Dangling: true},
		},
		{
			what: "an alias into a zone that fails",
			set: func(c *dnstest.Customer) {
				c.Domain.Set("api IN CNAME app.old.org.")
				s := c.Server("ns.old.org")
				c.Zone("old.org", s)
				s.Behave(dnstest.Fail(dns.RcodeServerFailure))
			},
			want: ownership.DNSObservation{Outcome: ownership.CouldNotTell, Chain: []string{"app.old.org."}, Problem: ownership.ZoneServFail},
			err:  "api.example.com. is an alias of app.old.org., which could not be looked up",
		},
		{
			what: "nothing there", want: ownership.DNSObservation{Outcome: ownership.Absent, NXDomain: true},
		},
		{
			what: "nothing but a mail server there",
			set:  func(c *dnstest.Customer) { c.Domain.Set("api IN MX 10 mail") },
			want: ownership.DNSObservation{Outcome: ownership.Absent},
		},
		{
			what: "addresses",
			set: func(c *dnstest.Customer) {
				c.Domain.Set("api IN A 192.0.2.1", "api IN A 192.0.2.2", "api IN AAAA 2001:db8::1")
			},
			want: ownership.DNSObservation{Outcome: ownership.Seen, Addresses: addrs("192.0.2.1", "192.0.2.2", "2001:db8::1")},
		},
		{
			what: "addresses at the apex", hostname: "example.com",
			set:  func(c *dnstest.Customer) { c.Domain.Set("@ IN A 192.0.2.1") },
			want: ownership.DNSObservation{Outcome: ownership.Seen, Apex: true, Addresses: addrs("192.0.2.1")},
		},
		{
			what: "a TXT record in place of the delegation", kind: KindACMEChallenge,
			set:  func(c *dnstest.Customer) { c.Domain.Set(`_acme-challenge.api IN TXT "abc"`) },
			want: ownership.DNSObservation{Outcome: ownership.Seen, Other: []string{`TXT "abc"`}},
		},
		{
			what: "a TXT record beside the right delegation", kind: KindACMEChallenge,
			set: func(c *dnstest.Customer) {
				c.Domain.Set(dnstest.RightChallenge, `_acme-challenge.api IN TXT "left over"`)
			},
			want: ownership.DNSObservation{Outcome: ownership.Seen, Other: []string{`TXT "left over"`},
				Chain: []string{"_acme-challenge.api.example.com.cname.example.net."}},
		},
		{
			what: "an owner name to which the registrar appended its zone", kind: KindACMEChallenge,
			set: func(c *dnstest.Customer) {
				c.Domain.Set("_acme-challenge.api.example.com IN CNAME _acme-challenge.api.example.com.cname.example.net.")
			},
			want: ownership.DNSObservation{Outcome: ownership.Absent, NXDomain: true, Elsewhere: []string{"_acme-challenge.api.example.com.example.com."}},
		},
		{
			what: "a challenge record that was put at the apex", kind: KindOwnership,
			set: func(c *dnstest.Customer) {
				c.Domain.Set("_apoxy-challenge IN CNAME _apoxy-verify.cname.example.net.")
			},
			want: ownership.DNSObservation{Outcome: ownership.Absent, NXDomain: true, Elsewhere: []string{"_apoxy-challenge.example.com."}},
		},
		{
			what: "a wildcard that leads the challenge elsewhere", kind: KindACMEChallenge, hostname: "new.example.com",
			set: func(c *dnstest.Customer) {
				c.Domain.Set("* IN CNAME app.old.org.")
				c.Zone("old.org", c.Server("ns.old.org")).Set("app IN A 192.0.2.7")
			},
			want: ownership.DNSObservation{Outcome: ownership.Seen, Wildcard: true, Chain: []string{"app.old.org."}},
		},
		{
			what: "a wildcard hostname", hostname: "*.example.com",
			set:  func(c *dnstest.Customer) { c.Domain.Set("* IN CNAME _wildcard.example.com.cname.example.net.") },
			want: alias("_wildcard.example.com.cname.example.net."),
		},
		{
			what: "a zone below the registered domain", hostname: "a.dev.example.com",
			set: func(c *dnstest.Customer) {
				c.Zone("dev.example.com", c.Server("ns.dev.example.com")).Set("a IN CNAME a.dev.example.com.cname.example.net.")
			},
			want: alias("a.dev.example.com.cname.example.net."),
		},
		{
			what: "a domain that is not registered", hostname: "www.nowhere.com",
			want: ownership.DNSObservation{Outcome: ownership.Absent, NXDomain: true, Problem: ownership.ZoneNotRegistered},
		},
		{
			what: "servers that disagree",
			set: func(c *dnstest.Customer) {
				c.Domain.Set(dnstest.RightTraffic)
				c.NS2.Fork(c.Domain).Set("api IN CNAME app.old.org.")
			},
			want: unknown(ownership.ZoneDisagrees),
			err:  "the name servers of example.com do not agree: 1 of 2 answer CNAME api.example.com.cname.example.net. (127.53.",
		},
		{
			what: "one server that has nothing yet",
			set: func(c *dnstest.Customer) {
				c.NS2.Fork(c.Domain)
				c.Domain.Set(dnstest.RightTraffic)
			},
			want: unknown(ownership.ZoneDisagrees), err: "1 of 2 answer nothing",
		},
		{
			what: "one server that is dead, the other right",
			set: func(c *dnstest.Customer) {
				c.Domain.Set(dnstest.RightTraffic)
				c.NS1.Behave(dnstest.Silent)
			},
			want: alias("api.example.com.cname.example.net."),
		},
		{
			what: "one server that is lame, the other right",
			set: func(c *dnstest.Customer) {
				c.Domain.Set(dnstest.RightTraffic)
				c.NS1.Forget(c.Domain)
			},
			want: alias("api.example.com.cname.example.net."),
			err:  "1 of 2 name servers of example.com do not serve it",
		},
		{
			what: "all servers silent",
			set:  func(c *dnstest.Customer) { c.Behave(dnstest.Silent) }, want: unknown(ownership.ZoneUnreachable),
			err: "no name server of example.com answers",
		},
		{
			what: "all servers refuse",
			set:  func(c *dnstest.Customer) { c.Behave(dnstest.Fail(dns.RcodeRefused)) }, want: unknown(ownership.ZoneLame),
		},
		{
			what: "all servers fail",
			set:  func(c *dnstest.Customer) { c.Behave(dnstest.Fail(dns.RcodeServerFailure)) }, want: unknown(ownership.ZoneServFail),
		},
		{
			what: "servers that only forward",
			set:  func(c *dnstest.Customer) { c.Behave(dnstest.NotAuthoritative) }, want: unknown(ownership.ZoneLame),
		},
		{
			what: "servers reached by TCP only",
			set: func(c *dnstest.Customer) {
				c.Domain.Set(dnstest.RightTraffic)
				c.Behave(dnstest.OnlyTCP)
			},
			want: alias("api.example.com.cname.example.net."),
		},
		{
			what: "truncated answers",
			set: func(c *dnstest.Customer) {
				c.Domain.Set(dnstest.RightTraffic)
				c.Behave(dnstest.Truncated)
			},
			want: alias("api.example.com.cname.example.net."),
		},
		{
			what: "a bogus zone: the source is seen, and that it will be refused",
			set: func(c *dnstest.Customer) {
				c.Domain.Set(dnstest.RightTraffic)
				c.Domain.SetBogus(true)
			},
			want: ownership.DNSObservation{Outcome: ownership.Seen, Problem: ownership.ZoneBogus, Chain: []string{"api.example.com.cname.example.net."}},
		},
		{
			what: "a loop of CNAMEs",
			set: func(c *dnstest.Customer) {
				c.Domain.Set("api IN CNAME b", "b IN CNAME api")
			},
			want: ownership.DNSObservation{Outcome: ownership.Seen, Dangling: true, Chain: []string{"b.example.com.", "api.example.com."}},
			err:  "loop",
		},
		{
			what: "an endless chain",
			set: func(c *dnstest.Customer) {
				c.Domain.Set("api IN CNAME n0")
				for i := range 20 {
					c.Domain.Set(fmt.Sprintf("n%d IN CNAME n%d", i, i+1))
				}
			},
			want: ownership.DNSObservation{Outcome: ownership.Seen, Dangling: true, Chain: []string{
				"n0.example.com.", "n1.example.com.", "n2.example.com.", "n3.example.com.", "n4.example.com.",
				"n5.example.com.", "n6.example.com.", "n7.example.com.", "n8.example.com.", "n9.example.com."}},
			err: "more than 10 CNAMEs",
		},
	} {
		t.Run(c.what, func(t *testing.T) {
			t.Parallel()
			world := dnstest.NewCustomer(t)
			if c.set != nil {
				c.set(world)
			}
			if c.hostname == "" {
				c.hostname = "api.example.com"
			}
			got := newTestResolver(t, world.World).Observe(t.Context(), c.hostname, c.kind)
			if d := cmp.Diff(c.want, got, looseObservation); d != "" {
				t.Errorf("observation (-want +got):\n%s\nErr: %s", d, got.Err)
			}
			if !strings.Contains(got.Err, c.err) || (c.err == "" && c.want.Outcome != ownership.CouldNotTell && c.want.Problem == "" && got.Err != "") {
				t.Errorf("Err is %q, want it to hold %q", got.Err, c.err)
			}
			if got.At.IsZero() {
				t.Error("At is not set")
			}
		})
	}
}

// What stood there before the cutover is mostly an address, and what CAs ask for is
// the address: a resolver that has learnt of the CNAME may hold it all the same.
func TestAResolverThatHoldsAnOldAddressIsNamed(t *testing.T) {
	world := dnstest.NewCustomer(t)
	world.Recursor.SetCaching(true)
	world.Domain.Set("api 300 IN A 192.0.2.77")
	edge := netip.MustParseAddr("203.0.113.10")
	r := newTestResolver(t, world.World, func(c *Config) { c.EdgeAddresses = func() []netip.Addr { return []netip.Addr{edge} } })
	if got := r.Observe(t.Context(), "api.example.com", KindTraffic); len(got.Stale) != 0 {
		t.Fatalf("got %+v", got)
	}
	world.Domain.Remove("api", dns.TypeA)
	world.Domain.Set(dnstest.RightTraffic)
	if got := r.Observe(t.Context(), "api.example.com", KindTraffic); len(got.Stale) != 0 {
		t.Fatalf("a look before the cutover has left an old answer in the resolver: %+v", got)
	}
	for _, now := range []string{dnstest.RightTraffic, "api 300 IN A 203.0.113.10"} {
		world = dnstest.NewCustomer(t)
		world.Recursor.SetCaching(true)
		world.Domain.Set("api 300 IN A 192.0.2.77")
		r = newTestResolver(t, world.World, func(c *Config) { c.EdgeAddresses = func() []netip.Addr { return []netip.Addr{edge} } })
		if _, _, err := r.recurse(t.Context(), "example.com", "api.example.com.", dns.TypeA); err != nil {
			t.Fatal(err)
		}
		world.Domain.Remove("api", dns.TypeA)
		world.Domain.Set(now)
		got := r.Observe(t.Context(), "api.example.com", KindTraffic)
		if len(got.Stale) != 1 || len(got.Stale[0].Addresses) != 1 || time.Until(got.Stale[0].Until) < 290*time.Second {
			t.Errorf("%s: got %+v", now, got)
		}
	}
}
