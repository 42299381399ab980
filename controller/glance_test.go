package controller

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
	"github.com/apoxy-dev/caddy-apoxy/internal/dnstest"
	"github.com/apoxy-dev/caddy-apoxy/ownership"
	"github.com/apoxy-dev/caddy-apoxy/resolver"
)

// provider is a world with a zone on as many servers as asked for.
func provider(t testing.TB, servers int) (*dnstest.World, []*dnstest.Server, *dnstest.Zone) {
	w := dnstest.New(t)
	var ns []*dnstest.Server
	for i := range servers {
		ns = append(ns, w.Server(fmt.Sprintf("ns%d.provider.test", i+1)))
	}
	w.Zone("example.net", w.Server("ns1.example.net"))
	return w, ns, w.Zone("example.com", ns...)
}

// packets counts what has reached any server but the resolver, by UDP and TCP.
func packets(w *dnstest.World) int {
	n := 0
	for _, s := range w.Servers() {
		n += s.Asked()
	}
	return n
}

// Both records of a TLS record are looked for in one ration, the main one first.
func TestQuestionsOfAGlance(t *testing.T) {
	all := func(b dnstest.Behaviour) func(*dnstest.World, []*dnstest.Server, *dnstest.Zone) {
		return func(_ *dnstest.World, ns []*dnstest.Server, z *dnstest.Zone) {
			z.Set(dnstest.RightTraffic, dnstest.RightChallenge)
			for _, s := range ns {
				s.Behave(b)
			}
		}
	}
	for _, c := range []struct {
		what    string
		servers int
		set     func(w *dnstest.World, ns []*dnstest.Server, z *dnstest.Zone)
		host    string
		packets int
		seen    []resolver.Kind
	}{
		{"both in place on one server", 1, all(nil), "", 2, []resolver.Kind{resolver.KindTraffic, resolver.KindACMEChallenge}},
		{"both in place on two", 2, all(nil), "", 4, []resolver.Kind{resolver.KindTraffic, resolver.KindACMEChallenge}},
		{"both in place on three", 3, all(nil), "", 3, []resolver.Kind{resolver.KindTraffic}},
		{"both in place on four", 4, all(nil), "", 4, []resolver.Kind{resolver.KindTraffic}},
		{"both in place on eight", 8, all(nil), "", 5, []resolver.Kind{resolver.KindTraffic}},
		{"nothing in place", 2, nil, "", 2, nil},
		{"the delegation alone", 4, func(_ *dnstest.World, _ []*dnstest.Server, z *dnstest.Zone) { z.Set(dnstest.RightChallenge) }, "", 5, []resolver.Kind{resolver.KindACMEChallenge}},
		{"servers that disagree", 2, func(_ *dnstest.World, ns []*dnstest.Server, z *dnstest.Zone) {
			ns[1].Fork(z)
			z.Set(dnstest.RightTraffic)
		}, "", 3, nil},
		{"one server that is silent", 2, func(_ *dnstest.World, ns []*dnstest.Server, z *dnstest.Zone) {
			z.Set(dnstest.RightTraffic)
			ns[1].Behave(dnstest.Silent)
		}, "", 3, nil},
		// The resolver cannot tell the zone's servers then, and those above refer there.
		{"all silent", 2, all(dnstest.Silent), "", 3, nil},
		{"truncated answers", 2, all(dnstest.Truncated), "", 4, []resolver.Kind{resolver.KindTraffic}},
		{"answers to other questions", 2, all(dnstest.OtherQuestion), "", 3, nil},
		{"a server older than EDNS", 1, all(dnstest.Fail(dns.RcodeFormatError)), "", 5, nil},
		{"referrals without end", 2, all(dnstest.ReferTo("api.example.com", []string{"ns1.provider.test"})), "", 4, nil},
		{"a zone below", 2, func(w *dnstest.World, ns []*dnstest.Server, _ *dnstest.Zone) {
			w.Zone("dev.example.com", w.Server("ns.dev.example.com")).Set("a IN CNAME a.dev.example.com.cname.example.net.")
		}, "a.dev.example.com", 4, []resolver.Kind{resolver.KindTraffic}},
		{"a chain through another zone", 2, func(w *dnstest.World, ns []*dnstest.Server, z *dnstest.Zone) {
			z.Set("api IN CNAME alias.other.org.")
			w.Zone("other.org", w.Server("ns.other.org")).Set("alias IN CNAME api.example.com.cname.example.net.")
		}, "", 4, []resolver.Kind{resolver.KindTraffic}},
		{"the edge's addresses at an apex", 2, func(_ *dnstest.World, _ []*dnstest.Server, z *dnstest.Zone) {
			z.Set("@ IN A 203.0.113.10")
		}, "example.com", 4, []resolver.Kind{resolver.KindTraffic}},
		{"and a foreign one beside them", 2, func(_ *dnstest.World, _ []*dnstest.Server, z *dnstest.Zone) {
			z.Set("@ IN A 203.0.113.10", "@ IN AAAA 2001:db8::1")
		}, "example.com", 4, nil},
	} {
		t.Run(c.what, func(t *testing.T) {
			t.Parallel()
			w, ns, z := provider(t, c.servers)
			if c.set != nil {
				c.set(w, ns, z)
			}
			if c.host == "" {
				c.host = "api.example.com"
			}
			b := newBench(t, newTestResolver(t, w))
			defer b.store.Close()
			r := tlsRecord(c.host)
			r.Status = ownership.Initial(r, ownership.Contest{}, b.settings, time.Now())
			s, found := b.spot(t.Context(), r, sighting{}, 0)
			var seen []resolver.Kind
			for kind, o := range map[resolver.Kind]ownership.DNSObservation{resolver.KindTraffic: s.traffic, resolver.KindACMEChallenge: s.challenge} {
				if o.Outcome == ownership.Seen {
					seen = append(seen, kind)
				}
			}
			slices.Sort(seen)
			if !slices.Equal(seen, c.seen) || found != (len(seen) > 0) {
				t.Errorf("seen in place: %v, want %v", seen, c.seen)
			}
			n := packets(w)
			if n != c.packets || n > resolver.GlanceQuestions {
				t.Errorf("%d packets, want %d", n, c.packets)
			}
			if c.set == nil && w.Recursor.Asked("_acme-challenge."+c.host, dns.TypeCNAME)+w.Recursor.Asked(c.host, dns.TypeA) > 0 {
				t.Error("a recursive resolver was asked, and remembers now what is not there yet")
			}
			t.Logf("%d packets to third parties for one spoofed query", n)
		})
	}
}

