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
