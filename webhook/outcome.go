package webhook

import (
	"fmt"
	"net/http"
	"time"

	"github.com/apoxy-dev/caddy-apoxy/internal/times"
)

// outcome is what became of one try.
type outcome struct {
	verdict verdict
	// reason says what was seen, in words; empty: delivered.
	reason string
	// notBefore is what Retry-After asks for, bounded; zero: nothing.
	notBefore time.Time
	status    int
	took      time.Duration
}

type verdict int

const (
	// delivered: 2xx.
	delivered verdict = iota
	// refused: the endpoint answered, and not this entry; others may be taken.
	refused
	// unwell: the endpoint cannot take anything at present.
	unwell
	// gone: 410, nothing is to be sent to it any more.
	gone
	// aborted: we gave up ourselves, because we stop.
	aborted
)

// judge says what an answer means (Standard Webhooks, "Operational considerations").
// Redirects are not followed: where a delivery goes is the configuration's to say.
func judge(status int, retryAfter string, now time.Time) outcome {
	o := outcome{status: status, reason: fmt.Sprintf("it answered %d %s", status, http.StatusText(status))}
	switch {
	case status >= 200 && status <= 299:
		return outcome{status: status}
	case status == http.StatusGone:
		o.verdict = gone
		return o
	case status >= 300 && status <= 399:
		o.verdict, o.reason = refused, o.reason+", a redirect, which is not followed: give the URL that it leads to"
		return o
	case status == http.StatusTooManyRequests || status >= 502 && status <= 504:
		o.verdict = unwell
	default:
		o.verdict = refused
	}
	o.notBefore = times.RetryAfter(retryAfter, now, longestRetryAfter)
	return o
}
