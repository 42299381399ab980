package controller

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
)

func TestOwnWritesAreToldFromThoseOfOthers(t *testing.T) {
	const begin = -1
	type step struct {
		end     int64 // begin, or the revision that end is told; 0: see heard
		failed  bool
		heard   int64
		foreign bool
	}
	for _, c := range []struct {
		name  string
		steps []step
	}{
		{"another's write", []step{{heard: 5, foreign: true}}},
		{"the own write comes back", []step{{end: begin}, {end: 5}, {heard: 5}, {heard: 6, foreign: true}}},
		{"the own write comes back before it is acknowledged", []step{{end: begin}, {heard: 5}, {end: 5}, {heard: 6, foreign: true}}},
		{"another's comes between", []step{{end: begin}, {end: 5}, {heard: 7, foreign: true}}},
		{"another's follows before the own is acknowledged", []step{{end: begin}, {heard: 5}, {heard: 6}, {end: 5, foreign: true}}},
		{"what was read before the own write comes late", []step{{end: begin}, {end: 5}, {heard: 4}, {heard: 5}}},
		{"two of its own come back late", []step{{end: begin}, {end: 5}, {end: begin}, {heard: 5}, {end: 6}, {heard: 6}}},
		{"another's won, and is heard of in time", []step{{end: begin}, {heard: 5}, {failed: true, foreign: true}}},
		{"another's won, and is heard of later", []step{{end: begin}, {failed: true}, {heard: 5, foreign: true}}},
		{"a write fails after one that has not come back", []step{{end: begin}, {end: 5}, {end: begin}, {failed: true}, {heard: 5}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := ownWrites{}
			for i, s := range c.steps {
				var foreign bool
				switch {
				case s.end == begin:
					o.begin("a")
				case s.end > 0 || s.failed:
					foreign = o.end("a", s.end)
				default:
					foreign = o.heard("a", s.heard)
				}
				if foreign != s.foreign {
					t.Errorf("step %d: another's: %v, want %v", i, foreign, s.foreign)
				}
			}
			if len(o) != 0 {
				t.Errorf("in the end %d writes are remembered", len(o))
			}
		})
	}
}

// Who writes a status that is not true is corrected at once, not when the timer
// looks next; what the controller writes itself causes no look.
func TestAForeignStatusIsCorrectedAtOnce(t *testing.T) {
	world := newCustomer(t)
	world.zone.Set(rightTraffic)
	b := newBench(t, newTestResolver(t, world.World)).start()
	const host = "api.example.com"
	b.put(plainRecord(host))
	b.until("it is settled", func() bool { return isTrue(&b.get(host).Status, v1alpha3.ConditionReady) })
	atRest := func() bool {
		b.Controller.mu.Lock()
		defer b.Controller.mu.Unlock()
		return len(b.own) == 0 && b.byName[host].state == idle
	}
	b.until("its own write has come back", atRest)
	asked := world.ns1.Queries()
	if at := b.NextLook(host); at.Before(b.clock.now().Add(time.Minute)) {
		t.Errorf("its next look is at %v, as if its own write were another's", at)
	}

	r := b.get(host)
	r.Status.Condition(v1alpha3.ConditionCNAMEConfigured).Status = metav1.ConditionFalse
	r.Status.Phase = v1alpha3.PhaseDetached
	b.put(r)
	b.until("it is corrected", func() bool {
		r := b.get(host)
		return r.Status.Phase == v1alpha3.PhaseActive && isTrue(&r.Status, v1alpha3.ConditionCNAMEConfigured)
	})
	if world.ns1.Queries() == asked {
		t.Error("it was corrected without a look")
	}

	b.until("the correction has come back", atRest)
	r = b.get(host)
	r.Finalizers = []string{"example.com/keep"}
	asked = world.ns1.Queries()
	b.put(r)
	b.until("the change has come by", func() bool {
		v, err := b.read(t.Context(), host)
		return err == nil && b.table.Reached(v.revision)
	})
	if !atRest() || world.ns1.Queries() != asked {
		t.Error("a change of neither spec nor status causes a look")
	}
}
