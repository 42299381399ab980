package controller

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
	"github.com/apoxy-dev/caddy-apoxy/internal/dnstest"
)

// fleetBench is a bench with verified records of several owners, whose proofs
// are taken away and put back.
type fleetBench struct {
	*bench
	world *dnstest.Customer
	logs  *observer.ObservedLogs
	made  int
}

func newFleetBench(t *testing.T) *fleetBench {
	world := dnstest.NewCustomer(t)
	core, logs := observer.New(zap.WarnLevel)
	b := newBench(t, newTestResolver(t, world.World), func(c *Config) { c.Logger = zap.New(core) })
	return &fleetBench{bench: b, world: world, logs: logs}
}

// label is the first label of a hostname below example.com.
func label(host string) string { return strings.TrimSuffix(host, ".example.com") }

func (f *fleetBench) prove(hosts ...string) {
	for _, host := range hosts {
		f.world.Domain.Set(label(host) + " IN CNAME " + host + ".cname.example.net.")
	}
}

// record is a new record of owner, and its proof.
func (f *fleetBench) record(owner string) *v1alpha3.DomainRecord {
	f.made++
	r := plainRecord(fmt.Sprintf("h%d.example.com", f.made))
	if owner != "" {
		r.Labels = map[string]string{v1alpha3.OwnerLabel: owner}
	}
	f.prove(r.Name)
	return r
}

// add makes n verified records of owner.
func (f *fleetBench) add(n int, owner string) (hosts []string) {
	f.t.Helper()
	for range n {
		r := f.record(owner)
		f.put(r)
		hosts = append(hosts, r.Name)
	}
	f.until("the new records are verified", func() bool {
		for _, host := range hosts {
			if h, ok := f.table.Get(host); !ok || !h.Verified {
				return false
			}
		}
		return true
	})
	return hosts
}

// withdraw takes the proofs away and has that seen.
func (f *fleetBench) withdraw(hosts ...string) {
	for _, host := range hosts {
		f.world.Domain.Remove(label(host))
	}
	f.look(hosts...)
}

func (f *fleetBench) look(hosts ...string) {
	for _, host := range hosts {
		f.check(host)
	}
}

// fallen is how many of hosts have lost ownership.
func (f *fleetBench) fallen(hosts ...string) (n int) {
	for _, host := range hosts {
		if f.get(host).Status.Phase == v1alpha3.PhaseDetached {
			n++
		}
	}
	return n
}

// expectFallen looks at hosts, and then so many of them must have fallen.
func (f *fleetBench) expectFallen(want int, hosts ...string) {
	f.t.Helper()
	f.look(hosts...)
	if n := f.fallen(hosts...); n != want {
		f.t.Errorf("%d of %d fell, want %d", n, len(hosts), want)
	}
}

const (
	due  = 11 * time.Minute // detach_after and more
	hold = time.Hour        // fleet_brake_hold, by default
)

// expectHeld looks at hosts, which the brake must keep for as long as the hold
// lasts and no longer: then they fall without anybody's asking.
func (f *fleetBench) expectHeld(hosts ...string) {
	f.t.Helper()
	f.expectFallen(0, hosts...)
	f.clock.advance(hold - time.Minute)
	f.expectFallen(0, hosts...)
	f.clock.advance(time.Minute)
	f.expectToFall(hosts...)
}

// expectToFall waits until hosts have fallen by the timer alone.
func (f *fleetBench) expectToFall(hosts ...string) {
	f.t.Helper()
	f.until("those that were held fall by themselves", func() bool {
		f.poke() // the loop does not notice that the clock was advanced
		return f.fallen(hosts...) == len(hosts)
	})
}

// expectBrakes has the brake counted and logged so many times while do runs.
func (f *fleetBench) expectBrakes(want int, do func()) {
	f.t.Helper()
	brakes, logged := counted(f.t, fleetBrakes), f.logs.FilterMessageSnippet("none does").Len()
	do()
	if n := int(counted(f.t, fleetBrakes) - brakes); n != want {
		f.t.Errorf("the brake was counted %d times, want %d", n, want)
	}
	if n := f.logs.FilterMessageSnippet("none does").Len() - logged; n != want {
		f.t.Errorf("the brake was logged %d times, want %d", n, want)
	}
}

