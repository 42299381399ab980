package issuance

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/apoxy-dev/caddy-apoxy/internal/times"
	"github.com/apoxy-dev/caddy-apoxy/internal/words"
	"github.com/apoxy-dev/caddy-apoxy/issuance/acme"
	"github.com/apoxy-dev/caddy-apoxy/issuance/revocation"
	"github.com/apoxy-dev/caddy-apoxy/ownership"
)

// Observe implements Observer.
func (s *Scheduler) Observe(hostname string) ownership.CertificateObservation {
	o := s.entries.observe(hostname)
	if o.Outcome == ownership.Seen {
		o.Doubt = s.inventory.doubt(hostname)
	}
	return o
}

// observe is Observe, but for whether storage could tell.
func (es *entries) observe(hostname string) (o ownership.CertificateObservation) {
	es.mu.Lock()
	defer es.mu.Unlock()
	if !es.loaded {
		return o
	}
	e, now := es.of.get(hostname), es.now()
	switch {
	case e == nil:
		return ownership.CertificateObservation{Outcome: ownership.Absent}
	case e.has() && (!e.wanted || e.proven()): // if it is not wanted the caller judges by the uid
		r := e.dossier()
		o = ownership.CertificateObservation{
			Outcome: ownership.Seen, RecordUID: r.UID, RecordOwner: r.Owner,
			Issuer: r.Issuer, SerialNumber: r.Serial, Challenge: r.Challenge,
			NotBefore: times.Unix(r.NotBefore), NotAfter: times.Unix(r.NotAfter), RenewalTime: times.Unix(r.Renewal),
		}
		if r.OCSP.IsRevoked() {
			o.Revoked, o.RevocationReason = times.Unix(r.OCSP.Revoked), revocation.ReasonName(r.OCSP.Reason)
		}
		if r.gone() && now.Before(o.NotAfter) {
			o.Gone, o.GoneFrom = times.Unix(r.Loss.Since), goneFrom(es.issuers.cas(), hostname, &r)
		}
	case e.looked || !e.wanted:
		o.Outcome = ownership.Absent
	}
	o.Uploaded = e.uploaded(now)
	if e.sparedByUpload(now).After(now) {
		return o // nothing is to be obtained
	}
	o.Work, o.Message, o.Mend, o.Until = es.work(e, now)
	o.FoundHere = o.Work == ownership.WorkCAAForbids && o.Mend != "" // the mend names the exact CAA record to add
	return o
}

// work says what is being done for an entry or, after a failure, who must act.
func (es *entries) work(e *entry, now time.Time) (w ownership.Work, message, mend string, until time.Time) {
	if o := e.working(); o != nil && e.wanted && troubleOf(e) == nil {
		if c := caOf(es.issuers.cas(), o.CA); c != nil {
			if _, held := es.ledger.held(c, e.hostname, now); !held {
				return ownership.WorkIssuing, o.Doing(c.Auth.Host()), workingMend, time.Time{}
			}
		}
	}
	f, kept := e.flight(), e.keptBack()
	if f != nil && e.wanted && kept != nil && !f.probed {
		return kept.describe() // DNS was not asked again yet, so the last failure still holds
	}
	if f != nil && f.order {
		// The challenge is left out, because each change of the status costs a write.
		return ownership.WorkIssuing, "a certificate is being obtained from " + f.ca, "", time.Time{}
	}
	if !e.wanted || f != nil {
		return ownership.WorkNone, "", "", time.Time{}
	}
	if it := e.ready(); it != nil && !it.Value.lane.stale {
		switch {
		case it.Value.lane.parked:
			return es.unusable(e)
		case it.Value.lane.ca != nil:
			w, message, until = es.queued(e, it.Value.lane, now)
			return w, message, "", until
		}
	}
	st, at := e.next(now)
	if st == stepOrder && !at.After(now) {
		// It is due, but neither in a lane nor in flight, so every CA is held.
		switch c, h := es.leastHeld(e, now); {
		case c == nil:
		case h.Account != "":
			return ownership.WorkFailed, h.Reason, h.Mend, h.Until
		case h.down:
			return ownership.WorkFailed, fmt.Sprintf("%s does not answer: %s", c.Auth.Host(), h.Reason), "", h.Until
		default:
			return ownership.WorkRateLimited, fmt.Sprintf("%s asked to wait until %s: %s", c.Auth.Host(), times.Stamp(h.Until), h.Reason), "", h.Until
		}
		return ownership.WorkQueued, "waiting for its turn", "", time.Time{}
	}
	t := troubleOf(e)
	if t == nil {
		return ownership.WorkNone, "", "", time.Time{}
	}
	return t.describe()
}

