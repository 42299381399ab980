package acme

import (
	"bytes"
	"io"
	"net/http"
	"testing"
	"time"
)

var epoch = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// FuzzRetryDetail reads the time in a CA's words within bounds.
func FuzzRetryDetail(f *testing.F) {
	for _, s := range []string{"retry after 2026-01-02 04:00:00 UTC", "retry after 9999-01-02T04:00:00Z"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if at := parseRetryDetail(s, epoch); !at.IsZero() && (at.Before(epoch) || at.After(epoch.Add(LongestHold))) {
			t.Errorf("%q: %v", s, at)
		}
	})
}

// FuzzAnswerThatHolds reads any answer of a CA for its wish to be left alone.
// The wait is bounded, and acmez gets the body as it came.
func FuzzAnswerThatHolds(f *testing.F) {
	f.Add(429, "120", []byte(`{"type":"urn:ietf:params:acme:error:rateLimited","detail":"retry after 2026-01-02 04:00:00 UTC"}`))
	f.Add(503, "Thu, 01 Jan 2026 00:10:00 GMT", []byte(`<html>`))
	f.Add(503, "", []byte(nil))
	f.Add(200, "9999999999999", []byte(`{"detail":7}`))
	f.Add(429, "-1", bytes.Repeat([]byte("x"), 65<<10))
	f.Fuzz(func(t *testing.T, status int, header string, body []byte) {
		_, tr, done := WithTrace(t.Context(), func() time.Time { return epoch }, nil)
		defer done()
		resp := &http.Response{StatusCode: status, Header: http.Header{"Retry-After": {header}}, Body: io.NopCloser(bytes.NewReader(body))}
		tr.observed(resp)
		got, err := io.ReadAll(resp.Body)
		if want := body[:min(len(body), 64<<10)]; err != nil || !bytes.Equal(got, body) && !bytes.Equal(got, want) {
			t.Fatalf("a body of %d bytes became one of %d (%v)", len(body), len(got), err)
		}
		h := tr.Hold()
		if (h != nil) != (status == 429 || status == 503 && !tr.retryAfter().IsZero()) {
			t.Fatalf("status %d, Retry-After %q: held %+v", status, header, h)
		}
		if h == nil {
			return
		}
		if !h.Until.IsZero() && (h.Until.Before(epoch) || h.Until.After(epoch.Add(LongestHold))) || len(h.Error()) > 400 {
			t.Fatalf("held until %v: %v", h.Until, h)
		}
		if before := tr.before(); before != h {
			t.Fatalf("the next request is let out: %v", before)
		}
	})
}
