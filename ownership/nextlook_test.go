package ownership

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
)

// settledWorld is a record with everything in place since the epoch.
func settledWorld(t *testing.T, tls bool) *world {
	w := newWorld(t, testHost, tls)
	w.obs.Traffic = right(w.r, v1alpha3.PurposeTraffic, "")
	if tls {
		w.obs.Certificate = certificateUntil(testEpoch.Add(1000 * time.Hour))
	}
	w.look()
	return w
}

func TestNextLook(t *testing.T) {
	pending := func(t *testing.T) *world {
		w := newWorld(t, testHost, true)
		w.look()
		return w
	}
	plain := func(t *testing.T) *world { return settledWorld(t, false) }
	secured := func(t *testing.T) *world { return settledWorld(t, true) }
	withdrawing := func(t *testing.T) *world {
		w := settledWorld(t, false)
		w.obs.Traffic = absent
		w.look()
		return w
	}
	challenged := func(t *testing.T) *world {
		w := newWorld(t, testHost, false)
		w.obs.Ownership = right(w.r, v1alpha3.PurposeOwnership, "")
		w.look()
		return w
	}
	moved := func(t *testing.T) *world {
		w := settledWorld(t, true)
		w.settings.Zone.Name = "other.example.net"
		return w
	}
	lookUpFails := func(t *testing.T) *world {
		w := newWorld(t, testHost, true)
		w.obs.ACMEChallenge = right(w.r, v1alpha3.PurposeACMEChallenge, "")
		w.obs.Certificate.Message = "CAA records cannot be looked up"
		w.look()
		w.is(tlsr, fls, v1alpha3.ReasonWaitingForDNS)
		return w
	}
	for _, c := range []struct {
		name        string
		world       func(*testing.T) *world
		after       time.Duration // since the last change
		hint        time.Duration // before now; 0: none
		least, most time.Duration
	}{
		{"fresh and unsettled: every check_interval", pending, time.Minute, 0, 24 * time.Second, 30 * time.Second},
		{"still fresh after 59 minutes", pending, 59 * time.Minute, 0, 24 * time.Second, 30 * time.Second},
		{"slower after two hours", pending, 2 * time.Hour, 0, 4 * time.Minute, 5 * time.Minute},
		{"an hour after a day", pending, 24 * time.Hour, 0, 48 * time.Minute, time.Hour},
		{"hours for what nobody touches", pending, 30 * 24 * time.Hour, 0, 288 * time.Minute, 6 * time.Hour},
		{"fast again on a hint", pending, 30 * 24 * time.Hour, time.Second, 24 * time.Second, 30 * time.Second},
		{"settled with TLS: hourly", secured, time.Minute, 0, 57 * time.Minute, 75 * time.Minute},
		{"settled with TLS: no faster on a hint", secured, time.Minute, time.Second, 57 * time.Minute, 75 * time.Minute},
		{"settled with TLS for a week: every three hours", secured, 7 * 24 * time.Hour, 0, 171 * time.Minute, 225 * time.Minute},
		{"settled without TLS: detach must work", plain, time.Minute, 0, 9*time.Minute + 30*time.Second, 12*time.Minute + 30*time.Second},
		{"settled without TLS for a week: every three hours", plain, 7 * 24 * time.Hour, 0, 171 * time.Minute, 225 * time.Minute},
		{"verified but not all in place: at most hourly", challenged, 30 * 24 * time.Hour, 0, 48 * time.Minute, time.Hour},
		{"a look-up keeps its certificate from being ordered: every minute", lookUpFails, 20 * time.Hour, 0, 48 * time.Second, time.Minute},
		{"and as others after a day", lookUpFails, 48 * time.Hour, 0, 96 * time.Minute, 2 * time.Hour},
		{"withdrawing: fast", withdrawing, time.Minute, 0, 24 * time.Second, 30 * time.Second},
		{"withdrawing: exactly when it is decided", withdrawing, 10*time.Minute - 5*time.Second, 0, 5 * time.Second, 5 * time.Second},
		{"settled in another zone than the configured one: soon", moved, 7 * 24 * time.Hour, 0, 24 * time.Second, 30 * time.Second},
		{"at the expiry of the certificate", secured, 1000*time.Hour - time.Minute, 0, time.Minute, time.Minute},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := c.world(t)
			now := testEpoch.Add(c.after)
			var a Activity
			if c.hint > 0 {
				a.LastHint = now.Add(-c.hint)
			}
			for _, jitter := range []float64{-1, 0, 0.5, 1, 2} {
				got := NextLook(w.r, a, w.settings, now, jitter).Sub(now)
				if got < c.least || got > c.most {
					t.Errorf("with jitter %v after %v, want %v to %v", jitter, got, c.least, c.most)
				}
			}
		})
	}
}

