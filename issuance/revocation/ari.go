package revocation

import (
	"time"

	"github.com/apoxy-dev/caddy-apoxy/internal/times"
)

// Window is a CA's renewal window (RFC 9773 section 4.2).
type Window struct {
	Start, End time.Time
}

// Valid reports whether the window has a beginning and ends after it.
func (w Window) Valid() bool { return !w.Start.IsZero() && w.End.After(w.Start) }

// PollARI is when to ask the CA for the window again: at the time of its Retry-After
// (RFC 9773 section 4.3), but not within a minute and not later than in a day; in six
// hours if it sent none, which is nil.
func PollARI(now time.Time, retryAfter *time.Time) time.Time {
	if retryAfter == nil || retryAfter.IsZero() {
		return now.Add(6 * time.Hour)
	}
	return times.Clamp(*retryAfter, now.Add(time.Minute), now.Add(24*time.Hour))
}
