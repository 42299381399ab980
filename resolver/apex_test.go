package resolver

import (
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/apoxy-dev/caddy-apoxy/internal/dnstest"
	"github.com/apoxy-dev/caddy-apoxy/ownership"
)

// A zone on the servers of the zone above it is come to by no referral: its SOA
// tells that a name is its top.
func TestAnApexOnItsParentsServers(t *testing.T) {
	for _, c := range []struct {
		what    string
		records []string
		name    string
		want    bool
		outcome ownership.Outcome
	}{
		{"an address of one kind", []string{"@ A 203.0.113.10"}, "shop.example.com", true, ownership.Seen},
		{"addresses of both kinds", []string{"@ A 203.0.113.10", "@ AAAA 2001:db8::10"}, "shop.example.com", true, ownership.Seen},
		{"nothing", nil, "shop.example.com", true, ownership.Absent},
		{"a name below with an address", []string{"api A 203.0.113.10"}, "api.shop.example.com", false, ownership.Seen},
		{"a name below with two", []string{"api A 203.0.113.10", "api AAAA 2001:db8::10"}, "api.shop.example.com", false, ownership.Seen},
		{"a name of the zone above", nil, "other.example.com", false, ownership.Seen},
		{"a name below with a CNAME", []string{"api CNAME shop.example.com."}, "api.shop.example.com", false, ownership.Seen},
	} {
		t.Run(c.what, func(t *testing.T) {
			t.Parallel()
			world := dnstest.NewCustomer(t)
			world.Domain.Set("other A 203.0.113.10", "other AAAA 2001:db8::10")
			child := world.Zone("shop.example.com", world.NS1, world.NS2)
			for _, r := range c.records {
				child.Set(r)
			}
			world.Domain.Remove("shop.example.com.") // not even a delegation
			for _, closed := range []bool{false, true} {
				r := newTestResolver(t, world.World, func(cfg *Config) {
					if closed { // then the recursive resolver is asked
						cfg.Port, cfg.QueryTimeout = 9, 200*time.Millisecond
					}
				})
				if obs := r.Observe(t.Context(), c.name, KindTraffic); obs.Apex != c.want || obs.Outcome != c.outcome || obs.Cached != closed {
					t.Errorf("closed %v: %+v", closed, obs)
				}
				if closed || c.outcome == ownership.Absent {
					continue
				}
				ctx, _ := WithRation(t.Context(), Unproven)
				if obs := r.Observe(ctx, c.name, KindTraffic); obs.Outcome == ownership.Seen && obs.Apex != c.want || obs.Outcome != ownership.Seen && c.want {
					t.Errorf("at a glance: %+v", obs)
				}
			}
		})
	}
}

// Whether addresses stand at an apex decides what they mean, so where that cannot
// be asked nothing was found out.
func TestAnApexThatCannotBeAskedAbout(t *testing.T) {
	world := dnstest.NewCustomer(t)
	world.Domain.Set("shop A 203.0.113.10", "shop AAAA 2001:db8::10")
	r := newTestResolver(t, world.World)
	world.Behave(dnstest.ForType(dns.TypeSOA, dnstest.Silent))
	if obs := r.Observe(t.Context(), "shop.example.com", KindTraffic); obs.Outcome != ownership.CouldNotTell || obs.Err == "" {
		t.Errorf("%+v", obs)
	}
	world.Behave(dnstest.ForType(dns.TypeSOA, dnstest.Fail(dns.RcodeRefused)))
	if obs := r.Observe(t.Context(), "shop.example.com", KindTraffic); obs.Outcome != ownership.Seen || obs.Apex {
		t.Errorf("%+v", obs)
	}
	// Of addresses that are not the edge's nothing depends on it: the customer has left.
	world.Behave(dnstest.ForType(dns.TypeSOA, dnstest.Silent))
	world.Domain.Set("old A 198.51.100.7", "old AAAA 2001:db8::99")
	if obs := r.Observe(t.Context(), "old.example.com", KindTraffic); obs.Outcome != ownership.Seen || len(obs.Addresses) != 2 {
		t.Errorf("%+v", obs)
	}
	// What the registered domain is, is known.
	world.Behave(dnstest.ForType(dns.TypeSOA, dnstest.Silent))
	world.Domain.Set("@ A 203.0.113.10", "@ AAAA 2001:db8::10")
	if obs := r.Observe(t.Context(), "example.com", KindTraffic); obs.Outcome != ownership.Seen {
		t.Errorf("%+v", obs)
	}
}
