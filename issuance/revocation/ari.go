package revocation

import (
	"time"

	"github.com/apoxy-dev/caddy-apoxy/internal/times"
)

// Window is a CA's renewal window (RFC 9773 section 4.2).
type Window struct {
	Start, End time.Time
}

func (w Window) Valid() bool { return !w.Start.IsZero() && w.End.After(w.Start) }

// PollARI is when the CA's window is asked for again: when it said, kept
// within a minute and a day; 6 hours if it said nothing.
func PollARI(now, asked time.Time) time.Time {
	if asked.IsZero() {
		return now.Add(6 * time.Hour)
	}
	return times.Clamp(asked, now.Add(time.Minute), now.Add(24*time.Hour))
}
