package issuance

import (
	"time"

	"github.com/apoxy-dev/caddy-apoxy/internal/times"
	"github.com/apoxy-dev/caddy-apoxy/issuance/fairqueue"
)

// step is what an entry needs next.
type step uint8

const (
	stepNone   step = iota
	stepSearch      // search storage
	stepOrder       // obtain or renew
	stepARI         // ask the CA for its renewal window
	stepOCSP        // ask an OCSP responder whether the CA has revoked
	stepDrop        // forget an expired certificate of a hostname without a record
	stepDisown      // remove the certificate of another owner's record
)

// keepExpired is how long the certificate of a hostname without a record is
// remembered after it expired.
const keepExpired = 7 * 24 * time.Hour

// keepUnwanted is how long a start waits for a record to want what the index
// knows of a hostname without a certificate.
const keepUnwanted = time.Hour

// next decides what an entry needs and when; stepNone: nothing until a Want.
func (e *entry) next(now time.Time) (step, time.Time) {
	renewal, notAfter := e.times()
	if !e.wanted {
		switch {
		case e.has():
			return stepDrop, times.Unix(notAfter).Add(keepExpired)
		case e.empty():
			return stepNone, time.Time{}
		case e.dropped:
			return stepDrop, e.remembered(now)
		}
		return stepDrop, times.Later(e.remembered(now), time.Unix(0, e.since).Add(keepUnwanted))
	}
	if !e.looked && !e.has() {
		return stepSearch, now
	}
	have := e.proven()
	if e.has() && !have {
		return stepDisown, now
	}
	at, order := now, e.working()
	switch {
	case order != nil:
		at = times.Unix(order.Next) // whatever DNS says now, and however soon a try is asked for
	case have:
		at = times.Unix(renewal)
	case !e.possible():
		return stepNone, time.Time{} // no challenge can succeed yet
	}
	if order == nil {
		at = times.Later(at, e.startable())
	}
	if t := e.trouble(); t != nil {
		switch until := times.Unix(t.Until); {
		case e.soon:
		case until.IsZero():
			at = time.Time{} // not again by itself
		case until.After(at):
			at = until
		}
		if spared := e.spared(now); order == nil && !at.IsZero() && spared.After(at) {
			at = spared
		}
	}
	if have && !e.gone() {
		if st, poll := e.poll(); st != stepNone && (at.IsZero() || poll.Before(at)) {
			return st, poll
		}
	}
	if at.IsZero() {
		return stepNone, at
	}
	return stepOrder, at
}

// spared is the earliest time that leaves the CA's count of failed
// validations, five an hour for a hostname, below its limit.
func (e *entry) spared(now time.Time) time.Time {
	t := e.trouble()
	if t == nil || len(t.Failed) < maxFailed {
		return now
	}
	return times.Unix(t.Failed[len(t.Failed)-maxFailed]).Add(time.Hour)
}

// remembered is how long the failures of a hostname that is wanted no more are
// kept: a CA counts them for an hour, and DNS may come back before.
func (e *entry) remembered(now time.Time) time.Time {
	t := e.trouble()
	if t == nil || len(t.Failed) == 0 {
		return now
	}
	return times.Unix(t.Failed[len(t.Failed)-1]).Add(time.Hour)
}

// maxFailed is one below Let's Encrypt's limit of failed validations an hour.
const maxFailed = 4

// urgency of an entry's order and its rank among its like.
func (e *entry) urgency(now time.Time) (fairqueue.Class, int64) {
	if e.proven() {
		if revoked := e.revoked(); revoked != 0 {
			return fairqueue.Urgent, revoked
		}
		if e.gone() {
			return fairqueue.Urgent, e.goneSince() // as one that expired then
		}
		renewal, notAfter := e.times()
		return urgencyOf(times.Unix(renewal), times.Unix(notAfter), now), notAfter
	}
	return fairqueue.First, e.since
}
