package issuance

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

// longestHold bounds what a CA can ask of us: beyond it a header is a mistake.
const longestHold = 14 * 24 * time.Hour

// longestAnswer bounds what is read of one answer of a CA, in octets.
const longestAnswer = 1 << 20

// retryAfterDetail finds the time in the wording of a CA that names it in the
// problem's text only.
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
	return times.Clamp(t, now, now.Add(longestHold))
}

// heldError is a CA's answer that asks to be left alone.
type heldError struct {
	// Status is 429, or 503 with a Retry-After.
	Status int
	// Until is when the CA takes requests again; zero if it did not say.
	Until time.Time
	// Problem is the CA's own explanation, as far as it gave one.
	Problem acmez.Problem
}

func (e *heldError) Error() string {
	s := fmt.Sprintf("the certificate authority answered %d", e.Status)
	if e.Problem.Detail != "" {
		s += ": " + words.Cut(e.Problem.Detail, 300)
	}
	return s
}

// trace follows the requests of one issuance. It reads Retry-After off each
// answer, which acmez drops, and once the CA asked to wait it lets not one
// further request out, whatever acmez would retry.
type trace struct {
	now    func() time.Time
	gate   func() error
	cancel context.CancelCauseFunc

	mu    sync.Mutex
	held  *heldError
	after time.Time
}

type traceKey struct{}

// withTrace returns a context that ends when the CA asks to wait. gate is
// asked before every request.
func withTrace(ctx context.Context, now func() time.Time, gate func() error) (context.Context, *trace, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	t := &trace{now: now, gate: gate, cancel: cancel}
	return context.WithValue(ctx, traceKey{}, t), t, func() { cancel(nil) }
}

// hold is the CA's request to wait, if it made one.
func (t *trace) hold() *heldError {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.held
}

// retryAfter is what the last answer's Retry-After said; zero if nothing.
func (t *trace) retryAfter() time.Time {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.after
}

func (t *trace) before() error {
	if h := t.hold(); h != nil {
		return h
	}
	if t.gate != nil {
		return t.gate()
	}
	return nil
}

// observed takes note of an answer and hands back the body it has read.
func (t *trace) observed(resp *http.Response) {
	now := t.now()
	until := times.RetryAfter(resp.Header.Get("Retry-After"), now, longestHold)
	t.mu.Lock()
	t.after = until
	t.mu.Unlock()
	limited := resp.StatusCode == http.StatusTooManyRequests
	if !limited && (resp.StatusCode != http.StatusServiceUnavailable || until.IsZero()) {
		return
	}
	held := &heldError{Status: resp.StatusCode, Until: until}
	body, _ := io.ReadAll(io.LimitReader(resp.Body, 64<<10)) // what cannot be read explains nothing
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

// transport is the RoundTripper of every request to a CA.
type transport struct{ next http.RoundTripper }

func (rt transport) RoundTrip(req *http.Request) (*http.Response, error) {
	t, _ := req.Context().Value(traceKey{}).(*trace)
	if t == nil {
		return rt.next.RoundTrip(req)
	}
	if err := t.before(); err != nil {
		if req.Body != nil {
			req.Body.Close()
		}
		return nil, err
	}
	resp, err := rt.next.RoundTrip(req)
	if err == nil {
		resp.Body = http.MaxBytesReader(nil, resp.Body, longestAnswer)
		t.observed(resp)
	}
	return resp, err
}
