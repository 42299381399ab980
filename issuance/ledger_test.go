package issuance

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/apoxy-dev/caddy-apoxy/issuance/acme"
	"github.com/apoxy-dev/caddy-apoxy/issuance/edge"
	"github.com/apoxy-dev/caddy-apoxy/store/boltstore"
)

// Obeying such a CA to the letter would be asking it without a pause.
func TestACAThatSaysNotNowAndNamesNoLaterTimeIsStillLeftAlone(t *testing.T) {
	st, err := boltstore.Open(filepath.Join(t.TempDir(), "apoxy.db"), boltstore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	l, c, now := newLedger(st), &ca{CA: &acme.CA{Key: "ca", Auth: acme.Authority{Directory: "https://ca.test"}}}, epoch
	for _, pause := range []time.Duration{5 * time.Second, 15 * time.Second, time.Minute} {
		if _, err := l.put(t.Context(), c, acme.ScopeCA, "a.example.com", now, "too many", now); err != nil {
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
	l, c, now := newLedger(st), &ca{CA: &acme.CA{Key: "ca", Auth: acme.Authority{Directory: "https://ca.test"}}}, epoch
	for i, hold := range []struct{ good, pause time.Duration }{
		{0, 10 * time.Minute}, {time.Minute, 30 * time.Minute}, {2 * time.Hour, 10 * time.Minute}, {0, 30 * time.Minute},
	} {
		now = now.Add(hold.good)
		h, err := l.put(t.Context(), c, acme.ScopeCA, "", time.Time{}, "too many", now)
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
	l, c := newLedger(st), &ca{CA: &acme.CA{Key: "ca", Auth: acme.Authority{Directory: "https://ca.test"}}}
	for _, past := range []time.Duration{time.Hour, 48 * time.Hour} {
		now := epoch.Add(past)
		clear(l.holds)
		if _, err := l.put(t.Context(), c, acme.ScopeCA, "", epoch.Add(time.Minute), "too many", epoch); err != nil {
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

// A restart, and another node, know that a CA has reached the edge; of another edge
// that says nothing, and a clock that was wrong holds it no longer than it may.
func TestThatACAReachedTheEdgeIsKept(t *testing.T) {
	l := newLedger(openStore(t))
	if err := l.Meet(t.Context(), "203.0.113.10", epoch.Add(edge.Holds), epoch); err != nil {
		t.Fatal(err)
	}
	again := newLedger(l.store)
	if err := again.load(t.Context(), epoch); err != nil {
		t.Fatal(err)
	}
	for _, l := range []*ledger{l, again} {
		if !l.Met("203.0.113.10", epoch.Add(edge.Holds-time.Second)) || l.Met("203.0.113.11", epoch) || l.Met("203.0.113.10", epoch.Add(edge.Holds)) {
			t.Error("what a CA's success is believed of")
		}
		if l.Met("203.0.113.10", epoch.Add(-2*edge.Holds)) {
			t.Error("a clock that was set back prolongs it")
		}
	}
}