// caOf is the CA of a key, nil if there is none.
func caOf(cas []*ca, key string) *ca {
	if i := slices.IndexFunc(cas, func(c *ca) bool { return c.Key == key }); i >= 0 {
		return cas[i]
	}
	return nil
}

// troubleOf is the trouble of an entry that there is something to tell of, nil for none.
func troubleOf(e *entry) *trouble {
	if t := e.trouble(); t.visible() {
		return t
	}
	return nil
}

// keptBack is the trouble of an entry whose last order was not placed because of what DNS
// or CAA said, nil for none.
func (e *entry) keptBack() *trouble {
	if t := troubleOf(e); t != nil && (t.Class == acme.ClassDNS || t.Class == acme.ClassCAA) {
		return t
	}
	return nil
}

// unusable says why no configured CA can be asked.
func (es *entries) unusable(e *entry) (w ownership.Work, message, mend string, until time.Time) {
	cas := es.issuers.cas()
	if len(cas) == 0 {
		return ownership.WorkQueued, "no certificate authority is configured", "The operator adds `issuer apoxy` to the site's tls block", time.Time{}
	}
	var have []string
	for _, c := range cas {
		have = append(have, c.Auth.Host())
	}
	return ownership.WorkFailed, fmt.Sprintf("spec.tls.certificateAuthority %q is not configured; configured are %s",
		words.Cut(e.asks(), 100), strings.Join(have, ", ")), "The operator names one of them in the record, or adds an `issuer apoxy` line for it", time.Time{}
}

// queued tells the place in the queue and for how long. Both are rounded, because each
// change of the status costs a write.
func (es *entries) queued(e *entry, l *lane, now time.Time) (ownership.Work, string, time.Time) {
	ahead := twoDigits(l.queue.Ahead(e.ready()))
	wait := es.ledger.forecast(l.ca, now, ahead)
	if l.exempt {
		wait = 0
	}
	if wait < time.Second {
		return ownership.WorkQueued, fmt.Sprintf("waiting for its turn, %d before it", ahead), time.Time{}
	}
	return ownership.WorkQueued, fmt.Sprintf("about %s: %d before it at %s", roughDuration(wait), ahead, l.ca.Auth.OrderBudget()), now.Add(wait)
}

// twoDigits rounds up to two significant digits: 612 to 620.
func twoDigits(n int) int {
	unit := 1
	for n/unit >= 100 {
		unit *= 10
	}
	return (n + unit - 1) / unit * unit
}

// roughDuration writes d, rounded up to what a forecast can tell.
func roughDuration(d time.Duration) string {
	unit := 10 * time.Second
	switch {
	case d > 48*time.Hour:
		unit = 24 * time.Hour
	case d > 6*time.Hour:
		unit = time.Hour
	case d > time.Hour:
		unit = 15 * time.Minute
	case d > 10*time.Minute:
		unit = 5 * time.Minute
	case d > time.Minute:
		unit = time.Minute
	}
	return acme.ShortDuration((d + unit - 1).Truncate(unit))
}

// leastHeld is the CA whose hold on the hostname ends first, and that hold; nil: no CA
// that the hostname may use is held.
func (es *entries) leastHeld(e *entry, now time.Time) (*ca, hold) {
	var best *ca
	var until hold
	for _, c := range usable(es.issuers.cas(), e.asks(), e.trouble(), e.soon) {
		if h, held := es.ledger.held(c, e.hostname, now); held && (best == nil || h.Until.Before(until.Until)) {
			best, until = c, h
		}
	}
	return best, until
}
