package controller

import (
	"net/netip"
	"testing"
	"time"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
	"github.com/apoxy-dev/caddy-apoxy/internal/dnstest"
	"github.com/apoxy-dev/caddy-apoxy/ownership"
)

// An address has its share of the looks that hints cause, proven or not; what is
// owed goes on.
func TestHintsAreBoundedPerAddress(t *testing.T) {
	world := newCustomer(t)
	world.zone.Set(rightTraffic)
	r := newTestResolver(t, world.World, func(c *ResolverConfig) { c.CacheTTL = time.Minute })
	const most = 10
	for _, c := range []cause{causeProven, causeUnproven} {
		r.shares[c] = newShare(1, most)
		r.shares[c].every = time.Hour
		ctx, ration := withRation(t.Context(), c)
		before := world.ns1.Asked()
		for range 2 * most {
			ration.left.Store(glanceQuestions)
			r.Observe(ctx, "api.example.com", KindTraffic)
		}
		if n := world.ns1.Asked() - before; n != most || !ration.spent.Load() {
			t.Errorf("cause %d: %d questions to one server, want %d; spent: %v", c, n, most, ration.spent.Load())
		}
	}
	if got := r.Observe(t.Context(), "api.example.com", KindTraffic); got.Outcome != ownership.Seen || got.Cached {
		t.Errorf("a look that is owed got %+v", got)
	}
	if z, ok := r.cuts.get("example.com."); !ok || z.silent() != nil {
		t.Error("the zone counts as silent")
	}
	ctx, _ := withRation(t.Context(), causeProven)
	if got := r.Observe(ctx, "api.example.com", KindTraffic); got.Outcome != ownership.CouldNotTell {
		t.Errorf("a look without questions left got %+v", got)
	}
}

func TestAHintedLookThatHadItsShareChangesNothing(t *testing.T) {
	world := newCustomer(t)
	world.zone.Set(rightTraffic)
	r := newTestResolver(t, world.World)
	b := newBench(t, r).start()
	const host = "api.example.com"
	b.put(tlsRecord(host))
	b.until("it is seen", func() bool {
		h, ok := b.table.Get(host)
		return ok && h.CNAMEConfigured && b.idle(host)
	})
	before := b.get(host)
	r.shares[causeProven] = newShare(1, 1)
	r.shares[causeProven].every = time.Hour
	for _, s := range []*dnstest.Server{world.ns1, world.ns2} {
		r.shares[causeProven].take(s.Addr, time.Since(r.began))
	}
	world.zone.Set("api IN CNAME app.old.org.")
	b.Hint(host)
	b.until("the look is over", func() bool {
		b.Controller.mu.Lock()
		defer b.Controller.mu.Unlock()
		return b.byName[host].hintFrom != 0 && b.byName[host].state == idle && b.byName[host].pending == 0
	})
	if after := b.get(host); !ownership.Equal(before.Status, after.Status) {
		t.Errorf("the status changed: %+v", after.Status)
	}
	if at := b.NextLook(host); !at.After(b.clock.now()) {
		t.Errorf("the next look is at %v", at)
	}
	b.expect(b.check(host), v1alpha3.PhasePending, v1alpha3.ConditionCNAMEConfigured, "False CNAMEMismatch")
}

func TestShare(t *testing.T) {
	s := newShare(10, 3)
	a, b := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	took := func(to netip.Addr, now time.Duration) (n int) {
		for s.take(to, now) {
			n++
		}
		return n
	}
	for _, c := range []struct {
		what string
		to   netip.Addr
		now  time.Duration
		want int
	}{
		{"the burst", a, time.Second, 3},
		{"no more at once", a, time.Second, 0},
		{"another address has its own", b, time.Second, 3},
		{"one comes back in a tenth", a, 1100 * time.Millisecond, 1},
		{"and two in two", a, 1300 * time.Millisecond, 2},
		{"never more than the burst", a, time.Hour, 3},
	} {
		if got := took(c.to, c.now); got != c.want {
			t.Errorf("%s: %d, want %d", c.what, got, c.want)
		}
	}
}

func TestSharesAreBounded(t *testing.T) {
	s := newShare(10, 3)
	s.limit = 100
	victim := netip.MustParseAddr("192.0.2.1")
	now := time.Second
	for range 3 {
		s.take(victim, now)
	}
	for i := range 10_000 {
		now += 10 * time.Millisecond
		s.take(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), now)
		if len(s.full) > s.limit {
			t.Fatalf("%d addresses are remembered", len(s.full))
		}
	}
}
