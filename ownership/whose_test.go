package ownership

import (
	"testing"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
)

// in is an observation of a name in a zone.
func in(o DNSObservation, zone string, sure bool, servers ...string) DNSObservation {
	o.Zone, o.ZoneSure, o.ZoneServers = zone, sure, servers
	return o
}

func TestInWhoseZoneEachRecordBelongs(t *testing.T) {
	type zoneHost struct{ zone, host string }
	for _, c := range []struct {
		what                     string
		host                     string
		traffic, acme, ownership DNSObservation
		wantTraffic, wantACME    zoneHost
		wantOwnership            zoneHost
	}{
		{
			what: "all in the registered domain", host: testHost,
			traffic: in(absent, "example.com.", true), acme: in(absent, "example.com.", true), ownership: in(absent, "example.com.", true),
			wantTraffic: zoneHost{"example.com.", "api"}, wantACME: zoneHost{"example.com.", "_acme-challenge.api"}, wantOwnership: zoneHost{"example.com.", "_apoxy-challenge.api"},
		},
		{
			what: "the zone's top", host: "example.com",
			traffic: in(absent, "example.com.", true), acme: in(absent, "example.com.", true), ownership: in(absent, "example.com.", true),
			wantTraffic: zoneHost{"example.com.", "@"}, wantACME: zoneHost{"example.com.", "_acme-challenge"}, wantOwnership: zoneHost{"example.com.", "_apoxy-challenge"},
		},
		{
			what: "a wildcard", host: "*.example.com",
			traffic: in(absent, "example.com.", true), acme: in(absent, "example.com.", true), ownership: in(absent, "example.com.", true),
			wantTraffic: zoneHost{"example.com.", "*"}, wantACME: zoneHost{"example.com.", "_acme-challenge"}, wantOwnership: zoneHost{"example.com.", "_apoxy-challenge"},
		},
		{
			what: "the challenge is delegated elsewhere", host: testHost,
			traffic: in(absent, "example.com.", true), acme: in(absent, "_acme-challenge.api.example.com.", true), ownership: in(absent, "example.com.", true),
			wantTraffic: zoneHost{"example.com.", "api"}, wantACME: zoneHost{"_acme-challenge.api.example.com.", "@"}, wantOwnership: zoneHost{"example.com.", "_apoxy-challenge.api"},
		},
		{
			what: "a zone below on the same servers, told of one name, holds for the others", host: testHost,
			traffic: in(cname("old.example.org."), "example.com.", false), acme: in(absent, "api.example.com.", true), ownership: in(cname("x."), "example.com.", false),
			wantTraffic: zoneHost{"api.example.com.", "@"}, wantACME: zoneHost{"api.example.com.", "_acme-challenge"}, wantOwnership: zoneHost{"api.example.com.", "_apoxy-challenge"},
		},
		{
			what: "what was not seen is in the zone of the name above it", host: testHost,
			traffic: in(absent, "example.com.", true), acme: unknown, ownership: unknown,
			wantTraffic: zoneHost{"example.com.", "api"}, wantACME: zoneHost{"example.com.", "_acme-challenge.api"}, wantOwnership: zoneHost{"example.com.", "_apoxy-challenge.api"},
		},
		{
			what: "nothing could be told", host: testHost,
			traffic: unknown, acme: unknown, ownership: unknown,
		},
		{
			what: "a zone that does not hold the name is none", host: testHost,
			traffic: in(absent, "evil.test.", true), acme: in(absent, "ample.com.", true), ownership: in(absent, ".", true),
		},
	} {
		t.Run(c.what, func(t *testing.T) {
			w := newWorld(t, c.host, true)
			w.obs.Traffic, w.obs.ACMEChallenge, w.obs.Ownership = c.traffic, c.acme, c.ownership
			w.look()
			for purpose, want := range map[v1alpha3.DNSPurpose]zoneHost{
				v1alpha3.PurposeTraffic: c.wantTraffic, v1alpha3.PurposeACMEChallenge: c.wantACME, v1alpha3.PurposeOwnership: c.wantOwnership,
			} {
				if d := w.r.Status.DNSRecord(purpose); d.Zone != want.zone || d.Host != want.host {
					t.Errorf("%s: %q in the zone %q, want %+v", purpose, d.Host, d.Zone, want)
				}
			}
		})
	}
}

func TestWhatIsKnownOfAZoneHoldsUntilItIsToldOtherwise(t *testing.T) {
	w := newWorld(t, testHost, true)
	zone := func() string { return w.r.Status.DNSRecord(v1alpha3.PurposeTraffic).Zone }
	steps := []struct {
		what string
		obs  DNSObservation
		want string
	}{
		{"nothing was seen yet", unknown, ""},
		{"the servers name a zone below the registered domain", in(absent, "api.example.com.", true), "api.example.com."},
		{"a look cannot tell", unknown, "api.example.com."},
		{"an answer names no zone, and the one above is on the same servers", in(cname("x."), "example.com.", false), "api.example.com."},
		{"the servers say that it is another", in(absent, "example.com.", true), "example.com."},
		{"a delegation leads to a zone below", in(cname("x."), "api.example.com.", false), "api.example.com."},
	}
	w.obs.ACMEChallenge, w.obs.Ownership = unknown, unknown
	for _, s := range steps {
		w.obs.Traffic = s.obs
		w.look()
		if zone() != s.want {
			t.Errorf("%s: %q, want %q", s.what, zone(), s.want)
		}
	}
	// A client's words do not hold against what is seen.
	w.r.Status.DNSRecords[0].Zone = "api.example.com."
	w.r.Status.Ownership.Overwritten = true
	w.obs.Traffic = in(cname("x."), "example.com.", false)
	if w.look(); zone() != "example.com." {
		t.Errorf("a client's zone stands: %q", zone())
	}
}

func TestWhoHostsTheZone(t *testing.T) {
	w := newWorld(t, testHost, true)
	cloudflare := v1alpha3.DNSProviderStatus{Name: "Cloudflare", ControlPanel: "https://dash.cloudflare.com/"}
	for _, s := range []struct {
		what string
		obs  DNSObservation
		want *v1alpha3.DNSProviderStatus
	}{
		{"nothing was seen yet", unknown, nil},
		{"its servers are known", in(absent, "example.com.", true, "ada.ns.cloudflare.com.", "bob.ns.cloudflare.com."), &cloudflare},
		{"a look cannot tell", unknown, &cloudflare},
		{"the zone alone was learnt", in(absent, "example.com.", true), &cloudflare},
		{"one of its servers is another's", in(absent, "example.com.", true, "ada.ns.cloudflare.com.", "ns1.customer.example."), nil},
	} {
		w.obs.Traffic = s.obs
		w.look()
		if got := w.r.Status.DNSProvider; (got == nil) != (s.want == nil) || got != nil && *got != *s.want {
			t.Errorf("%s: %+v, want %+v", s.what, got, s.want)
		}
	}
	w.obs.Traffic = unknown
	w.r.Status.DNSProvider = &v1alpha3.DNSProviderStatus{Name: "Cloudflare", ControlPanel: "https://evil.example/"}
	if w.look(); *w.r.Status.DNSProvider != cloudflare {
		t.Errorf("a client's panel stands: %+v", w.r.Status.DNSProvider)
	}
	w.r.Status.DNSProvider = &v1alpha3.DNSProviderStatus{Name: "Nobody", ControlPanel: "https://evil.example/"}
	if w.look(); w.r.Status.DNSProvider != nil {
		t.Errorf("a client's provider stands: %+v", w.r.Status.DNSProvider)
	}
}