// A resolver that follows a fresh CNAME asks our zone, by UDP.
func TestAnUnprovenHintShowsAFreshRecordAtOnce(t *testing.T) {
	world := dnstest.NewCustomer(t)
	b := newBench(t, newTestResolver(t, world.World), func(c *Config) { c.Rand = func() float64 { return 0 } }).start()
	const host = "api.example.com"
	b.put(tlsRecord(host))
	pending := func() bool {
		h, ok := b.table.Get(host)
		return ok && h.Phase() == v1alpha3.PhasePending && b.idle(host)
	}
	b.until("it is pending", pending)
	asked, next := packets(world.World), b.NextLook(host)
	for i, c := range []struct{ record, condition, want string }{
		{dnstest.RightChallenge, v1alpha3.ConditionACMEChallengeDelegationReady, "True ACMEChallengeDelegationConfigured"},
		{dnstest.RightTraffic, v1alpha3.ConditionCNAMEConfigured, "True CNAMEConfigured"},
	} {
		world.Domain.Set(c.record)
		began := time.Now()
		b.HintUnproven(host)
		b.until(c.condition, func() bool { return status(b.get(host), c.condition) == c.want })
		if took := time.Since(began); took > 2*time.Second {
			t.Errorf("%s took %v", c.condition, took)
		}
		b.until("the glance is over", func() bool { return b.idle(host) })
		if n := packets(world.World) - asked; n > (i+1)*resolver.GlanceQuestions {
			t.Errorf("%d packets after %d hints", n, i+1)
		}
	}
	if b.get(host).Status.Phase != v1alpha3.PhaseIssuing {
		t.Errorf("phase %s", b.get(host).Status.Phase)
	}
	if now := b.NextLook(host); now.After(next) {
		t.Errorf("the next look is put off, from %v to %v", next, now)
	}
}

func (b *bench) idle(host string) bool {
	b.Controller.mu.Lock()
	defer b.Controller.mu.Unlock()
	e := b.byName[host]
	return e != nil && e.state == idle && e.pending == 0
}

