package controller

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"go.uber.org/zap"
	"golang.org/x/time/rate"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
	"github.com/apoxy-dev/caddy-apoxy/internal/dnstest"
	"github.com/apoxy-dev/caddy-apoxy/ownership"
	"github.com/apoxy-dev/caddy-apoxy/resolver"
)

func (b *bench) inPhase(p v1alpha3.Phase) (n int) {
	for h := range b.table.All() {
		if h.Phase() == p {
			n++
		}
	}
	return n
}

func counted(t testing.TB, m interface{ Write(*dto.Metric) error }) float64 {
	t.Helper()
	var v dto.Metric
	if err := m.Write(&v); err != nil {
		t.Fatal(err)
	}
	return v.GetCounter().GetValue()
}

func TestTheFleetBrake(t *testing.T) {
	for _, c := range []struct {
		what           string
		records, leave int
		held           bool
	}{
		{"a tenth may leave together", 120, 12, false},
		{"nine may leave whatever share they are", 20, 9, false},
		{"more than a tenth, and ten, may not", 60, 20, true},
	} {
		t.Run(c.what, func(t *testing.T) {
			world := dnstest.NewCustomer(t)
			host := func(i int) string { return fmt.Sprintf("h%d.example.com", i) }
			b := newBench(t, newTestResolver(t, world.World), func(c *Config) { c.Logger = zap.NewNop() }).start()
			for i := range c.records {
				world.Domain.Set(fmt.Sprintf("h%d IN CNAME %s.cname.example.net.", i, host(i)))
				b.put(plainRecord(host(i)))
			}
			b.until("all are verified", func() bool { return b.inPhase(v1alpha3.PhaseActive) == c.records })
			brakes := counted(t, fleetBrakes)
			for i := range c.leave {
				world.Domain.Remove(fmt.Sprint("h", i))
				b.check(host(i))
			}
			b.clock.advance(11 * time.Minute)
			for i := range c.leave {
				b.check(host(i))
			}
			want, episodes := c.leave, 0.0
			if c.held {
				want, episodes = 0, 1
			}
			fallen := 0
			for i := range c.leave {
				if b.get(host(i)).Status.Phase == v1alpha3.PhaseDetached {
					fallen++
				}
			}
			if fallen != want {
				t.Errorf("%d of %d fell, want %d", fallen, c.leave, want)
			}
			if n := counted(t, fleetBrakes) - brakes; n != episodes {
				t.Errorf("the brake was counted %v times, want %v", n, episodes)
			}
			if !c.held {
				return
			}
			// Those that come back are well, and then the others may go.
			for i := range c.leave - 5 {
				world.Domain.Set(fmt.Sprintf("h%d IN CNAME %s.cname.example.net.", i, host(i)))
				b.check(host(i))
			}
			last := host(c.leave - 1)
			if r := b.check(last); r.Status.Phase != v1alpha3.PhaseDetached {
				t.Errorf("%s does not fall once the others are back: %s", last, status(r, v1alpha3.ConditionOwnershipVerified))
			}
		})
	}
}

func TestBrakeRemembersOverARestart(t *testing.T) {
	world := dnstest.NewCustomer(t)
	b := newBench(t, newTestResolver(t, world.World), func(c *Config) { c.Logger = zap.NewNop() })
	// All were verified, and found withdrawn long before the start.
	long := metav1.NewTime(time.Now().Add(-time.Hour).UTC().Truncate(time.Second))
	for i := range 40 {
		r := plainRecord(fmt.Sprintf("h%d.example.com", i))
		r.Status.Phase = v1alpha3.PhaseActive
		r.Status.ObservedGeneration = 1
		r.Status.Conditions = []metav1.Condition{{Type: v1alpha3.ConditionOwnershipVerified, Status: "True", Reason: v1alpha3.ReasonCNAMEConfigured, LastTransitionTime: long}}
		r.Status.Ownership = &v1alpha3.OwnershipStatus{Verified: true, Proof: v1alpha3.ReasonCNAMEConfigured, VerifiedTime: &long, WithdrawnTime: &long}
		b.put(r)
	}
	b.start()
	if r := b.check("h7.example.com"); r.Status.Phase != v1alpha3.PhaseActive {
		t.Errorf("the first to be looked at after a restart fell: %s", status(r, v1alpha3.ConditionOwnershipVerified))
	}
}

func TestADeadZoneDelaysNobodyElse(t *testing.T) {
	world := dnstest.NewCustomer(t)
	var dead []*dnstest.Server
	b := newBench(t, newTestResolver(t, world.World, func(c *resolver.Config) {
		c.QueryTimeout = time.Second
	}), func(c *Config) { c.Concurrency, c.Logger = 8, zap.NewNop() }).start()
	for z := range 20 {
		s := world.Server(fmt.Sprintf("ns.dead%d.org", z))
		world.Zone(fmt.Sprintf("dead%d.org", z), s)
		s.Behave(dnstest.Silent)
		dead = append(dead, s)
		for i := range 5 {
			b.put(plainRecord(fmt.Sprintf("h%d.dead%d.org", i, z)))
		}
	}
	b.until("dead zones are being asked", func() bool { return dead[0].Queries() > 0 })
	world.Domain.Set(dnstest.RightTraffic)
	began := time.Now()
	b.put(plainRecord("api.example.com"))
	b.until("the healthy one is verified", func() bool { return b.get("api.example.com").Status.Phase == v1alpha3.PhaseActive })
	if took := time.Since(began); took > 4*time.Second {
		t.Errorf("it took %v beside 100 records in dead zones", took)
	}
}

