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
)

// A fleetBench is a bench with verified records of several owners, whose proofs
// are taken away and put back.
type fleetBench struct {
	*bench
	world *customer
	logs  *observer.ObservedLogs
	made  int
}

func newFleetBench(t *testing.T) *fleetBench {
	world := newCustomer(t)
	core, logs := observer.New(zap.WarnLevel)
	b := newBench(t, newTestResolver(t, world.World), func(c *Config) { c.Logger = zap.New(core) })
	return &fleetBench{bench: b, world: world, logs: logs}
}

// label is the first label of a hostname below example.com.
func label(host string) string { return strings.TrimSuffix(host, ".example.com") }

func (f *fleetBench) prove(hosts ...string) {
	for _, host := range hosts {
		f.world.zone.Set(label(host) + " IN CNAME " + host + ".cname.example.net.")
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
		f.world.zone.Remove(label(host))
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

const due = 11 * time.Minute // detach_after and more

func TestOneTenantDoesNotHoldTheBrake(t *testing.T) {
	t.Run("who withdraws all records", func(t *testing.T) {
		f := newFleetBench(t)
		f.start()
		f.add(5, "b")
		a := f.add(30, "a")
		brakes := counted(t, fleetBrakes)
		f.withdraw(a...)
		f.clock.advance(due)
		f.expectFallen(30, a...)
		if n := counted(t, fleetBrakes) - brakes; n != 0 {
			t.Errorf("the brake was counted %v times", n)
		}
	})
	t.Run("who withdraws all beside a neighbour who rightly leaves, for longer than the hold", func(t *testing.T) {
		f := newFleetBench(t)
		f.start()
		a, b := f.add(30, "a"), f.add(1, "b")
		f.add(4, "")
		f.withdraw(append(a, b...)...)
		f.clock.advance(due)
		f.expectFallen(0, b...)
		f.clock.advance(time.Hour)
		f.expectFallen(1, b...)
		f.expectFallen(30, a...)
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
		for range 6 {
			f.withdraw(f.add(15, "a")...)
			f.clock.advance(due)
			f.look(b...)
		}
		f.expectFallen(1, b...)
	})
	t.Run("who takes proofs away and puts them back beside neighbours who leave", func(t *testing.T) {
		f := newFleetBench(t)
		f.start()
		rest := f.add(30, "")
		a, b := f.add(10, "a"), f.add(5, "b")
		f.withdraw(append(a, b...)...)
		f.clock.advance(due)
		f.expectFallen(0, b...)
		for range 7 { // another hour
			f.prove(a...)
			f.look(a...)
			f.withdraw(a...)
			f.clock.advance(9 * time.Minute)
			f.look(rest...)
			f.look(a...)
		}
		f.expectFallen(5, b...)
	})
}

// Resolvers that say of everybody's names that they are gone.
func TestTheBrakeHoldsInAnOutage(t *testing.T) {
	f := newFleetBench(t)
	f.start()
	well, a, b := f.add(20, "c"), f.add(8, "a"), f.add(8, "b")
	all := append(a, b...)
	brakes := counted(t, fleetBrakes)
	f.withdraw(all...)
	f.clock.advance(due)
	began := f.clock.now()
	f.expectFallen(0, all...)
	if n := counted(t, fleetBrakes) - brakes; n != 1 || f.logs.FilterMessageSnippet("none does").Len() != 1 {
		t.Errorf("the brake was counted %v times and logged %d times", n, f.logs.FilterMessageSnippet("none does").Len())
	}
	m := f.get(a[0]).Status.Condition(v1alpha3.ConditionOwnershipVerified).Message
	for _, part := range []string{began.UTC().Format("2006-01-02T15:04"), began.Add(time.Hour).UTC().Format("2006-01-02T15:04"), "caddy apoxy brake release"} {
		if !strings.Contains(m, part) {
			t.Errorf("the message lacks %q: %s", part, m)
		}
	}
	f.clock.advance(50 * time.Minute)
	f.look(well...)
	f.expectFallen(0, all...)
	// One that goes late counts with the others and is due with their end.
	late := f.add(1, "")
	f.withdraw(late...)
	f.clock.advance(due)
	f.look(well...)
	f.expectFallen(len(all), all...)
	f.expectFallen(1, late...)
	if f.logs.FilterMessageSnippet("holds no longer").Len() != 1 {
		t.Errorf("its end was logged %d times", f.logs.FilterMessageSnippet("holds no longer").Len())
	}
	// It is ready for the next one.
	f.withdraw(well...)
	more := f.add(8, "d")
	f.withdraw(more...)
	f.clock.advance(due)
	f.expectFallen(0, append(well, more...)...)
}

func TestTheBrakeGoesOnWhileMostIsGone(t *testing.T) {
	f := newFleetBench(t)
	f.start()
	well, a, b := f.add(5, "c"), f.add(10, "a"), f.add(10, "b")
	all := append(a, b...)
	f.withdraw(all...)
	f.clock.advance(due)
	f.expectFallen(0, all...)
	for range 3 {
		f.clock.advance(2 * time.Hour)
		f.look(well...)
		f.expectFallen(0, all...)
	}
	// When most are back the others fall at once: their time is over.
	f.prove(all[:9]...)
	f.look(all[:9]...)
	f.expectFallen(11, all[9:]...)
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
	brakes := counted(t, fleetBrakes)
	r := f.ReleaseBrake()
	if r == nil || r.Gone != 12 || r.Due != 12 || r.Since.After(f.clock.now()) {
		t.Fatalf("released %+v", r)
	}
	f.until("they fall without being asked for", func() bool { return f.fallen(all...) == len(all) })
	if again := f.ReleaseBrake(); again != nil {
		t.Errorf("released twice: %+v", again)
	}
	if n := counted(t, fleetBrakes) - brakes; n != 0 {
		t.Errorf("the brake came back for the same records")
	}
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

// Statuses tell after a restart how long the brake has held.
func TestAHoldOutlastsARestart(t *testing.T) {
	f := newFleetBench(t)
	f.settings.FleetBrakeHold = 2 * time.Hour
	var gone, well []string
	for i := range 36 {
		r := f.record([]string{"a", "b", ""}[i%3])
		stamp := metav1.NewTime(time.Now().Add(-3 * time.Hour).UTC().Truncate(time.Second))
		r.Status.Phase, r.Status.ObservedGeneration = v1alpha3.PhaseActive, 1
		r.Status.Conditions = []metav1.Condition{{Type: v1alpha3.ConditionOwnershipVerified, Status: "True",
			Reason: v1alpha3.ReasonCNAMEConfigured, LastTransitionTime: stamp}}
		r.Status.DNSRecords = v1alpha3.ExpectedDNSRecords(r, ownZone, "")
		for k := range r.Status.DNSRecords {
			d := &r.Status.DNSRecords[k]
			d.LastTransitionTime = &stamp
			d.Configured = i >= 12 && d.Purpose == v1alpha3.PurposeTraffic
		}
		known := r.Established()
		r.Status.Ownership = &known
		if i < 12 {
			known.WithdrawnTime = &stamp
			f.world.zone.Remove(label(r.Name))
			gone = append(gone, r.Name)
		} else {
			well = append(well, r.Name)
		}
		f.put(r)
	}
	f.start()
	f.expectFallen(0, gone...) // nothing is known yet of how the others are
	f.look(well...)
	f.expectFallen(0, gone...)
	f.clock.advance(due)
	f.expectFallen(12, gone...)
}

func TestAClockThatJumpsDoesNotProlongTheBrake(t *testing.T) {
	f := newFleetBench(t)
	f.start()
	well, all := f.add(20, "c"), append(f.add(6, "a"), f.add(6, "b")...)
	f.withdraw(all...)
	f.clock.advance(48*time.Hour + due) // ahead, until somebody sets it right
	f.look(well...)
	f.expectFallen(0, all...)
	f.clock.advance(-48 * time.Hour)
	f.look(well...)
	f.expectFallen(0, all...)
	f.clock.advance(61 * time.Minute)
	f.look(well...)
	f.expectFallen(12, all...)
}
