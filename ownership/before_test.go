package ownership

import (
	"testing"
	"time"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
)

func TestOnlyWhatIsHeldAlreadyIsAskedOfOneServer(t *testing.T) {
	for _, c := range []struct {
		what string
		set  func(w *world)
		want Before
	}{
		{"nothing was there", func(*world) {}, BeforeNothing},
		{"something else was there", func(w *world) { w.obs.Traffic = cname("other.example.org.") }, BeforeUnknown},
		{"nothing, and the servers disagree", func(w *world) {
			w.obs.Traffic = DNSObservation{Problem: ZoneDisagrees, Err: "one has it"}
		}, BeforeUnknown},
		{"nothing, and a registrar's mistake beside it", func(w *world) {
			w.obs.Traffic.Elsewhere = []string{testHost + ".example.com."}
		}, BeforeUnknown},
		{"in place, without its certificate", func(w *world) { w.obs.Traffic = right(w.r, v1alpha3.PurposeTraffic, "") }, BeforeUnknown},
		{"settled", func(w *world) {
			w.obs.Traffic = right(w.r, v1alpha3.PurposeTraffic, "")
			w.obs.Certificate = certificateUntil(testEpoch.Add(1000 * time.Hour))
		}, BeforeRight},
		{"settled, but a resolver holds an old answer", func(w *world) {
			w.obs.Traffic = right(w.r, v1alpha3.PurposeTraffic, "")
			w.obs.Traffic.Stale = []StaleAnswer{{Resolver: "192.0.2.53", Value: "A 192.0.2.1", Until: testEpoch.Add(time.Hour)}}
			w.obs.Certificate = certificateUntil(testEpoch.Add(1000 * time.Hour))
		}, BeforeUnknown},
		{"verified, and gone: it may be detached", func(w *world) {
			w.obs.Traffic = right(w.r, v1alpha3.PurposeTraffic, "")
			w.obs.Certificate = certificateUntil(testEpoch.Add(1000 * time.Hour))
			w.look()
			w.obs.Traffic = absent
		}, BeforeUnknown},
	} {
		t.Run(c.what, func(t *testing.T) {
			w := newWorld(t, testHost, true)
			if got := BeforeAt(w.r, v1alpha3.PurposeTraffic); got != BeforeNothing {
				t.Errorf("of a new record: %d, want %d", got, BeforeNothing)
			}
			c.set(w)
			w.look()
			if got := BeforeAt(w.r, v1alpha3.PurposeTraffic); got != c.want {
				t.Errorf("%d, want %d", got, c.want)
			}
		})
	}
}
