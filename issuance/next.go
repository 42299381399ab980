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
	stepUpload      // something that the customer's own certificate has come to, see upload.due
)

// keepExpired is how long the certificate of a hostname without a record is kept after
// it has expired.
const keepExpired = 7 * 24 * time.Hour

// keepUnwanted is how long after a start the dossier of a hostname without a certificate
// is kept although no record wants it.
const keepUnwanted = time.Hour

// next decides what an entry needs and when; stepNone: nothing before its Want changes.
func (e *entry) next(now time.Time) (step, time.Time) {
	st, at := e.nextObtained(now)
	if due := e.uploadDue(now); !due.IsZero() && (st == stepNone || due.Before(at)) {
		return stepUpload, due
	}
	return st, at
}

// nextObtained is next for the certificate that is obtained.
func (e *entry) nextObtained(now time.Time) (step, time.Time) {
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
		at = times.Unix(order.Next) // neither DNS nor a retry changes when the CA is asked again
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
			at = time.Time{} // it is not tried again by itself
		case until.After(at):
			at = until
		}
		if spared := e.spared(now); order == nil && !at.IsZero() && spared.After(at) {
			at = spared
		}
	}
	if spared := e.sparedByUpload(now); order == nil && !at.IsZero() && spared.After(at) {
		at = spared
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

// spared is the earliest time at which one more failed validation would not reach the
// CA's limit for a hostname, five an hour.
func (e *entry) spared(now time.Time) time.Time {
	t := e.trouble()
	if t == nil || len(t.Failed) < maxFailed {
		return now
	}
	return times.Unix(t.Failed[len(t.Failed)-maxFailed]).Add(time.Hour)
}

// remembered is until when the failures of a hostname that is wanted no more are kept: a
// CA counts them for an hour, and the hostname may be wanted again before.
func (e *entry) remembered(now time.Time) time.Time {
	t := e.trouble()
	if t == nil || len(t.Failed) == 0 {
		return now
	}
	return times.Unix(t.Failed[len(t.Failed)-1]).Add(time.Hour)
}

// maxFailed is one below Let's Encrypt's limit of failed validations an hour.
const maxFailed = 4

// urgency is the class of an entry's work and its rank within the class: what expires,
// was revoked or went missing earlier is first, else what waits longer.
func (e *entry) urgency(now time.Time) (fairqueue.Class, int64) {
	if e.proven() {
		if revoked := e.revoked(); revoked != 0 {
			return fairqueue.Urgent, revoked
		}
		if e.gone() {
			return fairqueue.Urgent, e.goneSince() // handshakes have failed since then, as after an expiry
		}
		renewal, notAfter := e.times()
		return urgencyOf(times.Unix(renewal), times.Unix(notAfter), now), notAfter
	}
	return fairqueue.First, e.since
}
