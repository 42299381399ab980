package acme

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"time"

	acmez "github.com/mholt/acmez/v3/acme"

	"github.com/apoxy-dev/caddy-apoxy/internal/times"
	"github.com/apoxy-dev/caddy-apoxy/internal/words"
)

// LongestHold is how long a CA can make us wait. A header or text that asks for longer
// is taken for a mistake, and as long as this.
const LongestHold = 14 * 24 * time.Hour

// longestAnswer is how much of one answer of a CA is read, in octets.
const longestAnswer = 1 << 20

// retryAfterDetail finds the time in a problem's text: Let's Encrypt names it there.
var retryAfterDetail = regexp.MustCompile(`retry after (\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d) ?(?:UTC|Z)`)

func parseRetryDetail(detail string, now time.Time) time.Time {
	m := retryAfterDetail.FindStringSubmatch(detail)
	if m == nil {
		return time.Time{}
	}
	t, err := time.Parse("2006-01-02 15:04:05", strings.Replace(m[1], "T", " ", 1))
	if err != nil {
		return time.Time{}
	}
	return times.Clamp(t, now, now.Add(LongestHold))
}

// HeldError is an answer by which a CA asks to wait.
type HeldError struct {
	// Status is 429, or 503 with a Retry-After.
	Status int
	// Until is when the CA takes requests again; zero if it did not say.
	Until time.Time
	// Problem is the body of the answer; empty if that was no problem document.
	Problem acmez.Problem
}

func (e *HeldError) Error() string {
	s := fmt.Sprintf("the certificate authority answered %d", e.Status)
	if e.Problem.Detail != "" {
		s += ": " + words.Cut(e.Problem.Detail, 300)
	}
	return s
}

// Trace sees the requests of one flow and their answers. It reads Retry-After, which
// acmez drops. Once the CA has asked to wait it lets no further request out, whatever
// acmez would repeat.
type Trace struct {
	now    func() time.Time
	gate   func() error
	cancel context.CancelCauseFunc

	mu    sync.Mutex
	held  *HeldError // the answer that asked to wait, nil for none
	after time.Time  // Retry-After of the last answer, zero for none
}

type traceKey struct{}

// WithTrace returns a context whose requests to CAs the Trace sees. The context ends
// when the CA asks to wait, or with done. gate is asked before every request, and its
// error is that of the request; nil: no gate.
func WithTrace(ctx context.Context, now func() time.Time, gate func() error) (context.Context, *Trace, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	t := &Trace{now: now, gate: gate, cancel: cancel}
	return context.WithValue(ctx, traceKey{}, t), t, func() { cancel(nil) }
}

// traceOf is the Trace of a context, nil for none.
func traceOf(ctx context.Context) *Trace {
	t, _ := ctx.Value(traceKey{}).(*Trace)
	return t
}

// Hold returns the answer that asked to wait, nil if none did.
func (t *Trace) Hold() *HeldError {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.held
}

// retryAfter is the time in the last answer's Retry-After; zero if it had none or
// there is no Trace.
func (t *Trace) retryAfter() time.Time {
	if t == nil {
		return time.Time{}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.after
}

// before says why a request must not go out; nil: it may.
func (t *Trace) before() error {
	if h := t.Hold(); h != nil {
		return h
	}
	if t.gate != nil {
		return t.gate()
	}
	return nil
}

// observed notes what an answer says about waiting. If it reads the body for that, it
// puts another with the same content in its place.
func (t *Trace) observed(resp *http.Response) {
	now := t.now()
	until := times.RetryAfter(resp.Header.Get("Retry-After"), now, LongestHold)
	t.mu.Lock()
	t.after = until
	t.mu.Unlock()
	limited := resp.StatusCode == http.StatusTooManyRequests
	if !limited && (resp.StatusCode != http.StatusServiceUnavailable || until.IsZero()) {
		return
	}
	held := &HeldError{Status: resp.StatusCode, Until: until}
	body, _ := io.ReadAll(io.LimitReader(resp.Body, 64<<10)) // an error leaves the explanation short
	resp.Body.Close()
	resp.Body = io.NopCloser(bytes.NewReader(body))
	_ = json.Unmarshal(body, &held.Problem) // a body that is no problem document leaves it empty
	if held.Until.IsZero() {
		held.Until = parseRetryDetail(held.Problem.Detail, now)
	}
	t.mu.Lock()
	t.held = held
	t.mu.Unlock()
	t.cancel(held)
}

// Transport is the RoundTripper of every request to a CA; it tells the Trace of the
// request's context, if there is one.
type Transport struct{ Next http.RoundTripper }

func (rt Transport) RoundTrip(req *http.Request) (*http.Response, error) {
	t := traceOf(req.Context())
	if t == nil {
		return rt.Next.RoundTrip(req)
	}
	if err := t.before(); err != nil {
		if req.Body != nil {
			req.Body.Close()
		}
		return nil, err
	}
	resp, err := rt.Next.RoundTrip(req)
	if err == nil {
		resp.Body = http.MaxBytesReader(nil, resp.Body, longestAnswer)
		t.observed(resp)
	}
	return resp, err
}