func TestOneTenantDoesNotHoldTheBrake(t *testing.T) {
	t.Run("who withdraws all records", func(t *testing.T) {
		f := newFleetBench(t)
		f.start()
		f.add(5, "b")
		a := f.add(30, "a")
		f.withdraw(a...)
		f.clock.advance(due)
		f.expectBrakes(0, func() { f.expectFallen(30, a...) })
	})
	t.Run("who withdraws all beside a neighbour who rightly leaves, for longer than the hold", func(t *testing.T) {
		f := newFleetBench(t)
		f.settings.CheckInterval = 24 * time.Hour // no reason for a look when the hold ends
		f.start()
		both := append(f.add(30, "a"), f.add(1, "b")...)
		f.add(4, "")
		f.withdraw(both...)
		f.clock.advance(due)
		f.expectBrakes(1, func() { f.expectHeld(both...) })
	})
	t.Run("whose records fell a moment before a neighbour leaves", func(t *testing.T) {
		f := newFleetBench(t)
		f.start()
		a, b := f.add(30, "a"), f.add(4, "b")
		f.withdraw(a...)
		f.clock.advance(due)
		f.expectFallen(30, a...)
		f.clock.advance(due) // beyond detach_after they do not count any more
		f.withdraw(b...)
		f.clock.advance(due)
		f.expectFallen(4, b...)
	})
	t.Run("who makes new records all the time and withdraws them, for longer than the hold", func(t *testing.T) {
		f := newFleetBench(t)
		f.start()
		f.add(10, "c")
		b := f.add(1, "b")
		f.withdraw(b...)
		for range 6 { // 55 minutes from when b is due
			f.withdraw(f.add(15, "a")...)
			f.clock.advance(due)
			f.expectFallen(0, b...)
		}
		f.withdraw(f.add(15, "a")...)
		f.clock.advance(due)
		f.expectToFall(b...)
	})
	t.Run("who takes proofs away and puts them back beside neighbours who leave", func(t *testing.T) {
		f := newFleetBench(t)
		f.settings.CheckInterval = 24 * time.Hour // they are looked at in the worst moment only
		f.start()
		f.add(30, "")
		a, b := f.add(10, "a"), f.add(5, "b")
		f.withdraw(append(a, b...)...)
		f.clock.advance(due)
		f.expectFallen(0, b...)
		again := func() {
			f.prove(a...)
			f.look(a...)
			f.withdraw(a...)
			f.clock.advance(9 * time.Minute)
		}
		for range 6 { // 54 minutes
			again()
			f.expectBrakes(1, func() { f.expectFallen(0, b...) })
		}
		again()
		f.expectToFall(b...)
	})
}

// Resolvers that say of many names that they are gone.
func TestTheBrakeHoldsInAnOutage(t *testing.T) {
	f := newFleetBench(t)
	f.start()
	well, a, b := f.add(20, "c"), f.add(8, "a"), f.add(8, "b")
	all := append(a, b...)
	f.withdraw(all...)
	f.clock.advance(due)
	began := f.clock.now()
	f.expectBrakes(1, func() {
		f.expectFallen(0, all...)
		m := f.get(a[0]).Status.Condition(v1alpha3.ConditionOwnershipVerified).Message
		for _, part := range []string{began.UTC().Format("2006-01-02T15:04"), began.Add(hold).UTC().Format("2006-01-02T15:04"), "caddy apoxy brake release"} {
			if !strings.Contains(m, part) {
				t.Errorf("the message lacks %q: %s", part, m)
			}
		}
		f.clock.advance(50 * time.Minute)
		f.expectFallen(0, all...)
		// One that goes late counts with the others and is due with their end.
		late := f.add(1, "")
		f.withdraw(late...)
		f.clock.advance(due)
		f.expectToFall(append(late, all...)...)
	})
	if f.logs.FilterMessageSnippet("holds no longer").Len() != 1 {
		t.Errorf("its end was logged %d times", f.logs.FilterMessageSnippet("holds no longer").Len())
	}
	// It is ready for the next one.
	more := append(f.add(8, "d"), well...)
	f.withdraw(more...)
	f.clock.advance(due)
	f.expectBrakes(1, func() { f.expectFallen(0, more...) })
}

// Resolvers that say of everybody's names that they are gone.
func TestTheBrakeEndsThoughEverythingIsGone(t *testing.T) {
	f := newFleetBench(t)
	f.settings.CheckInterval = 24 * time.Hour // no reason for a look when the hold ends
	f.start()
	all := append(append(f.add(10, "a"), f.add(10, "b")...), f.add(10, "")...)
	f.withdraw(all...)
	f.clock.advance(due)
	f.expectBrakes(1, func() { f.expectHeld(all...) })
}

