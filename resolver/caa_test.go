package resolver

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/apoxy-dev/caddy-apoxy/internal/dnstest"
	"github.com/apoxy-dev/caddy-apoxy/ownership"
)

func TestCAA(t *testing.T) {
	set := func(domain string, r ...ownership.CAARecord) ownership.CAAObservation {
		return ownership.CAAObservation{Outcome: ownership.Seen, Domain: domain, Own: strings.HasSuffix(domain, ".cname.example.net"), Records: r}
	}
	issue := func(domain, value string) ownership.CAAObservation {
		return set(domain, ownership.CAARecord{Tag: "issue", Value: value})
	}
	long := "ca.test; accounturi=https://ca.test/" + strings.Repeat("a", 180) + "; validationmethods=dns-01"
	absent := ownership.CAAObservation{Outcome: ownership.Absent}
	for _, c := range []struct {
		what     string
		set      func(c *dnstest.Customer)
		hostname string
		want     ownership.CAAObservation
		fails    bool
	}{
		{what: "no CAA anywhere", want: absent},
		{
			what: "at the hostname itself",
			set:  func(c *dnstest.Customer) { c.Domain.Set(`api IN CAA 0 issue "a.test"`, `@ IN CAA 0 issue "b.test"`) },
			want: issue("api.example.com", "a.test"),
		},
		{
			what: "climbing to the registered domain",
			set:  func(c *dnstest.Customer) { c.Domain.Set(`@ IN CAA 0 issue "b.test"`) },
			want: issue("example.com", "b.test"),
		},
		{
			what: "climbing to the top-level domain",
			set:  func(c *dnstest.Customer) { c.Zone("com").Set(`@ IN CAA 0 issue "c.test"`) },
			want: issue("com", "c.test"),
		},
		{
			what: "at the target of a CNAME",
			set: func(c *dnstest.Customer) {
				c.Domain.Set("api IN CNAME x.other.org.", `@ IN CAA 0 issue "b.test"`)
				c.Zone("other.org", c.Server("ns.other.org")).Set(`x IN CAA 0 issue "d.test"`)
			},
			want: issue("x.other.org", "d.test"),
		},
		{
			what: "in our own zone after the cutover",
			set: func(c *dnstest.Customer) {
				c.Domain.Set(dnstest.RightTraffic)
				c.Zone("example.net").Set(`api.example.com.cname IN CAA 0 issue "e.test"`)
			},
			want: issue("api.example.com.cname.example.net", "e.test"),
		},
		{
			what: "not above the target of a CNAME",
			set: func(c *dnstest.Customer) {
				c.Domain.Set("api IN CNAME x.other.org.", `@ IN CAA 0 issue "b.test"`)
				c.Zone("other.org", c.Server("ns.other.org")).Set("x IN A 192.0.2.1", `@ IN CAA 0 issue "d.test"`)
			},
			want: issue("example.com", "b.test"),
		},
		{
			what: "for a wildcard at its base", hostname: "*.example.com",
			set:  func(c *dnstest.Customer) { c.Domain.Set(`@ IN CAA 128 issuewild "b.test"`) },
			want: set("example.com", ownership.CAARecord{Flag: 128, Tag: "issuewild", Value: "b.test"}),
		},
		{
			what: "whole, however long",
			set:  func(c *dnstest.Customer) { c.Domain.Set(`@ IN CAA 0 issue "` + long + `"`) },
			want: issue("example.com", long),
		},
		{
			what: "in whatever order each server gives them",
			set: func(c *dnstest.Customer) {
				c.Domain.Set(`@ IN CAA 0 issue "a.test"`, `@ IN CAA 0 issue "b.test"`)
				c.NS2.Behave(func(x dnstest.Exchange) {
					slices.Reverse(x.Honest.Answer)
					x.Writer.WriteMsg(x.Honest)
				})
			},
			want: set("example.com", ownership.CAARecord{Tag: "issue", Value: "a.test"}, ownership.CAARecord{Tag: "issue", Value: "b.test"}),
		},
		{
			what: "servers that are dead cannot tell",
			set:  func(c *dnstest.Customer) { c.Behave(dnstest.Silent) }, fails: true,
		},
		{
			what: "servers that disagree cannot tell",
			set: func(c *dnstest.Customer) {
				c.NS1.Fork(c.Domain)
				c.Domain.Set(`api IN CAA 0 issue "a.test"`)
			}, fails: true,
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
			got, err := newTestResolver(t, world.World).CAA(t.Context(), c.hostname)
			if (err != nil) != c.fails {
				t.Fatalf("error %v", err)
			}
			if d := cmp.Diff(c.want, got); d != "" {
				t.Errorf("CAA (-want +got):\n%s", d)
			}
		})
	}
}

