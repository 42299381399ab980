package issuance

import (
	"fmt"
	"sync"
	"time"

	"github.com/apoxy-dev/caddy-apoxy/internal/times"
	"github.com/apoxy-dev/caddy-apoxy/internal/words"
)

// responders remembers which OCSP responders do not answer, so that a dead one
// is not waited for once per certificate. The zero value is ready for use.
type responders struct {
	mu   sync.Mutex
	down map[string]downResponder // by host
}

type downResponder struct {
	failures int
	until    time.Time
}

// responderHeld: the responder is left alone.
type responderHeld struct {
	host  string
	until time.Time
}

func (h *responderHeld) Error() string {
	return fmt.Sprintf("the OCSP responder %s is left alone until %s", words.Cut(h.host, 100), times.Stamp(h.until))
}

func (r *responders) held(host string, now time.Time) (time.Time, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	d := r.down[host]
	return d.until, now.Before(d.until)
}

// failed leaves a responder alone for a minute, doubled up to an hour, or for
// as long as it asked to, up to a day. What failed beside it counts once.
func (r *responders) failed(host string, after, now time.Time) time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.down == nil {
		r.down = map[string]downResponder{}
	}
	d := r.down[host]
	if now.Before(d.until) {
		return d.until
	}
	d.until = now.Add(min(time.Minute<<min(d.failures, 10), time.Hour))
	if after.After(d.until) {
		d.until = times.Clamp(after, now, now.Add(24*time.Hour))
	}
	d.failures++
	r.down[host] = d
	return d.until
}

func (r *responders) answered(host string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.down, host)
}