func TestReleasingTheBrake(t *testing.T) {
	f := newFleetBench(t)
	f.start()
	a, b := f.add(6, "a"), f.add(6, "b")
	well := f.add(8, "")
	all := append(a, b...)
	if r := f.ReleaseBrake(); r != nil {
		t.Errorf("released what does not hold: %+v", r)
	}
	f.withdraw(all...)
	if r := f.ReleaseBrake(); r != nil {
		t.Errorf("released what does not hold: %+v", r)
	}
	f.clock.advance(due)
	f.expectFallen(0, all...)
	f.expectBrakes(0, func() {
		r := f.ReleaseBrake()
		if r == nil || r.Gone != 12 || r.Due != 12 || r.Since.After(f.clock.now()) {
			t.Fatalf("released %+v", r)
		}
		f.until("they fall without being asked for", func() bool { return f.fallen(all...) == len(all) })
		if again := f.ReleaseBrake(); again != nil {
			t.Errorf("released twice: %+v", again)
		}
	})
	// Those that fell by the release are no reason to hold one that goes later.
	f.withdraw(well[0])
	f.clock.advance(due)
	f.expectFallen(1, well[0])
	// Others, if they are many, are.
	more := append(f.add(6, "a"), f.add(6, "b")...)
	f.withdraw(more...)
	f.clock.advance(due)
	f.expectFallen(0, more...)
}

// before makes n verified records as the process before this one has left them,
// all without a proof since so long ago; 0: they have theirs.
func (f *fleetBench) before(n int, gone time.Duration) (hosts []string) {
	for i := range n {
		r := f.record([]string{"a", "b", ""}[i%3])
		long := metav1.NewTime(time.Now().Add(-24 * time.Hour).UTC().Truncate(time.Second))
		r.Status.Phase, r.Status.ObservedGeneration = v1alpha3.PhaseActive, 1
		r.Status.Conditions = []metav1.Condition{{Type: v1alpha3.ConditionOwnershipVerified, Status: "True",
			Reason: v1alpha3.ReasonCNAMEConfigured, LastTransitionTime: long}}
		r.Status.Ownership = &v1alpha3.OwnershipStatus{Verified: true, Owner: r.Owner(), Proof: v1alpha3.ReasonCNAMEConfigured, VerifiedTime: &long}
		if gone != 0 {
			since := metav1.NewTime(time.Now().Add(-gone).UTC().Truncate(time.Second))
			r.Status.Ownership.WithdrawnTime = &since
			f.world.Domain.Remove(label(r.Name))
		}
		f.put(r)
		hosts = append(hosts, r.Name)
	}
	return hosts
}

// Statuses tell after a restart how long the brake has held.
func TestAHoldOutlastsARestart(t *testing.T) {
	t.Run("and ends as it would have without", func(t *testing.T) {
		f := newFleetBench(t)
		gone := f.before(12, 40*time.Minute) // held since 30 minutes
		f.before(24, 0)
		f.start()
		f.expectBrakes(1, func() {
			f.expectFallen(0, gone...)
			f.clock.advance(29 * time.Minute)
			f.expectFallen(0, gone...)
			f.clock.advance(time.Minute)
			f.expectToFall(gone...)
		})
	})
	t.Run("unless it is over", func(t *testing.T) {
		f := newFleetBench(t)
		gone := f.before(12, 3*time.Hour)
		f.before(24, 0)
		f.start()
		f.expectBrakes(0, func() { f.expectFallen(12, gone...) })
	})
	t.Run("and another may follow one that is over", func(t *testing.T) {
		f := newFleetBench(t)
		gone, late := f.before(12, 3*time.Hour), f.before(12, 15*time.Minute) // held since 5 minutes
		f.before(24, 0)
		f.start()
		f.expectBrakes(1, func() {
			f.expectFallen(0, late...)
			f.expectFallen(12, gone...)
			f.clock.advance(54 * time.Minute)
			f.expectFallen(0, late...)
			f.clock.advance(time.Minute)
			f.expectToFall(late...)
		})
	})
}

func TestAClockThatJumpsDoesNotProlongTheBrake(t *testing.T) {
	f := newFleetBench(t)
	f.start()
	f.add(20, "c")
	all := append(f.add(6, "a"), f.add(6, "b")...)
	f.withdraw(all...)
	f.clock.advance(48*time.Hour + due) // ahead, until somebody sets it right
	f.expectFallen(0, all...)
	f.clock.advance(-48 * time.Hour)
	f.expectFallen(0, all...)
	f.clock.advance(61 * time.Minute)
	f.expectFallen(12, all...)
}
