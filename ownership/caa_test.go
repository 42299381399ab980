package ownership

import (
	"strings"
	"testing"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
)

// A customer who is told to change the operator's zone can only wonder.
func TestWhoeverRunsTheZoneIsToldOfItsCAARecords(t *testing.T) {
	for domain, operator := range map[string]bool{
		"example.com": false, testHost: false, "": false, "xcname.example.net": false, "example.net": false,
		"cname.example.net": true, testHost + ".CNAME.example.net.": true, "lb.provider.example": true,
	} {
		for _, record := range []CAARecord{{Tag: "issue", Value: "other.test"}, {Flag: 128, Tag: "future"}} {
			w := newWorld(t, testHost, true)
			w.settings.Zone.EdgeHost = "lb.provider.example"
			w.obs.Traffic = right(w.r, v1alpha3.PurposeTraffic, w.token)
			w.obs.CAA = CAAObservation{Outcome: Seen, Domain: domain, Records: []CAARecord{record}}
			w.look()
			w.is(tlsr, fls, v1alpha3.ReasonCAAForbidden)
			msg := w.r.Status.Condition(v1alpha3.ConditionTLSReady).Message
			if strings.Contains(msg, "customer") == operator || strings.Contains(msg, "operator") != operator {
				t.Errorf("CAA at %q: %s", domain, msg)
			}
		}
	}
}
