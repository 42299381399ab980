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

// Responders asks OCSP responders and remembers which do not answer, so that a dead one
// is not waited for once for each certificate. The zero value is ready for use.
type Responders struct {
	mu   sync.Mutex
	down map[string]downResponder // by host
}

// downResponder is one that did not answer.
type downResponder struct {
	failures int       // in a row
	until    time.Time // it is not asked before
}

// ResponderHeld means that a responder was not asked, because it did not answer lately.
type ResponderHeld struct {
	host string
	// Until is when it is asked again.
	Until time.Time
}

func (h *ResponderHeld) Error() string {
	return fmt.Sprintf("the OCSP responder %s is left alone until %s", words.Cut(h.host, 100), times.Stamp(h.Until))
}

// held reports whether a responder is left alone, and until when.
func (r *Responders) held(host string, now time.Time) (time.Time, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	d := r.down[host]
	return d.until, now.Before(d.until)
}

// failed notes that a responder did not answer and returns until when it is left alone:
// for a minute, doubled with each failure up to an hour, or until after, which it asked
// for, up to a day. Failures of requests that were under way together count once.
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

// answered notes that a responder did.
func (r *Responders) answered(host string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.down, host)
}

// Ask asks the responder that leaf names for its status and returns the answer if that
// is acceptable (RFC 6960 section 3.2). overrides replaces the URL of a responder by
// another; one that it replaces by "" is not asked. Where leaf names no responder, or
// none is to be asked, or issuer is nil, the result is nil without an error. proxy may
// be nil for that of the environment. The error is a *ResponderHeld while the responder
// is left alone, and a *ResponderError if it did not answer.
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
	case ctx.Err() != nil: // we stopped: that says nothing about the responder
	case errors.As(err, &fault):
		fault.Host = to.Host
		fault.Until = r.failed(to.Host, fault.after, now.Add(time.Since(began)))
	default:
		r.answered(to.Host)
	}
	return answer, err
}

// maxPause is how long a responder can make us wait.
const maxPause = 24 * time.Hour
