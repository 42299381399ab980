package issuance

import (
	"fmt"
	"testing"
	"time"

	"github.com/apoxy-dev/caddy-apoxy/issuance/acme"
	"github.com/apoxy-dev/caddy-apoxy/issuance/revocation"
)

func windowOf(start, end time.Time) revocation.Window {
	return revocation.Window{Start: start, End: end}
}

func TestRenewalTime(t *testing.T) {
	day := 24 * time.Hour
	for name, tt := range map[string]struct {
		life     time.Duration
		ratio    float64
		ari      revocation.Window
		from, to time.Duration // after notBefore
	}{
		"two thirds of 90 days":                     {90 * day, 0, revocation.Window{}, 60 * day, 63 * day},
		"half of six days":                          {6 * day, 0, revocation.Window{}, 3 * day, 3*day + 5*time.Hour},
		"the operator's ratio":                      {90 * day, 0.5, revocation.Window{}, 45 * day, 48 * day},
		"within the CA's window":                    {90 * day, 0, windowOf(epoch.Add(10*day), epoch.Add(12*day)), 10 * day, 12 * day},
		"a window in the past is due":               {90 * day, 0, windowOf(epoch.Add(-2*day), epoch.Add(-day)), -2 * day, -day},
		"a window past expiry is cut":               {90 * day, 0, windowOf(epoch.Add(200*day), epoch.Add(201*day)), 81 * day, 81 * day},
		"an upside-down window is ignored":          {90 * day, 0, windowOf(epoch.Add(12*day), epoch.Add(10*day)), 60 * day, 63 * day},
		"a certificate without a lifetime is due":   {0, 0, revocation.Window{}, 0, 1},
		"a ratio that makes no sense is not obeyed": {90 * day, 7, revocation.Window{}, 60 * day, 63 * day},
	} {
		t.Run(name, func(t *testing.T) {
			var sum time.Duration
			for i := range 100 {
				seed := fmt.Sprint("host", i)
				at := renewalTime(epoch, epoch.Add(tt.life), tt.ratio, tt.ari, seed)
				if got := at.Sub(epoch); got < tt.from || got > tt.to {
					t.Fatalf("%v after issuance", got)
				}
				if again := renewalTime(epoch, epoch.Add(tt.life), tt.ratio, tt.ari, seed); !again.Equal(at) {
					t.Fatal("the point moves")
				}
				sum += at.Sub(epoch) - tt.from
			}
			if width := tt.to - tt.from; width > 2*time.Hour && width <= 3*day && tt.ari.End.Before(epoch.Add(90*day)) {
				if mean := sum / 100; mean < width*35/100 || mean > width*65/100 {
					t.Errorf("bunched: mean %v of %v", mean, width)
				}
			}
		})
	}
}

func TestBackoffGrowsAndEnds(t *testing.T) {
	for _, c := range []acme.Class{acme.ClassPassing, acme.ClassCustomer, acme.ClassCAA, acme.ClassDNS, acme.ClassOperator} {
		var last time.Duration
		for n := 1; n < 20; n++ {
			d := backoff(c, n, 0)
			if d < last || d <= 0 || d > 24*time.Hour {
				t.Errorf("%s %d: %v after %v", c, n, d, last)
			}
			if spread := backoff(c, n, 0.999); spread > d*6/5 {
				t.Errorf("%s %d: %v spread from %v", c, n, spread, d)
			}
			last = d
		}
	}
	if backoff(acme.ClassRefused, 1, 0) != 0 {
		t.Error("a refused name is tried again")
	}
}

// A hostname whose facts flap is still never validated a fifth time in an hour.
func TestFailedValidationsAreSpared(t *testing.T) {
	e := &entry{hostname: "a.example.com", wanted: true, looked: true, soon: true}
	var failed []int64
	for i := range maxFailed {
		failed = append(failed, epoch.Add(time.Duration(i)*time.Minute).Unix())
		e.set(Want{DNS01: true}, dossier{Trouble: &trouble{Class: acme.ClassCustomer, Failed: failed}})
	}
	st, at := e.next(epoch.Add(10 * time.Minute))
	if st != stepOrder || !at.Equal(epoch.Add(time.Hour)) {
		t.Errorf("%v at %v", st, at)
	}
}
