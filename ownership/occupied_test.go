package ownership

import (
	"strings"
	"testing"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
)

// Where a CA would find somebody else's value no DNS-01 order goes out; HTTP-01 may.
func TestAnOccupiedChallengeNameOpensNoDNS01(t *testing.T) {
	w := newWorld(t, testHost, true)
	w.now = w.now.Add(newNameFor)
	w.obs.ACMEChallenge = right(w.r, v1alpha3.PurposeACMEChallenge, "")
	w.obs.ACMEChallenge.Other = []string{`TXT "` + strings.Repeat("A", 43) + `"`}
	if v := w.look(); v.DNS01 || v.HTTP01 {
		t.Errorf("DNS01=%v HTTP01=%v", v.DNS01, v.HTTP01)
	}
	w.is(tlsr, fls, v1alpha3.ReasonWaitingForDNS)
	if m := w.r.Status.Condition(tlsr).Message; !strings.Contains(m, "Universal SSL") || !strings.Contains(m, testDelegation) {
		t.Errorf("TLSReady says %q", m)
	}
	w.obs.Traffic = right(w.r, v1alpha3.PurposeTraffic, "")
	if v := w.look(); v.DNS01 || !v.HTTP01 {
		t.Errorf("DNS01=%v HTTP01=%v", v.DNS01, v.HTTP01)
	}
}
