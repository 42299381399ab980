package ownership

import (
	"testing"
	"time"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
)

// BenchmarkEvaluate is what one decision costs beside the look-ups it follows.
func BenchmarkEvaluate(b *testing.B) {
	r := newRecord(testHost, true)
	obs := Observations{
		Traffic: cname("old.example.org."), ACMEChallenge: right(r, v1alpha3.PurposeACMEChallenge, ""), Ownership: absent,
		Certificate: certificateUntil(testEpoch.Add(time.Hour)), Target: TargetObservation{Found: true, Healthy: true},
	}
	in := Input{Record: r, Observations: obs, Settings: testSettings, Now: testEpoch}
	b.ReportAllocs()
	for b.Loop() {
		r.Status = Evaluate(in).Status
	}
}
