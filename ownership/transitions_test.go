package ownership

import (
	"strings"
	"testing"
	"time"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
)

// events are what can be seen next; each leaves the rest of the world as it is.
var events = map[string]func(*world){
	"delegation": func(w *world) { w.obs.ACMEChallenge = right(w.r, v1alpha3.PurposeACMEChallenge, "") },
	"main":       func(w *world) { w.obs.Traffic = right(w.r, v1alpha3.PurposeTraffic, "") },
	"challenge":  func(w *world) { w.obs.Ownership = right(w.r, v1alpha3.PurposeOwnership, "") },
	"issued":     func(w *world) { w.obs.Certificate = certificateUntil(w.now.Add(1000 * time.Hour)) },
	"expired":    func(w *world) { w.obs.Certificate = certificateUntil(w.now.Add(-time.Second)) },
	"gone":       func(w *world) { w.obs.Traffic, w.obs.ACMEChallenge, w.obs.Ownership = absent, absent, absent },
	"goneLong": func(w *world) {
		w.obs.Traffic, w.obs.ACMEChallenge, w.obs.Ownership = absent, absent, absent
		if c := &w.obs.Certificate; c.Outcome == Seen {
			c.NotAfter = w.now
		}
		w.look()
		w.now = w.now.Add(10 * time.Minute)
	},
	"silence": func(w *world) {
		w.obs = Observations{Traffic: unknown, ACMEChallenge: unknown, Ownership: unknown, Target: w.obs.Target}
		w.now = w.now.Add(100 * time.Hour)
	},
	"unhealthy": func(w *world) { w.obs.Target = TargetObservation{Found: true} },
}

// transitions is read: a record in the state on the left, once the event above
// is seen, is in the phase of the cell; "+" says that it is verified then.
const transitions = `
state        delegation  main       challenge  issued     expired    gone       goneLong   silence    unhealthy
TLS
Pending      Issuing     Issuing    +Issuing   +Active    Pending    Pending    Pending    Pending    Pending
Delegated    Issuing     Issuing    +Issuing   +Active    Issuing    Pending    Pending    Issuing    Issuing
CutOver      Issuing     Issuing    +Issuing   +Active    Issuing    Pending    Pending    Issuing    Issuing
Challenged   +Issuing    +Issuing   +Issuing   +Active    +Issuing   +Issuing   Detached   +Issuing   +Issuing
Certified    +Active     +Active    +Active    +Active    +Issuing   +Active    Detached   +Active    +Active
Complete     +Active     +Active    +Active    +Active    +Issuing   +Active    Detached   +Active    +Active
Leaving      +Issuing    +Issuing   +Issuing   +Active    +Issuing   +Issuing   Detached   +Issuing   +Issuing
Detached     Issuing     Issuing    +Issuing   +Active    Detached   Detached   Detached   Detached   Detached
Returning    Issuing     Issuing    +Issuing   +Active    Issuing    Detached   Detached   Issuing    Issuing
HTTP
Pending      Pending     +Active    +Active    Pending    Pending    Pending    Pending    Pending    Pending
CutOver      +Active     +Active    +Active    +Active    +Active    +Active    Detached   +Active    +Active
Challenged   +Active     +Active    +Active    +Active    +Active    +Active    Detached   +Active    +Active
Leaving      +Active     +Active    +Active    +Active    +Active    +Active    Detached   +Active    +Active
Detached     Detached    +Active    +Active    Detached   Detached   Detached   Detached   Detached   Detached
`

// states are how a record gets where a row begins: events, each followed by a look.
var states = map[string][]string{
	"Pending":    {},
	"Delegated":  {"delegation"},
	"CutOver":    {"main"},
	"Challenged": {"challenge"},
	"Certified":  {"issued"},
	"Complete":   {"delegation", "main", "issued"},
	"Leaving":    {"challenge", "gone"},
	"Detached":   {"challenge", "goneLong"},
	"Returning":  {"challenge", "goneLong", "delegation"},
}

func TestEveryTransition(t *testing.T) {
	lines := strings.Split(strings.TrimSpace(transitions), "\n")
	header := strings.Fields(lines[0])[1:]
	tls := false
	for _, line := range lines[1:] {
		cells := strings.Fields(line)
		if len(cells) == 1 {
			tls = cells[0] == "TLS"
			continue
		}
		for i, cell := range cells[1:] {
			name := map[bool]string{true: "TLS", false: "HTTP"}[tls] + "/" + cells[0] + "/" + header[i]
			t.Run(name, func(t *testing.T) {
				w := newWorld(t, testHost, tls)
				w.look()
				for _, e := range append(append([]string{}, states[cells[0]]...), header[i]) {
					events[e](w)
					w.look()
				}
				phase, verified := strings.CutPrefix(cell, "+")
				w.phase(v1alpha3.Phase(phase))
				if isTrue(w.r, own) != verified {
					t.Errorf("OwnershipVerified: %+v", w.r.Status.Condition(own))
				}
			})
		}
	}
}
