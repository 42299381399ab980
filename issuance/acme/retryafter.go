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

// LongestHold bounds what a CA can ask of us: beyond it a header is a mistake.
const LongestHold = 14 * 24 * time.Hour

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
	return times.Clamp(t, now, now.Add(LongestHold))
}

// HeldError is a CA's answer that asks to be left alone.
type HeldError struct {
	// Status is 429, or 503 with a Retry-After.
	Status int
	// Until is when the CA takes requests again; zero if it did not say.
	Until time.Time
	// Problem is the CA's own explanation, as far as it gave one.
	Problem acmez.Problem
}

func (e *HeldError) Error() string {
	s := fmt.Sprintf("the certificate authority answered %d", e.Status)
	if e.Problem.Detail != "" {
		s += ": " + words.Cut(e.Problem.Detail, 300)
	}
	return s
}

// Trace follows the requests of one issuance. It reads Retry-After off each
// answer, which acmez drops, and once the CA asked to wait it lets not one
// further request out, whatever acmez would retry.
type Trace struct {
	now    func() time.Time
	gate   func() error
	cancel context.CancelCauseFunc

	mu    sync.Mutex
	held  *HeldError
	after time.Time
}

type traceKey struct{}

// WithTrace returns a context that ends when the CA asks to wait. gate is
// asked before every request.
func WithTrace(ctx context.Context, now func() time.Time, gate func() error) (context.Context, *Trace, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	t := &Trace{now: now, gate: gate, cancel: cancel}
	return context.WithValue(ctx, traceKey{}, t), t, func() { cancel(nil) }
}

// Hold is the CA's request to wait, if it made one.
func (t *Trace) Hold() *HeldError {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.held
}

// retryAfter is what the last answer's Retry-After said; zero if nothing.
func (t *Trace) retryAfter() time.Time {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.after
}

func (t *Trace) before() error {
	if h := t.Hold(); h != nil {
		return h
	}
	if t.gate != nil {
		return t.gate()
	}
	return nil
}

// observed takes note of an answer and hands back the body it has read.
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

// Transport is the RoundTripper of every request to a CA.
type Transport struct{ Next http.RoundTripper }

func (rt Transport) RoundTrip(req *http.Request) (*http.Response, error) {
	t, _ := req.Context().Value(traceKey{}).(*Trace)
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