// What anyone may send costs others no more than five questions, then or later,
// and changes nothing where nothing is in place.
func TestAFloodOfUnprovenHintsIsAFewGlances(t *testing.T) {
	world := dnstest.NewCustomer(t)
	b := newBench(t, newTestResolver(t, world.World)).start()
	const host = "api.example.com"
	b.put(plainRecord(host))
	b.until("it is pending", func() bool {
		h, ok := b.table.Get(host)
		return ok && h.Phase() == v1alpha3.PhasePending && b.idle(host)
	})
	before, next, asked := b.get(host), b.NextLook(host), packets(world.World)
	began := time.Now()
	for range 100_000 {
		b.HintUnproven(host)
		b.HintUnproven("unknown.example.com")
	}
	b.until("a glance is over", func() bool { return packets(world.World) > asked && b.idle(host) })
	glances := 1 + int(time.Since(began)/hintGap)
	if n := packets(world.World) - asked; n > glances*resolver.GlanceQuestions {
		t.Errorf("%d packets in %d glances", n, glances)
	}
	after := b.get(host)
	if after.ResourceVersion != before.ResourceVersion || !ownership.Equal(after.Status, before.Status) {
		t.Error("the status was written")
	}
	b.Controller.mu.Lock()
	e := b.byName[host]
	if e.known().lastHint != 0 || e.known().hintDue != 0 || e.due != next.UnixNano() {
		t.Errorf("looks are made for it later: last hint %d, due for a hint %d, next look %v, was %v", e.known().lastHint, e.known().hintDue, time.Unix(0, e.due), next)
	}
	b.Controller.mu.Unlock()
}

func TestSpoofedHintsCannotHaveARecordThatIsAboutToFallLookedAt(t *testing.T) {
	world := dnstest.NewCustomer(t)
	world.Domain.Set(dnstest.RightTraffic)
	b := newBench(t, newTestResolver(t, world.World)).start()
	const host = "api.example.com"
	b.put(plainRecord(host))
	b.until("it is verified", func() bool { return b.get(host).Status.Phase == v1alpha3.PhaseActive })
	world.Domain.Remove("api")
	b.expect(b.check(host), v1alpha3.PhaseActive, v1alpha3.ConditionCNAMEConfigured, "False CNAMENotConfigured")
	b.until("the look is over and told", func() bool {
		h, ok := b.table.Get(host)
		return ok && !h.CNAMEConfigured && b.idle(host)
	})
	b.Controller.mu.Lock()
	b.queue.schedule(b.byName[host], b.clock.now().Add(time.Hour))
	b.Controller.mu.Unlock()
	b.clock.advance(11 * time.Minute)
	asked := packets(world.World)
	b.HintUnproven(host)
	b.until("the glance is over", func() bool { return packets(world.World) > asked && b.idle(host) })
	if n := packets(world.World) - asked; n > resolver.GlanceQuestions {
		t.Errorf("%d packets", n)
	}
}

func TestSilenceInAGlanceMarksNoDomain(t *testing.T) {
	world := dnstest.NewCustomer(t)
	b := newBench(t, newTestResolver(t, world.World)).start()
	const host = "api.example.com"
	b.put(plainRecord(host))
	b.until("it is pending", func() bool {
		h, ok := b.table.Get(host)
		return ok && h.Phase() == v1alpha3.PhasePending && b.idle(host)
	})
	world.Behave(dnstest.Silent)
	asked := packets(world.World)
	b.HintUnproven(host)
	b.until("the glance is over", func() bool { return packets(world.World) > asked && b.idle(host) })
	b.Controller.mu.Lock()
	defer b.Controller.mu.Unlock()
	if l := b.queue.memory.of("example.com"); l != trackFast {
		t.Errorf("the domain is in track %d", l)
	}
}

// BenchmarkSpoofedQuery states what one spoofed query reflects, in packets to
// customers' name servers.
func BenchmarkSpoofedQuery(b *testing.B) {
	for _, c := range []struct {
		what    string
		records []string
	}{{"nothing", nil}, {"traffic", []string{dnstest.RightTraffic}}, {"both", []string{dnstest.RightTraffic, dnstest.RightChallenge}}} {
		b.Run("inplace="+c.what, func(b *testing.B) {
			w, _, z := provider(b, 2)
			z.Set(append(c.records, "unrelated IN A 192.0.2.1")...)
			bench := newBench(b, nil)
			defer bench.store.Close()
			record := tlsRecord("api.example.com")
			record.Status = ownership.Initial(record, ownership.Contest{}, bench.settings, time.Now())
			before := packets(w)
			for i := 0; b.Loop(); i++ {
				if i%5 == 0 { // or the servers' share is used up
					bench.cfg.Resolver = newTestResolver(b, w, func(c *resolver.Config) { c.CacheTTL = time.Hour })
				}
				bench.spot(b.Context(), record, sighting{}, 0)
			}
			b.ReportMetric(float64(packets(w)-before)/float64(b.N), "packets/query")
		})
	}
}