func TestArrives(t *testing.T) {
	edge := ownership.Zone{Name: "cname.example.net", EdgeAddresses: addrs("203.0.113.10")}
	for _, c := range []struct {
		what, hostname string
		set            func(c *dnstest.Customer)
		want           bool
		fails          bool
	}{
		{what: "nothing there", hostname: "api.example.com"},
		{what: "the CNAME", hostname: "api.example.com", set: func(c *dnstest.Customer) { c.Domain.Set(dnstest.RightTraffic) }, want: true},
		{what: "an apex with the edge's address", hostname: "example.com", set: func(c *dnstest.Customer) { c.Domain.Set("@ IN A 203.0.113.10") }, want: true},
		{what: "another name with it", hostname: "api.example.com", set: func(c *dnstest.Customer) { c.Domain.Set("api IN A 203.0.113.10") }, want: true},
		{what: "another name with it, beside a wildcard that leads elsewhere", hostname: "api.example.com", set: func(c *dnstest.Customer) {
			c.Domain.Set("api IN A 203.0.113.10")
			c.Domain.Set("* IN A 203.0.113.99")
		}, want: true},
		{what: "a name that a wildcard leads here", hostname: "api.example.com", set: func(c *dnstest.Customer) { c.Domain.Set("* IN A 203.0.113.10") }},
		{what: "a name two below such a wildcard", hostname: "a.b.example.com", set: func(c *dnstest.Customer) { c.Domain.Set("* IN A 203.0.113.10") }},
		{what: "and a stray AAAA beside it", hostname: "example.com", set: func(c *dnstest.Customer) {
			c.Domain.Set("@ IN A 203.0.113.10")
			c.Domain.Set("@ IN AAAA 2001:db8:bad::1")
		}},
		{what: "another address", hostname: "example.com", set: func(c *dnstest.Customer) { c.Domain.Set("@ IN A 203.0.113.99") }},
		{what: "servers that fail", hostname: "api.example.com", set: func(c *dnstest.Customer) { c.Behave(dnstest.Silent) }, fails: true},
	} {
		t.Run(c.what, func(t *testing.T) {
			t.Parallel()
			world := dnstest.NewCustomer(t)
			if c.set != nil {
				c.set(world)
			}
			got, err := newTestResolver(t, world.World).Arrives(t.Context(), c.hostname, edge)
			if got != c.want || (err != nil) != c.fails {
				t.Errorf("%v, %v", got, err)
			}
		})
	}
}

func TestDelegated(t *testing.T) {
	for _, c := range []struct {
		what  string
		set   func(c *dnstest.Customer)
		want  bool
		bogus bool
		fails bool
	}{
		{what: "nothing there"},
		{what: "exactly right", set: func(c *dnstest.Customer) { c.Domain.Set(dnstest.RightChallenge) }, want: true},
		{what: "another record's name", set: func(c *dnstest.Customer) {
			c.Domain.Set("_acme-challenge.api IN CNAME _acme-challenge.www.example.com.cname.example.net.")
		}},
		{what: "a bogus zone, which the CA refuses", set: func(c *dnstest.Customer) {
			c.Domain.Set(dnstest.RightChallenge)
			c.Domain.SetBogus(true)
		}, fails: true, bogus: true},
		{what: "servers that fail", set: func(c *dnstest.Customer) { c.Behave(dnstest.Silent) }, fails: true},
	} {
		t.Run(c.what, func(t *testing.T) {
			t.Parallel()
			world := dnstest.NewCustomer(t)
			if c.set != nil {
				c.set(world)
			}
			got, err := newTestResolver(t, world.World).Delegated(t.Context(), "api.example.com")
			if got != c.want || (err != nil) != c.fails || errors.Is(err, ownership.ErrBogus) != c.bogus {
				t.Errorf("%v, %v", got, err)
			}
		})
	}
}

func TestRegistries(t *testing.T) {
	for domain, want := range map[string]bool{
		"com": true, "test": true, "co.uk": true, "example.com": false, "example.co.uk": false,
		"github.io": false, // sold below by nobody; its owner can mend it
	} {
		if got := isRegistry(domain); got != want {
			t.Errorf("%s: %v", domain, got)
		}
	}
}