func TestNoSingleResolversWordDetaches(t *testing.T) {
	for _, c := range []struct {
		what      string
		resolvers int
		want      v1alpha3.Phase
	}{
		{"one resolver is not believed alone", 1, v1alpha3.PhaseActive},
		{"two that agree are", 2, v1alpha3.PhaseDetached},
	} {
		t.Run(c.what, func(t *testing.T) {
			world := dnstest.NewCustomer(t)
			world.Domain.Set(dnstest.RightTraffic)
			r := newTestResolver(t, world.World, func(cfg *resolver.Config) {
				cfg.Port = 9 // closed to the outside
				for range c.resolvers - 1 {
					cfg.Resolvers = append(cfg.Resolvers, cfg.Resolvers[0])
				}
			})
			b := newBench(t, r).start()
			const host = "api.example.com"
			b.put(plainRecord(host))
			b.until("it is verified", func() bool { return b.get(host).Status.Phase == v1alpha3.PhaseActive })
			world.Domain.Remove("api")
			b.expect(b.check(host), v1alpha3.PhaseActive, v1alpha3.ConditionCNAMEConfigured, "False CNAMENotConfigured")
			b.clock.advance(11 * time.Minute)
			b.expect(b.check(host), c.want)
		})
	}
}

// idleDNS counts looks and sees nothing.
type idleDNS struct {
	mu    sync.Mutex
	looks map[string]int
}

func (d *idleDNS) Observe(_ context.Context, hostname string, kind resolver.Kind) ownership.DNSObservation {
	if kind == resolver.KindTraffic {
		d.mu.Lock()
		if d.looks == nil {
			d.looks = make(map[string]int)
		}
		d.looks[hostname]++
		d.mu.Unlock()
	}
	return ownership.DNSObservation{Outcome: ownership.Absent, NXDomain: true, At: time.Now()}
}

func (d *idleDNS) CAA(context.Context, string) (ownership.CAAObservation, error) {
	return ownership.CAAObservation{Outcome: ownership.Absent}, nil
}

func (d *idleDNS) seen(hostname string) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.looks[hostname]
}

func TestAHintOvertakesABulkImport(t *testing.T) {
	q := newQueue(1)
	for i := range 100 {
		q.demand(newItem(fmt.Sprint("imported", i), fmt.Sprint(i)), workLook)
	}
	c := &Controller{queue: q}
	c.hints.limit = rate.NewLimiter(rate.Inf, 1)
	c.hinted(newItem("hinted", "h"), time.Now())
	if e := c.queue.next(time.Now()); e.name != "hinted" {
		t.Errorf("%s comes first", e.name)
	}
}

func TestAFloodOfHintsIsAFewLooks(t *testing.T) {
	dns := &idleDNS{}
	b := newBench(t, dns).start()
	b.put(plainRecord("api.example.com"))
	b.until("it is looked at", func() bool {
		h, ok := b.table.Get("api.example.com")
		return ok && h.Phase() == v1alpha3.PhasePending && dns.seen("api.example.com") > 0
	})
	for range 100_000 {
		b.Hint("api.example.com")
		b.Hint("unknown.example.com")
	}
	b.until("a hint is looked into", func() bool { return dns.seen("api.example.com") > 1 })
	if n := dns.seen("api.example.com"); n > 4 {
		t.Errorf("%d looks", n)
	}
	b.Controller.mu.Lock()
	owed := b.byName["api.example.com"].known().hintDue
	b.Controller.mu.Unlock()
	if wait := time.Until(time.Unix(0, owed)); owed != 0 && wait > time.Minute {
		t.Errorf("the next look for a hint is %v away", wait)
	}
}

func TestRecordsFromBeforeTheStartAreSpreadOut(t *testing.T) {
	dns := &idleDNS{}
	n := 0.0
	b := newBench(t, dns, func(c *Config) {
		c.Rand = func() float64 { n += 0.001; return n - float64(int(n)) }
	})
	for i := range 200 {
		r := plainRecord(fmt.Sprintf("h%d.example.com", i))
		r.Status = ownership.Initial(r, ownership.Contest{}, b.settings, time.Now())
		b.put(r)
	}
	b.start()
	first, last := time.Now().Add(time.Hour), time.Time{}
	for i := range 200 {
		at := b.NextLook(fmt.Sprintf("h%d.example.com", i))
		if at.Before(first) {
			first = at
		}
		if at.After(last) {
			last = at
		}
	}
	if spread := last.Sub(first); spread < 10*time.Second || spread > time.Minute {
		t.Errorf("200 records are looked at within %v", spread)
	}
}

func TestRunLeavesNothingBehind(t *testing.T) {
	before := runtime.NumGoroutine()
	t.Run("a controller amid slow looks", func(t *testing.T) {
		world := dnstest.NewCustomer(t)
		world.Behave(dnstest.Silent)
		b := newBench(t, newTestResolver(t, world.World, func(c *resolver.Config) { c.QueryTimeout = time.Minute }),
			func(c *Config) { c.Logger = zap.NewNop() }).start()
		for i := range 10 {
			b.put(tlsRecord(fmt.Sprintf("h%d.example.com", i)))
		}
		b.until("looks are under way", func() bool { return world.NS1.Queries() > 0 })
	})
	deadline := time.Now().Add(10 * time.Second)
	for runtime.NumGoroutine() > before {
		if time.Now().After(deadline) {
			buf := make([]byte, 1<<16)
			t.Fatalf("%d goroutines are left, were %d:\n%s", runtime.NumGoroutine(), before, buf[:runtime.Stack(buf, true)])
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func TestCheckWithoutRunSaysSo(t *testing.T) {
	b := newBench(t, &idleDNS{})
	defer b.store.Close()
	b.put(plainRecord("api.example.com"))
	if err := b.Check(t.Context(), "api.example.com"); err != errStopped {
		t.Errorf("error %v", err)
	}
}
