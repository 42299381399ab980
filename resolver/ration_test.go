package resolver

import (
	"net/netip"
	"testing"
	"time"

	"github.com/apoxy-dev/caddy-apoxy/internal/dnstest"
	"github.com/apoxy-dev/caddy-apoxy/ownership"
)

// An address has its share of the looks that hints cause, proven or not; what is
// owed goes on.
func TestHintsAreBoundedPerAddress(t *testing.T) {
	world := dnstest.NewCustomer(t)
	world.Domain.Set(dnstest.RightTraffic)
	r := newTestResolver(t, world.World, func(c *Config) { c.CacheTTL = time.Minute })
	const most = 10
	for _, c := range []Cause{Proven, Unproven} {
		r.shares[c] = newShare(1, most)
		r.shares[c].every = time.Hour
		ctx, ration := WithRation(t.Context(), c)
		before := world.NS1.Asked()
		for range 2 * most {
			ration.left.Store(GlanceQuestions)
			r.Observe(ctx, "api.example.com", KindTraffic)
		}
		if n := world.NS1.Asked() - before; n != most || !ration.spent.Load() {
			t.Errorf("cause %d: %d questions to one server, want %d; spent: %v", c, n, most, ration.spent.Load())
		}
	}
	if got := r.Observe(t.Context(), "api.example.com", KindTraffic); got.Outcome != ownership.Seen || got.Cached {
		t.Errorf("a look that is owed got %+v", got)
	}
	if z, ok := r.cuts.Get("example.com."); !ok || z.silent() != nil {
		t.Error("the zone counts as silent")
	}
	ctx, _ := WithRation(t.Context(), Proven)
	if got := r.Observe(ctx, "api.example.com", KindTraffic); got.Outcome != ownership.CouldNotTell {
		t.Errorf("a look without questions left got %+v", got)
	}
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
