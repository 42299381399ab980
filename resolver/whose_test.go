package resolver

import (
	"slices"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/apoxy-dev/caddy-apoxy/internal/dnstest"
	"github.com/apoxy-dev/caddy-apoxy/ownership"
)

func TestInWhoseZoneANameLies(t *testing.T) {
	both := []string{"ns1.provider.test.", "ns2.provider.test."}
	for _, c := range []struct {
		what    string
		set     func(w *dnstest.Customer)
		name    string
		kind    Kind
		zone    string
		sure    bool
		servers []string
	}{
		{what: "nothing is there", zone: "example.com.", sure: true, servers: both},
		{what: "a CNAME is there", set: func(w *dnstest.Customer) { w.Domain.Set(dnstest.RightTraffic) }, zone: "example.com.", servers: both},
		{what: "the zone's top", name: "example.com", set: func(w *dnstest.Customer) { w.Domain.Set("@ A 192.0.2.1", "@ AAAA 2001:db8::1") }, zone: "example.com.", sure: true, servers: both},
		{
			what: "addresses of both kinds in a zone below on the same servers", name: "api.shop.example.com",
			set: func(w *dnstest.Customer) {
				w.Zone("shop.example.com", w.NS1, w.NS2).Set("api A 203.0.113.10", "api AAAA 2001:db8::10")
				w.Domain.Remove("shop.example.com.")
			},
			zone: "shop.example.com.", sure: true, servers: both,
		},
		{
			what: "a zone below on the same servers, and nothing there", name: "api.shop.example.com",
			set: func(w *dnstest.Customer) {
				w.Zone("shop.example.com", w.NS1, w.NS2)
				w.Domain.Remove("shop.example.com.")
			},
			zone: "shop.example.com.", sure: true, servers: both,
		},
		{
			what: "the challenge is a zone of another provider's", kind: KindACMEChallenge,
			set: func(w *dnstest.Customer) {
				w.Zone("_acme-challenge.api.example.com", w.Server("ns.other.test"))
			},
			zone: "_acme-challenge.api.example.com.", sure: true, servers: []string{"ns.other.test."},
		},
		{
			what: "a chain leads elsewhere",
			set: func(w *dnstest.Customer) {
				w.Domain.Set("api CNAME app.old.org.")
				w.Zone("old.org", w.Server("ns.old.org")).Set("app A 192.0.2.1")
			},
			zone: "example.com.", servers: both,
		},
		{what: "the domain does not exist", name: "api.unregistered.com"},
		{what: "no server answers", set: func(w *dnstest.Customer) { w.Behave(dnstest.Silent) }},
	} {
		t.Run(c.what, func(t *testing.T) {
			t.Parallel()
			w := dnstest.NewCustomer(t)
			if c.set != nil {
				c.set(w)
			}
			if c.name == "" {
				c.name = "api.example.com"
			}
			obs := newTestResolver(t, w.World).Observe(t.Context(), c.name, c.kind)
			if obs.Zone != c.zone || obs.ZoneSure != c.sure || !slices.Equal(obs.ZoneServers, c.servers) {
				t.Errorf("%q, sure %t, of %q; want %q, %t, %q: %+v", obs.Zone, obs.ZoneSure, obs.ZoneServers, c.zone, c.sure, c.servers, obs)
			}
		})
	}
}

// One server's word tells the zone too, and so do resolvers in place of servers that
// may not be contacted.
func TestTheZoneIsToldByEveryKindOfLook(t *testing.T) {
	w := dnstest.NewCustomer(t)
	w.Domain.Set(dnstest.RightTraffic)
	check := func(what string, obs ownership.DNSObservation) {
		t.Helper()
		if obs.Zone != "example.com." || len(obs.ZoneServers) != 2 {
			t.Errorf("%s: %+v", what, obs)
		}
	}
	r := newTestResolver(t, w.World, func(c *Config) { c.CacheTTL = time.Minute })
	check("in full", r.Observe(t.Context(), "api.example.com", KindTraffic))
	brief := r.Observe(WithBefore(t.Context(), ownership.BeforeRight), "api.example.com", KindTraffic)
	if check("in brief", brief); !brief.Brief {
		t.Errorf("it was no brief look: %+v", brief)
	}
	ctx, _ := WithRation(t.Context(), Unproven)
	check("at a glance", r.Observe(ctx, "api.example.com", KindTraffic))
	barred := newTestResolver(t, w.World, func(c *Config) { c.PrivateNetworks = nil })
	check("by resolvers", barred.Observe(t.Context(), "api.example.com", KindTraffic))
}

// A server cannot say that a name is in a zone that it was not asked for.
func TestAZoneBesideTheOneThatWasAskedIsNotBelieved(t *testing.T) {
	in := &zone{apex: "shop.example.com.", names: []string{"ns1.provider.test."}}
	for soa, want := range map[string]string{
		"":                          "shop.example.com.",
		"com.":                      "shop.example.com.",
		"example.com.":              "shop.example.com.",
		"shop.example.com.":         "shop.example.com.",
		"a.shop.example.com.":       "a.shop.example.com.",
		"api.other.example.com.":    "shop.example.com.",
		"x.api.a.shop.example.com.": "shop.example.com.",
	} {
		var obs ownership.DNSObservation
		if noteZone(&obs, "api.a.shop.example.com.", in, soa); obs.Zone != want {
			t.Errorf("SOA of %q: %q, want %q", soa, obs.Zone, want)
		}
	}
	var obs ownership.DNSObservation
	if noteZone(&obs, "api.example.com.", &zone{apex: "com."}, "com."); obs.Zone != "" {
		t.Errorf("a registry's zone is taken for the customer's: %+v", obs)
	}
}

func TestNamesOfServersHaveOneOrder(t *testing.T) {
	a := namesInOrder([]string{"b.test.", "a.test.", "b.test."})
	if !slices.Equal(a, []string{"a.test.", "b.test."}) || !slices.Equal(a, namesInOrder([]string{"a.test.", "b.test."})) {
		t.Errorf("%q", a)
	}
	var many []string
	for i := range 200 {
		many = append(many, dns.Fqdn(string(rune('a'+i%26))+string(rune('a'+i/26))))
	}
	if n := len(namesInOrder(many)); n != maxNames {
		t.Errorf("%d names are kept, want %d", n, maxNames)
	}
}
