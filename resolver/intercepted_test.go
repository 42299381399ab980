package resolver

import (
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/apoxy-dev/caddy-apoxy/internal/dnstest"
	"github.com/apoxy-dev/caddy-apoxy/ownership"
)

// silentRecursor fails every question about customers' names, so that what the
// authoritative servers said is all there is.
func silentRecursor(c *dnstest.Customer) {
	c.Recursor.Behave(func(rw dns.ResponseWriter, req *dns.Msg) bool {
		q := req.Question[0]
		if q.Qtype == dns.TypeNS || q.Qtype == dns.TypeA && !strings.HasSuffix(q.Name, "example.com.") {
			return false // zone cuts and servers
		}
		_ = rw.WriteMsg(new(dns.Msg).SetRcode(req, dns.RcodeRefused))
		return true
	})
}

// outside behaves by b towards us, and is honest towards the Recursor, which asks
// within.
func outside(b dnstest.Behaviour) dnstest.Behaviour {
	return func(x dnstest.Exchange) {
		if x.UDP() {
			b(x)
			return
		}
		_ = x.Writer.WriteMsg(x.Honest)
	}
}

// A resolver that answers in place of name servers is told from name servers that
// do not know the zone, and one in the place of all from one in the place of some.
func TestInterceptors(t *testing.T) {
	refusing := func(x dnstest.Exchange) {
		m := new(dns.Msg).SetRcode(x.Request, dns.RcodeRefused)
		m.RecursionAvailable = true
		_ = x.Writer.WriteMsg(m)
	}
	for _, c := range []struct {
		what    string
		set     func(c *dnstest.Customer)
		want    ownership.ZoneProblem
		says    string
		unknown bool
	}{
		{"every server is a resolver", func(c *dnstest.Customer) {
			for _, s := range c.Servers() {
				s.Behave(outside(dnstest.AsResolver))
			}
		}, ownership.ZoneIntercepted, "the operator has it let through", true},
		{"every server is one that refuses strangers", func(c *dnstest.Customer) {
			for _, s := range c.Servers() {
				s.Behave(outside(refusing))
			}
		}, ownership.ZoneIntercepted, "the operator has it let through", true},
		{"the zone's servers are resolvers", func(c *dnstest.Customer) { c.Behave(dnstest.AsResolver) }, ownership.ZoneResolver, "as a resolver does", true},
		{"one of them is", func(c *dnstest.Customer) { c.NS2.Behave(dnstest.AsResolver) }, "", "1 of 2 name servers of example.com do not serve it", false},
		{"the zone's servers do not know it", func(c *dnstest.Customer) { c.Behave(dnstest.NotAuthoritative) }, ownership.ZoneLame, "does not know the zone", true},
		{"the zone's servers refuse", func(c *dnstest.Customer) { c.Behave(dnstest.Fail(dns.RcodeRefused)) }, ownership.ZoneLame, "refuses", true},
	} {
		t.Run(c.what, func(t *testing.T) {
			t.Parallel()
			world := dnstest.NewCustomer(t)
			world.Domain.Set(dnstest.RightTraffic)
			silentRecursor(world)
			c.set(world)
			obs := newTestResolver(t, world.World).Observe(t.Context(), "api.example.com", KindTraffic)
			if obs.Problem != c.want || (obs.Outcome == ownership.CouldNotTell) != c.unknown || !strings.Contains(obs.Err, c.says) {
				t.Errorf("%+v, want %q and %q", obs, c.want, c.says)
			}
		})
	}
}

// Where resolvers are configured that are reached, what they say is used, and
// the reason is told beside it.
func TestInterceptedLooksGoOnThroughTheResolvers(t *testing.T) {
	world := dnstest.NewCustomer(t)
	world.Domain.Set(dnstest.RightTraffic)
	r := newTestResolver(t, world.World)
	for _, s := range world.Servers() {
		s.Behave(outside(dnstest.AsResolver))
	}
	obs := r.Observe(t.Context(), "api.example.com", KindTraffic)
	if obs.Outcome != ownership.Seen || !obs.Cached || !strings.HasPrefix(obs.Err, "port 53 outward is intercepted") {
		t.Errorf("%+v", obs)
	}
}
