package resolver

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/apoxy-dev/caddy-apoxy/internal/dnstest"
	"github.com/apoxy-dev/caddy-apoxy/ownership"
)

// failures are ways in which a server fails for one type, and what is said of them.
var failures = map[string]struct {
	behave dnstest.Behaviour
	says   string
}{
	"drops":    {dnstest.Silent, "no answer"},
	"NOTIMP":   {dnstest.Fail(dns.RcodeNotImplemented), "NOTIMP"},
	"SERVFAIL": {dnstest.Fail(dns.RcodeServerFailure), "SERVFAIL"},
	"REFUSED":  {dnstest.Fail(dns.RcodeRefused), "refuses"},
	"FORMERR":  {dnstest.Fail(dns.RcodeFormatError), "FORMERR"},
	"YXDOMAIN": {dnstest.Fail(dns.RcodeYXDomain), "YXDOMAIN"},
	"code 13":  {dnstest.Fail(13), "response code 13"},
}

// keeping remembers zones and their silence, as in production.
func keeping(cfg *Config) { cfg.CacheTTL = time.Minute }

// A server that fails for CAA answers everything else, and what it answers is
// believed, whichever was asked for first.
func TestServersThatFailForCAAAlone(t *testing.T) {
	for name, f := range failures {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := dnstest.NewCustomer(t)
			c.Domain.Set(dnstest.RightChallenge, dnstest.RightTraffic)
			c.Behave(dnstest.ForType(dns.TypeCAA, f.behave))
			r := newTestResolver(t, c.World, keeping)
			if _, err := r.caaAt(t.Context(), "example.com."); err == nil || !strings.Contains(err.Error(), f.says) {
				t.Errorf("CAA: %v, want %q", err, f.says)
			}
			for kind, want := range map[Kind]string{KindTraffic: "api.example.com.cname.example.net.", KindACMEChallenge: "_acme-challenge.api.example.com.cname.example.net."} {
				obs := r.Observe(t.Context(), "api.example.com", kind)
				if obs.Outcome != ownership.Seen || len(obs.Chain) != 1 || obs.Chain[0] != want || obs.Problem != "" || obs.Err != "" || obs.Cached {
					t.Errorf("kind %d: %+v", kind, obs)
				}
			}
			if obs := r.Observe(t.Context(), "api.example.com", KindOwnership); obs.Outcome != ownership.Absent || obs.Problem != "" {
				t.Errorf("nothing at the challenge's name: %+v", obs)
			}
			if ok, err := r.Delegated(t.Context(), "api.example.com"); !ok || err != nil {
				t.Errorf("delegated: %v, %v", ok, err)
			}
			if r.mute.some.Load() {
				t.Error("counts as a sign that port 53 is closed")
			}
		})
	}
}

// What a code says is not "no answer", and the zone is not called out of reach for it.
func TestCodesAreCalledByTheirNames(t *testing.T) {
	for name, f := range failures {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := dnstest.NewCustomer(t)
			c.Behave(dnstest.ForType(dns.TypeCNAME, f.behave))
			obs := newTestResolver(t, c.World).Observe(t.Context(), "api.example.com", KindACMEChallenge)
			want := map[string]ownership.ZoneProblem{"drops": ownership.ZoneUnreachable, "SERVFAIL": ownership.ZoneServFail, "REFUSED": ownership.ZoneLame}[name]
			if obs.Outcome != ownership.CouldNotTell || obs.Problem != want && !(want == "" && obs.Problem == ownership.ZoneServFail) || !strings.Contains(obs.Err, f.says) {
				t.Errorf("%+v, want %q and %q", obs, want, f.says)
			}
		})
	}
}

// A dead zone still costs one wait for a type, and the memory of it ends.
func TestSilenceIsRememberedByType(t *testing.T) {
	c := dnstest.NewCustomer(t)
	c.Behave(dnstest.ForType(dns.TypeCAA, dnstest.Silent))
	r := newTestResolver(t, c.World, keeping)
	for i := range 3 {
		before := c.NS1.Asked()
		if _, err := r.caaAt(t.Context(), fmt.Sprintf("n%d.example.com.", i)); err == nil {
			t.Fatal("told")
		}
		if asked := c.NS1.Asked() - before; i > 0 && asked != 0 {
			t.Errorf("asked %d times again", asked)
		}
	}
	z, err := r.locate(t.Context(), "example.com.")
	if err != nil || z.silent(dns.TypeCAA) == nil || z.silent(dns.TypeCNAME) != nil || z.silent(dns.TypeA, dns.TypeAAAA) != nil {
		t.Errorf("%+v, %v", z, err)
	}
	if left := time.Until(z.silent(dns.TypeCAA).until); left > time.Minute {
		t.Errorf("remembered for %v, and a mend is to be seen within a minute", left)
	}
}

// A look that has ended pays for no question and sends none.
func TestNothingIsAskedOnceTheLookHasEnded(t *testing.T) {
	c := dnstest.NewCustomer(t)
	r := newTestResolver(t, c.World)
	server := netip.AddrPortFrom(c.NS1.Addr, uint16(c.Port()))
	asked := c.NS1.Asked()
	ended, end := context.WithCancel(t.Context())
	end()
	paid := 0
	question := query(dns.Question{Name: "api.example.com.", Qtype: dns.TypeA, Qclass: dns.ClassINET}, queryFlags{}, true)
	if _, err := r.overUDP(ended, server, question, true, func() error { paid++; return nil }); !errors.Is(err, errTimeout) || paid != 0 {
		t.Errorf("%v, paid %d times, want %v and 0", err, paid, errTimeout)
	}
	if n := c.NS1.Asked() - asked; n != 0 {
		t.Errorf("%d questions arrived", n)
	}
}
