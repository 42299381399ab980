package issuance

import (
	"fmt"
	"strings"
	"time"

	"github.com/apoxy-dev/caddy-apoxy/ownership"
)

// observe puts what memory holds of an entry into the core's words. s.mu must
// be held.
func (s *Scheduler) observe(e *entry, now time.Time) ownership.CertificateObservation {
	var o ownership.CertificateObservation
	switch {
	case e.has() && (!e.wanted || e.proven()): // without a Want the uid tells whose it is
		r := e.record()
		o = ownership.CertificateObservation{
			Outcome: ownership.Seen, RecordUID: r.UID, RecordOwner: r.Owner,
			Issuer: r.Issuer, SerialNumber: r.Serial, Challenge: r.Challenge,
			NotBefore: unix(r.NotBefore), NotAfter: unix(r.NotAfter), RenewalTime: unix(r.Renewal),
		}
		if r.OCSP.revoked() {
			o.Revoked, o.RevocationReason = unix(r.OCSP.Revoked), reasonName(r.OCSP.Reason)
		}
		if r.gone() && now.Before(o.NotAfter) {
			o.Gone, o.GoneFrom = unix(r.Loss.Since), s.goneFrom(e.hostname, &r)
		}
		o.Doubt = s.doubts[e.hostname]
	case e.looked || !e.wanted:
		o.Outcome = ownership.Absent
	}
	o.Work, o.Message, o.Mend, o.Until = s.work(e, now)
	if t := e.trouble(); o.Work == ownership.WorkCAAForbids && t != nil {
		o.FoundHere = !strings.HasPrefix(t.Message, caSays) // what was found here comes with the line to add
	}
	return o
}

// Foreign reports whether the certificate that there is for a hostname was issued
// for a record of another owner than the one with this uid. It is to be shown to
// nobody then, whether or not it is already removed. It does not allocate.
func (s *Scheduler) Foreign(hostname, uid, owner string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.entries[hostname]
	if e == nil || !e.has() {
		return false
	}
	if l := e.loose; l != nil {
		return !l.rec.proves(Want{UID: uid, Owner: owner})
	}
	var own [16]byte
	if unshared(e.packed.owner) == owner {
		return e.packed.bits&bitUID == 0
	}
	return !parseUID(&own, uid) || own != e.packed.uid || e.packed.bits&bitUID == 0
}

// work says what is being done about an entry, and after a failure who must act.
func (s *Scheduler) work(e *entry, now time.Time) (w ownership.Work, message, mend string, until time.Time) {
	if o := e.working(); o != nil && e.wanted && troubleOf(e) == nil {
		if c := s.authorityOf(o.CA); c != nil {
			if _, held := s.ledger.held(c, e.hostname, now); !held {
				return ownership.WorkIssuing, o.told(c.auth.host()), workingMend, time.Time{}
			}
		}
	}
	f, kept := e.flight, e.keptBack()
	if f != nil && e.wanted && kept != nil && !f.ready {
		return kept.told() // until DNS has been looked at once more, what was found last stands
	}
	if f != nil && f.order {
		// The challenge is left out: a status that changed with every step would
		// cost a write each.
		return ownership.WorkIssuing, "a certificate is being obtained from " + f.ca, "", time.Time{}
	}
	if !e.wanted || f != nil {
		return ownership.WorkNone, "", "", time.Time{}
	}
	if it := e.ready; it != nil && !it.lane.stale {
		switch {
		case it.lane.parked:
			return s.unusable(e)
		case it.lane.ca != nil:
			w, message, until = s.queued(e, it.lane, now)
			return w, message, "", until
		}
	}
	st, at := e.next(now)
	if st == stepOrder && !at.After(now) {
		// Due, and neither in a lane nor in flight: every CA is held.
		switch c, h := s.leastHeld(e, now); {
		case c == nil:
		case h.Account != "":
			return ownership.WorkFailed, h.Reason, h.Mend, h.Until
		case h.down:
			return ownership.WorkFailed, fmt.Sprintf("%s does not answer: %s", c.auth.host(), h.Reason), "", h.Until
		default:
			return ownership.WorkRateLimited, fmt.Sprintf("%s asked to wait until %s: %s", c.auth.host(), stamp(h.Until), h.Reason), "", h.Until
		}
		return ownership.WorkQueued, "waiting for its turn", "", time.Time{}
	}
	t := troubleOf(e)
	if t == nil {
		return ownership.WorkNone, "", "", time.Time{}
	}
	return t.told()
}