func TestAWriteMakesARecordFresh(t *testing.T) {
	w := newWorld(t, testHost, true)
	w.look()
	now := testEpoch.Add(1000 * time.Hour)
	if got := NextLook(w.r, Activity{LastWrite: now}, w.settings, now, 0).Sub(now); got != 30*time.Second {
		t.Errorf("next look after %v", got)
	}
	s := settledWorld(t, true)
	s.r.Generation = 2
	if got := NextLook(s.r, Activity{LastWrite: testEpoch}, s.settings, testEpoch, 0).Sub(testEpoch); got != 30*time.Second {
		t.Errorf("next look of a changed record after %v", got)
	}
}

func TestSettledRecordsShareTheirLooks(t *testing.T) {
	for _, c := range []struct {
		name    string
		tls     bool
		quiet   time.Duration
		records int
		least   float64 // looks a second
		most    float64
	}{
		{"a thousand young ones: hourly", true, time.Hour, 1000, 0.2, 0.3},
		{"a thousand quiet ones: every three hours", true, 96 * time.Hour, 1000, 0.08, 0.1},
		{"a thousand HTTP-only: every ten minutes", false, time.Hour, 1000, 1.4, 1.7},
		{"43,200 young ones are what the rate is for", true, time.Hour, 43_200, 10.5, SettledRate},
		{"a million young ones", true, time.Hour, 1e6, 10.5, SettledRate},
		{"a million quiet for days", true, 96 * time.Hour, 1e6, 10.5, SettledRate},
		{"a million HTTP-only, quiet for days", false, 96 * time.Hour, 1e6, 80, 100},
		{"ten million", true, 96 * time.Hour, 1e7, 10.5, SettledRate},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := settledWorld(t, c.tls)
			w.r.Status.Certificate = nil // its expiry is looked at in any case
			now := testEpoch.Add(c.quiet)
			var sum time.Duration
			const samples = 1000
			for i := range samples {
				sum += NextLook(w.r, Activity{Verified: c.records}, w.settings, now, float64(i)/samples).Sub(now)
			}
			if rate := float64(c.records) / (sum.Seconds() / samples); rate < c.least || rate > c.most {
				t.Errorf("%.2f looks a second, want %.2f to %.2f", rate, c.least, c.most)
			}
		})
	}
}

func TestALargeFleetDelaysNothingButSettledLooks(t *testing.T) {
	million := Activity{Verified: 1e6}
	now := testEpoch.Add(time.Minute)
	pending := newWorld(t, testHost, true)
	pending.look()
	withdrawing := settledWorld(t, false)
	withdrawing.obs.Traffic = absent
	withdrawing.look()
	moved := settledWorld(t, true)
	moved.settings.Zone.Name = "other.example.net"
	for name, w := range map[string]*world{"pending": pending, "withdrawing": withdrawing, "of another zone": moved} {
		if got := NextLook(w.r, million, w.settings, now, 0).Sub(now); got != w.settings.CheckInterval {
			t.Errorf("%s: the next look is after %v", name, got)
		}
	}
	expiring := settledWorld(t, true) // for 1000 hours
	at := testEpoch.Add(999 * time.Hour)
	if got := NextLook(expiring.r, million, expiring.settings, at, 0).Sub(at); got != time.Hour {
		t.Errorf("a certificate that expires in an hour is looked at after %v", got)
	}
}

func TestShortSettingsScaleDown(t *testing.T) {
	w := settledWorld(t, false)
	w.settings.CheckInterval, w.settings.DetachAfter = time.Second, 5*time.Second
	if got := NextLook(w.r, Activity{}, w.settings, testEpoch, 0).Sub(testEpoch); got > 5*time.Second {
		t.Errorf("settled HTTP-only record is looked at after %v", got)
	}
	w.settings.CheckInterval = 0
	if got := NextLook(w.r, Activity{}, w.settings, testEpoch, 0); !got.After(testEpoch) {
		t.Errorf("no interval leads to %v", got)
	}
	w.r.Status.Conditions = nil
	w.r.CreationTimestamp = metav1.Time{}
	if got := NextLook(w.r, Activity{}, Settings{}, testEpoch, 0); !got.After(testEpoch) {
		t.Errorf("a bare record leads to %v", got)
	}
}
