package ownership

import (
	"strings"
	"testing"
	"time"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
)

func TestHTTP01WaitsForOurOwnStaleResolver(t *testing.T) {
	held := func(until time.Duration) []StaleAnswer {
		return []StaleAnswer{{"192.0.2.1", "A 198.51.100.7", testEpoch.Add(until), nil}, {"192.0.2.2", "A 198.51.100.7", testEpoch.Add(time.Second), nil}}
	}
	for name, c := range map[string]struct {
		stale []StaleAnswer
		from  time.Duration // after testEpoch; 0: at once
		says  string
	}{
		"nothing held":               {nil, 0, ""},
		"held for some minutes":      {held(200 * time.Second), 202 * time.Second, "2026-03-01T12:04:00Z"},
		"held for a fraction":        {held(1500 * time.Millisecond), 3 * time.Second, "2026-03-01T12:01:00Z"},
		"held for a day: bounded":    {held(24 * time.Hour), 5 * time.Minute, "2026-03-01T12:05:00Z"},
		"held until before the look": {[]StaleAnswer{{"192.0.2.1", "A 198.51.100.7", testEpoch, nil}}, 0, ""},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, testHost, true)
			w.obs.Traffic = right(w.r, v1alpha3.PurposeTraffic, "")
			w.obs.Traffic.Stale = c.stale
			v := w.look()
			w.phase(v1alpha3.PhaseIssuing)
			if !v.HTTP01 || c.from == 0 && !v.HTTP01From.IsZero() || c.from > 0 && !v.HTTP01From.Equal(testEpoch.Add(c.from)) {
				t.Fatalf("HTTP01=%v from %v, want from %v on", v.HTTP01, v.HTTP01From, testEpoch.Add(c.from))
			}
			m := w.r.Status.Condition(tlsr).Message
			if c.from == 0 {
				w.is(tlsr, fls, v1alpha3.ReasonIssuing)
				return
			}
			w.is(tlsr, fls, v1alpha3.ReasonWaitingForDNS)
			for _, want := range []string{testMain, `"192.0.2.1"`, "198.51.100.7", c.says, "Nobody needs to do anything."} {
				if !strings.Contains(m, want) {
					t.Errorf("the message lacks %q: %s", want, m)
				}
			}
		})
	}
}

// The bound counts from the cutover, not from each look.
func TestAResolverThatNeverForgetsIsNotWaitedForAnew(t *testing.T) {
	w := newWorld(t, testHost, true)
	w.obs.Traffic = right(w.r, v1alpha3.PurposeTraffic, "")
	for since := time.Duration(0); since < 10*time.Minute; since += 30 * time.Second {
		w.now = testEpoch.Add(since)
		w.obs.Traffic.Stale = []StaleAnswer{{"192.0.2.1", "A 198.51.100.7", w.now.Add(time.Hour), nil}}
		v := w.look()
		if want := since < staleMost; want != v.HTTP01From.Equal(testEpoch.Add(staleMost)) || !want && !v.HTTP01From.IsZero() {
			t.Fatalf("after %v HTTP-01 waits until %v", since, v.HTTP01From)
		}
	}
}

// A start knows from the status that a resolver held an old answer.
func TestAStartWaitsAsBefore(t *testing.T) {
	w := newWorld(t, testHost, true)
	w.obs.Traffic = right(w.r, v1alpha3.PurposeTraffic, "")
	w.obs.Traffic.Stale = []StaleAnswer{{"192.0.2.1", "A 198.51.100.7", testEpoch.Add(time.Hour), nil}}
	w.look()
	if dns, http := Waits(w.r, w.settings, testEpoch.Add(time.Minute)); !dns.IsZero() || !http.Equal(testEpoch.Add(staleMost)) {
		t.Errorf("a start waits until %v and %v", dns, http)
	}
	w.obs.Traffic.Stale = nil
	w.now = testEpoch.Add(time.Minute)
	w.look()
	if _, http := Waits(w.r, w.settings, w.now); !http.IsZero() {
		t.Errorf("a start waits until %v for nothing", http)
	}
}

func TestTheFirstDNS01OrderWaitsForWhoRemembersThatTheNameWasAbsent(t *testing.T) {
	delegated := func(w *world) { w.obs.ACMEChallenge = right(w.r, v1alpha3.PurposeACMEChallenge, "") }
	t.Run("a delegation older than its record", func(t *testing.T) {
		w := newWorld(t, testHost, true)
		delegated(w)
		for _, at := range []time.Duration{0, time.Second, newNameFor - time.Second} {
			w.now = testEpoch.Add(at)
			if v := w.look(); !v.DNS01 || !v.DNS01From.Equal(testEpoch.Add(newNameFor)) {
				t.Fatalf("at %v: DNS-01 from %v on", at, v.DNS01From)
			}
			w.is(tlsr, fls, v1alpha3.ReasonWaitingForDNS)
		}
		w.now = testEpoch.Add(newNameFor)
		if v := w.look(); !v.DNS01 || !v.DNS01From.IsZero() {
			t.Fatalf("DNS-01 still waits, until %v", v.DNS01From)
		}
		w.is(tlsr, fls, v1alpha3.ReasonIssuing)
	})
	t.Run("TLS turned on later", func(t *testing.T) {
		w := newWorld(t, testHost, false)
		w.look()
		w.now = testEpoch.Add(time.Hour)
		w.r.Spec.TLS = &v1alpha3.DomainRecordTLS{}
		delegated(w)
		if v := w.look(); !v.DNS01From.Equal(w.now.Add(newNameFor)) {
			t.Fatalf("DNS-01 from %v on", v.DNS01From)
		}
	})
	t.Run("a delegation younger than its record waits for nothing", func(t *testing.T) {
		w := newWorld(t, testHost, true)
		w.look()
		delegated(w)
		w.now = testEpoch.Add(time.Second)
		for range 2 {
			if v := w.look(); !v.DNS01 || !v.DNS01From.IsZero() {
				t.Fatalf("DNS-01 from %v on", v.DNS01From)
			}
		}
		w.is(tlsr, fls, v1alpha3.ReasonIssuing)
	})
	t.Run("resolvers that hold that there is no delegation", func(t *testing.T) {
		w := newWorld(t, testHost, true)
		w.look()
		delegated(w)
		w.obs.ACMEChallenge.Stale = []StaleAnswer{{"192.0.2.1", "nothing", testEpoch.Add(time.Minute), nil}}
		if v := w.look(); !v.DNS01From.Equal(testEpoch.Add(62 * time.Second)) {
			t.Fatalf("DNS-01 from %v on", v.DNS01From)
		}
	})
	t.Run("what may be tried now is tried", func(t *testing.T) {
		w := newWorld(t, testHost, true)
		delegated(w)
		w.obs.Traffic = right(w.r, v1alpha3.PurposeTraffic, "")
		if v := w.look(); v.DNS01From.IsZero() || !v.HTTP01From.IsZero() {
			t.Fatalf("from %v and %v on", v.DNS01From, v.HTTP01From)
		}
		w.is(tlsr, fls, v1alpha3.ReasonIssuing)
	})
}
