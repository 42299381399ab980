package ownership

import (
	"math/rand/v2"
	"regexp"
	"strings"
	"testing"
	"time"
)

// actor is in every sentence that says who must act, or that nobody must.
var actor = regexp.MustCompile(`The customer|the customer|The operator|the operator|Whoever |whoever |[Nn]obody needs|by itself|See TLSReady|it is being replaced`)

// remark is what may stand before the advice only.
var remark = regexp.MustCompile(`The look-up said|and that holds|Nothing was seen|was told by|could not tell|last try|FOREIGN`)

// saysWhoActs complains of a message that does not end with who acts, or is cut there.
func saysWhoActs(t *testing.T, what, m string) {
	t.Helper()
	at := actor.FindAllStringIndex(m, -1)
	switch {
	case strings.HasSuffix(m, cutMark):
		t.Errorf("%s is cut where the mend is: %q", what, m)
	case at == nil:
		t.Errorf("%s does not say who acts: %q", what, m)
	case remark.MatchString(m[at[len(at)-1][0]:]):
		t.Errorf("%s goes on after the mend: %q", what, m)
	}
}

// Whatever is seen, and however long the foreign words, every condition that is not
// True ends with who must act, and so does every problem of a DNS record.
func TestEveryFailureEndsWithWhoActs(t *testing.T) {
	long := strings.Repeat("FOREIGN words. ", 200)
	walk(t, func(rng *rand.Rand, w *world) {
		if rng.IntN(4) > 0 { // a look takes its time
			return
		}
		w.randomize(rng)
		for _, o := range []*DNSObservation{&w.obs.Traffic, &w.obs.ACMEChallenge, &w.obs.Ownership} {
			o.At, o.TTL, o.Cached = w.now, time.Minute, rng.IntN(3) == 0
			if rng.IntN(2) == 0 {
				o.Err = long
			}
			if len(o.Other) > 0 && rng.IntN(2) == 0 {
				o.Other = []string{"TXT " + long, "TXT 2" + long, "TXT 3" + long, "TXT 4" + long, "TXT 5" + long}
			}
		}
		c := &w.obs.Certificate
		c.Message, c.Until = []string{"", "FOREIGN words", long}[rng.IntN(3)], []time.Time{{}, w.now.Add(time.Minute)}[rng.IntN(2)]
		c.Mend = []string{"", "The operator mends " + strings.Repeat("m", 600)}[rng.IntN(2)]
		if c.Work == WorkFailed && c.Until.IsZero() && c.Mend == "" {
			c.Mend = "The operator mends it" // what is not tried again by itself has a mend: see issuance
		}
		w.obs.Target.Message = []string{"", long}[rng.IntN(2)]
		w.look()
		for _, k := range w.r.Status.Conditions {
			if k.Status == fls || k.Status == unk && k.Type != targ {
				saysWhoActs(t, k.Type+" "+k.Reason, k.Message)
			}
		}
		for _, d := range w.r.Status.DNSRecords {
			if d.Problem != nil {
				saysWhoActs(t, d.Problem.Reason, d.Problem.Message)
			}
		}
	})
}
