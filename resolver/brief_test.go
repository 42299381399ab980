package resolver

import (
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/apoxy-dev/caddy-apoxy/internal/dnstest"
	"github.com/apoxy-dev/caddy-apoxy/ownership"
)

func TestOneServerConfirmsWhatIsKnownAndAllAreAskedForNews(t *testing.T) {
	w := dnstest.NewCustomer(t)
	r := newTestResolver(t, w.World, func(c *Config) { c.CacheTTL = time.Minute })
	look := func(kind Kind, before ownership.Before) (ownership.DNSObservation, int) {
		asked := packets(w)
		o := r.Observe(WithBefore(t.Context(), before), "api.example.com", kind)
		return o, packets(w) - asked
	}
	const right = "api.example.com." + ownZone + "."
	look(KindTraffic, ownership.BeforeUnknown) // referrals and the zone's servers are known from now on
	if o, _ := look(KindTraffic, ownership.BeforeNothing); !o.Brief || o.Outcome != ownership.Absent {
		t.Errorf("nothing is there, as before: %+v", o)
	}
	if o, n := look(KindTraffic, ownership.BeforeNothing); !o.Brief || n != 1 {
		t.Errorf("nothing is there, as before: %d questions, want 1: %+v", n, o)
	}
	w.Domain.Set("api 300 CNAME " + right)
	if o, _ := look(KindTraffic, ownership.BeforeNothing); o.Brief || o.Outcome != ownership.Seen || len(o.Servers) < 2 {
		t.Errorf("there are news: every server is to say so: %+v", o)
	}
	if o, n := look(KindTraffic, ownership.BeforeRight); !o.Brief || n != 1 || o.Outcome != ownership.Seen || o.Chain[0] != right {
		t.Errorf("it is right, as before: %d questions, want 1: %+v", n, o)
	}
	w.Domain.Remove("api", dns.TypeCNAME)
	if o, _ := look(KindTraffic, ownership.BeforeRight); o.Brief || o.Outcome != ownership.Absent {
		t.Errorf("it is gone: every server is to say so: %+v", o)
	}
}

func TestOneServersNewsAreBelievedOnlyIfAllSaySo(t *testing.T) {
	w := dnstest.NewCustomer(t)
	r := newTestResolver(t, w.World, func(c *Config) { c.CacheTTL = time.Minute })
	w.NS2.Fork(w.Domain).Set("api 300 CNAME api.example.com." + ownZone + ".")
	for range 20 { // whoever is asked first
		o := r.Observe(WithBefore(t.Context(), ownership.BeforeNothing), "api.example.com", KindTraffic)
		if o.Outcome == ownership.Seen {
			t.Fatalf("one server's word opened: %+v", o)
		}
		o = r.Observe(WithBefore(t.Context(), ownership.BeforeRight), "api.example.com", KindTraffic)
		if o.Outcome == ownership.Absent {
			t.Fatalf("one server's word took away: %+v", o)
		}
	}
}
