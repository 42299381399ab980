package revocation

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"sync"
	"time"

	"golang.org/x/crypto/ocsp"

	"github.com/apoxy-dev/caddy-apoxy/internal/times"
	"github.com/apoxy-dev/caddy-apoxy/internal/words"
)

// Responders remembers which OCSP responders do not answer, so that a dead one
// is not waited for once per certificate. The zero value is ready for use.
type Responders struct {
	mu   sync.Mutex
	down map[string]downResponder // by host
}

type downResponder struct {
	failures int
	until    time.Time
}

// ResponderHeld: the responder is left alone.
type ResponderHeld struct {
	host  string
	Until time.Time
}

func (h *ResponderHeld) Error() string {
	return fmt.Sprintf("the OCSP responder %s is left alone until %s", words.Cut(h.host, 100), times.Stamp(h.Until))
}

func (r *Responders) held(host string, now time.Time) (time.Time, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	d := r.down[host]
	return d.until, now.Before(d.until)
}

// failed leaves a responder alone for a minute, doubled up to an hour, or for
// as long as it asked to, up to a day. What failed beside it counts once.
func (r *Responders) failed(host string, after, now time.Time) time.Time {
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
		d.until = times.Clamp(after, now, now.Add(maxPause))
	}
	d.failures++
	r.down[host] = d
	return d.until
}

func (r *Responders) answered(host string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.down, host)
}

// Ask asks the responder that leaf names for its status, or the one that takes its
// place in overrides ("": none is asked), and returns the answer if it is one that
// counts; nil without an error if nobody can be asked. proxy: nil for that of the
// environment. An error is a *responderHeld while the responder is left alone, and a
// *responderError if it did not answer properly.
func (r *Responders) Ask(ctx context.Context, leaf, issuer *x509.Certificate, overrides map[string]string,
	proxy func(*http.Request) (*url.URL, error), now time.Time) (*ocsp.Response, error) {
	if issuer == nil || len(leaf.OCSPServer) == 0 {
		return nil, nil
	}
	name := leaf.OCSPServer[0]
	if over, ok := overrides[name]; ok {
		if name = over; name == "" {
			return nil, nil
		}
	}
	to, err := checkResponder(name)
	if err != nil {
		return nil, err
	}
	if until, held := r.held(to.Host, now); held {
		return nil, &ResponderHeld{to.Host, until}
	}
	if proxy == nil {
		proxy = http.ProxyFromEnvironment
	}
	began := time.Now()
	answer, err := askResponder(ctx, to, proxy, leaf, issuer, now)
	var fault *ResponderError
	switch {
	case ctx.Err() != nil: // stopped: nothing was learnt
	case errors.As(err, &fault):
		fault.Host = to.Host
		fault.Until = r.failed(to.Host, fault.after, now.Add(time.Since(began)))
	default:
		r.answered(to.Host)
	}
	return answer, err
}

// maxPause bounds what a responder can ask of us.
const maxPause = 24 * time.Hour
