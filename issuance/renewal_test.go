package issuance

import (
	"testing"
	"time"

	"github.com/apoxy-dev/caddy-apoxy/issuance/revocation"
)

func TestRenewalKeepsWithinWideWindows(t *testing.T) {
	now := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	begin, end := now, now.Add(90*time.Second)
	for _, c := range []struct {
		name   string
		window revocation.Window
		lo, hi time.Duration // after begin
	}{
		{"a window around the whole lifetime is that lifetime", windowOf(begin.Add(-24*time.Hour), end.Add(24*time.Hour)), 0, 75 * time.Second},
		{"one that reaches past the end leaves time for a second try", windowOf(begin.Add(60*time.Second), end.Add(time.Hour)), 60 * time.Second, 75 * time.Second},
		{"one that lies behind the certificate renews at once", windowOf(begin.Add(-time.Hour), begin.Add(-time.Minute)), -time.Hour, -time.Minute},
		{"one that begins too late is cut to leave that time", windowOf(end.Add(time.Hour), end.Add(2*time.Hour)), 75 * time.Second, 75 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			distinct := map[time.Time]bool{}
			for i := range 50 {
				at := renewalTime(begin, end, 0, c.window, string(rune('a'+i)))
				distinct[at] = true
				if at.Before(begin.Add(c.lo)) || at.After(begin.Add(c.hi)) {
					t.Fatalf("renewed %v after the beginning, want %v to %v", at.Sub(begin), c.lo, c.hi)
				}
			}
			if len(distinct) < 40 && c.hi-c.lo > 2*time.Second {
				t.Errorf("50 certificates are renewed at %d times only", len(distinct))
			}
		})
	}
}
