package controller

import (
	"sync/atomic"
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

// The link that Connect tells comes into the status when it is known, holds while nobody
// can tell, costs no write while it is the same, and is nobody else's to write.
func TestTheLinkToTheProviderIsToldInTheStatus(t *testing.T) {
	world := dnstest.NewCustomer(t)
	var offer atomic.Pointer[v1alpha3.DomainConnectStatus] // nil: could not tell
	b := newBench(t, newTestResolver(t, world.World), func(c *Config) {
		c.Connect = func(_ *v1alpha3.DomainRecord, s *v1alpha3.DomainRecordStatus) *v1alpha3.DomainConnectStatus {
			switch o := offer.Load(); {
			case o == nil:
				return s.DomainConnect
			case o.URL == "":
				return nil
			default:
				return o
			}
		}
	}).start()
	const host, link = "api.example.com", "https://provider.test/apply?host=api"
	b.put(plainRecord(host))
	b.until("it is looked at", func() bool { return b.get(host).Status.Phase != "" })
	if c := b.check(host).Status.DomainConnect; c != nil {
		t.Errorf("nobody told: %+v", c)
	}
	told := func() string {
		if c := b.get(host).Status.DomainConnect; c != nil {
			return c.URL
		}
		return ""
	}
	offer.Store(&v1alpha3.DomainConnectStatus{URL: link})
	b.ConnectChanged(host)
	b.until("the link is told", func() bool { return told() == link })
	offer.Store(nil)
	b.check(host)
	v, err := b.read(t.Context(), host)
	if err != nil {
		t.Fatal(err)
	}
	b.check(host)
	if after, err := b.read(t.Context(), host); err != nil || after.revision != v.revision || told() != link {
		t.Errorf("revision %d, then %+v, %v; %q", v.revision, after, err, told())
	}
	b.forge(host, func(s *v1alpha3.DomainRecordStatus) { s.DomainConnect.URL = "https://evil.test/" })
	b.until("a client's link is gone", func() bool { return told() == "" })
	offer.Store(&v1alpha3.DomainConnectStatus{URL: link})
	b.ConnectChanged(host)
	b.until("the link is told again", func() bool { return told() == link })
	offer.Store(&v1alpha3.DomainConnectStatus{})
	b.ConnectChanged(host)
	b.until("the link is withdrawn", func() bool { return told() == "" })
}