// told is what a failure keeps waiting for, in words.
func (t *trouble) told() (w ownership.Work, message, mend string, until time.Time) {
	msg, mend, until := t.Message, t.Mend, unix(t.Until)
	if mend == "" {
		mend = mends[t.Class]
	}
	if t.Until == 0 {
		msg += "; it is not tried again by itself"
	}
	switch t.Class {
	case ClassCAA:
		return ownership.WorkCAAForbids, msg, mend, until
	case ClassDNS:
		return ownership.WorkNone, msg, mend, until
	case ClassLimited:
		return ownership.WorkRateLimited, msg, mend, until
	}
	return ownership.WorkFailed, msg, mend, until
}

// mends say who must act after a failure of a class that does not say it itself;
// where there is none nobody needs to.
var mends = map[Class]string{
	ClassDNS:      "What DNS lacks the customer puts right, as the conditions of the DNS records say; a change that is seen starts the next try at once",
	ClassCustomer: "The customer has what the certificate authority met put right, as the conditions of the DNS records say; a change that is seen starts the next try at once",
	ClassEdge:     mendEdge,
	ClassOperator: "The operator puts right what it says, in the issuer block or the storage, and reloads",
	ClassRefused:  "The operator asks that certificate authority, or names another one in spec.tls.certificateAuthority",
}

// authorityOf is the configured CA of a key, nil if there is none. s.mu must be held.
func (s *Scheduler) authorityOf(key string) *ca {
	for _, c := range s.cas() {
		if c.key == key {
			return c
		}
	}
	return nil
}

// troubleOf is the trouble that an entry is in, nil if none.
func troubleOf(e *entry) *trouble {
	if t := e.trouble(); t != nil && t.Message != "" {
		return t
	}
	return nil
}

// keptBack is the trouble of an entry whose last order was not placed for what DNS
// said, nil if there is none.
func (e *entry) keptBack() *trouble {
	if t := troubleOf(e); t != nil && (t.Class == ClassDNS || t.Class == ClassCAA) {
		return t
	}
	return nil
}

// unusable says why no configured CA can be asked.
func (s *Scheduler) unusable(e *entry) (w ownership.Work, message, mend string, until time.Time) {
	cas := s.cas()
	if len(cas) == 0 {
		return ownership.WorkQueued, "no certificate authority is configured", "The operator adds `issuer apoxy` to the site's tls block", time.Time{}
	}
	var have []string
	for _, c := range cas {
		have = append(have, c.auth.host())
	}
	return ownership.WorkFailed, fmt.Sprintf("spec.tls.certificateAuthority %q is not configured; configured are %s",
		cut(e.asks(), 100), strings.Join(have, ", ")), "The operator names one of them in the record, or adds an `issuer apoxy` line for it", time.Time{}
}

// queued tells the place in the queue and how long that takes, both to two
// digits: a status that changed with every order would cost a write each.
func (s *Scheduler) queued(e *entry, l *lane, now time.Time) (ownership.Work, string, time.Time) {
	ahead := twoDigits(l.plan.ahead(e.ready))
	wait := s.ledger.forecast(l.ca, now, ahead)
	if l.exempt {
		wait = 0
	}
	if wait < time.Second {
		return ownership.WorkQueued, fmt.Sprintf("waiting for its turn, %d before it", ahead), time.Time{}
	}
	return ownership.WorkQueued, fmt.Sprintf("about %s: %d before it at %s", roughDuration(wait), ahead, l.ca.auth.budget()), now.Add(wait)
}

// twoDigits rounds up to two significant digits: 612 to 620.
func twoDigits(n int) int {
	unit := 1
	for n/unit >= 100 {
		unit *= 10
	}
	return (n + unit - 1) / unit * unit
}

// roughDuration is shortDuration of d rounded up to what a forecast can tell.
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
	return shortDuration((d + unit - 1).Truncate(unit))
}

// leastHeld is the CA that takes the hostname again first.
func (s *Scheduler) leastHeld(e *entry, now time.Time) (*ca, hold) {
	var best *ca
	var until hold
	for _, c := range s.usable(e) {
		if h, held := s.ledger.held(c, e.hostname, now); held && (best == nil || h.Until.Before(until.Until)) {
			best, until = c, h
		}
	}
	return best, until
}

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 MST") }
