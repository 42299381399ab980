package controller

import (
	"testing"

	"github.com/miekg/dns"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
	"github.com/apoxy-dev/caddy-apoxy/internal/dnstest"
)

// Whose zone it is comes into the status with the first look, costs no write while it
// stays so, and holds while nobody can tell.
func TestTheZoneAndItsProviderAreToldInTheStatus(t *testing.T) {
	w := dnstest.New(t)
	ada, bob := w.Server("ada.ns.cloudflare.com"), w.Server("bob.ns.cloudflare.com")
	w.Zone("example.net", w.Server("ns1.example.net"))
	domain := w.Zone("example.com", ada, bob)
	w.Zone("_acme-challenge.api.example.com", w.Server("ns.elsewhere.test"))
	b := newBench(t, newTestResolver(t, w)).start()
	const host = "api.example.com"
	b.put(tlsRecord(host))
	b.until("it is looked at", func() bool { return b.get(host).Status.Phase != "" })

	r := b.check(host)
	if p := r.Status.DNSProvider; p == nil || p.Name != "Cloudflare" || p.ControlPanel != "https://dash.cloudflare.com/" {
		t.Errorf("the provider is %+v", p)
	}
	for purpose, want := range map[v1alpha3.DNSPurpose][2]string{
		v1alpha3.PurposeTraffic:       {"example.com.", "api"},
		v1alpha3.PurposeACMEChallenge: {"_acme-challenge.api.example.com.", "@"},
		v1alpha3.PurposeOwnership:     {"example.com.", "_apoxy-challenge.api"},
	} {
		if d := r.Status.DNSRecord(purpose); d.Zone != want[0] || d.Host != want[1] {
			t.Errorf("%s: %q in the zone %q, want %q", purpose, d.Host, d.Zone, want)
		}
	}

	revision := func() int64 {
		v, err := b.read(t.Context(), host)
		if err != nil {
			t.Fatal(err)
		}
		return v.revision
	}
	before := revision()
	for _, order := range [][]string{
		{"@ NS bob.ns.cloudflare.com.", "@ NS ada.ns.cloudflare.com."},
		{"@ NS ada.ns.cloudflare.com.", "@ NS bob.ns.cloudflare.com."},
	} {
		domain.Set(order...)
		b.check(host)
	}
	if after := revision(); after != before {
		t.Errorf("the status was written for name servers in another order: revision %d, then %d", before, after)
	}

	ada.Behave(dnstest.Fail(dns.RcodeServerFailure))
	bob.Behave(dnstest.Fail(dns.RcodeServerFailure))
	r = b.check(host)
	if d := r.Status.DNSRecord(v1alpha3.PurposeTraffic); r.Status.DNSProvider == nil || d.Zone != "example.com." {
		t.Errorf("what was known does not hold: %+v, %+v", r.Status.DNSProvider, d)
	}
}
