package issuance

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/apoxy-dev/caddy-apoxy/store/boltstore"
)

// Obeying such a CA to the letter would be asking it without a pause.
func TestACAThatSaysNotNowAndNamesNoLaterTimeIsStillLeftAlone(t *testing.T) {
	st, err := boltstore.Open(filepath.Join(t.TempDir(), "apoxy.db"), boltstore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	l, c, now := newLedger(st), &ca{key: "ca", auth: Authority{Directory: "https://ca.test"}}, epoch
	for _, pause := range []time.Duration{5 * time.Second, 15 * time.Second, time.Minute} {
		if _, err := l.put(t.Context(), c, scopeCA, "a.example.com", now, "too many", now); err != nil {
			t.Fatal(err)
		}
		if h, held := l.held(c, "a.example.com", now); !held || !h.Until.Equal(now.Add(pause)) {
			t.Errorf("at %v held %v until %v, want %v", now, held, h.Until, pause)
		}
		now = now.Add(pause)
	}
}

// A hold long after another one is no reason to wait longer than for that.
func TestPausesBeginAnewAfterGoodTimes(t *testing.T) {
	st, err := boltstore.Open(filepath.Join(t.TempDir(), "apoxy.db"), boltstore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	l, c, now := newLedger(st), &ca{key: "ca", auth: Authority{Directory: "https://ca.test"}}, epoch
	for i, hold := range []struct{ good, pause time.Duration }{
		{0, 10 * time.Minute}, {time.Minute, 30 * time.Minute}, {2 * time.Hour, 10 * time.Minute}, {0, 30 * time.Minute},
	} {
		now = now.Add(hold.good)
		h, err := l.put(t.Context(), c, scopeCA, "", time.Time{}, "too many", now)
		if err != nil {
			t.Fatal(err)
		}
		if got := h.Until.Sub(now); got != hold.pause {
			t.Errorf("pause %d is %v, want %v", i, got, hold.pause)
		}
		now = h.Until
	}
}

// The hourly tidying reads the store while holds are put.
func TestAnOlderHoldInTheStoreDoesNotShortenOne(t *testing.T) {
	st, err := boltstore.Open(filepath.Join(t.TempDir(), "apoxy.db"), boltstore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	l, c := newLedger(st), &ca{key: "ca", auth: Authority{Directory: "https://ca.test"}}
	for _, past := range []time.Duration{time.Hour, 48 * time.Hour} {
		now := epoch.Add(past)
		clear(l.holds)
		if _, err := l.put(t.Context(), c, scopeCA, "", epoch.Add(time.Minute), "too many", epoch); err != nil {
			t.Fatal(err)
		}
		for range downAfter {
			l.answered(c, false, "no answer", now)
		}
		if err := l.load(t.Context(), now); err != nil {
			t.Fatal(err)
		}
		if h, held := l.heldCA(c, now); !held || !h.down {
			t.Errorf("%v later: held %v, %+v", past, held, h)
		}
	}
}
