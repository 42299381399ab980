package issuance

import (
	"maps"
	"time"

	"github.com/apoxy-dev/caddy-apoxy/issuance/acme"

	"github.com/apoxy-dev/caddy-apoxy/internal/times"
	"github.com/apoxy-dev/caddy-apoxy/issuance/fairqueue"
)

// laneOCSP is the lane of questions to OCSP responders: apart from the rest,
// so that a slow one delays nothing else.
const laneOCSP = "ocsp"

// lane holds due work of one kind for one CA.
type lane struct {
	key    string
	ca     *ca // nil: work that asks no CA for an order
	exempt bool
	parked bool // no configured CA may be used for what is here
	stale  bool // what is here is being sorted anew
	plan   fairqueue.Queue[waiting]
}

// waiting is an entry in a lane.
type waiting struct {
	entry *entry
	lane  *lane
}

// place puts an entry where it belongs now. s.mu must be held.
func (s *Scheduler) place(e *entry, now time.Time) {
	if e.flight != nil {
		e.flight.changed = true
		return
	}
	s.unplace(e)
	st, at := e.next(now)
	switch {
	case st == stepNone:
		if !e.wanted && e.empty() && s.loaded {
			delete(s.entries, e.hostname)
			delete(s.doubts, e.hostname)
		}
	case at.After(now) || !s.loaded:
		s.due.at(e, at)
	default:
		s.route(e, st, now)
	}
}

func (s *Scheduler) unplace(e *entry) {
	s.due.at(e, time.Time{})
	delete(s.putOff, e)
	delete(s.freed, e)
	if e.ready != nil {
		e.ready.Value.lane.plan.Drop(e.ready)
		e.ready = nil
	}
}

// route puts a due entry into a lane, or back into the heap until a CA may be
// asked again. s.mu must be held.
func (s *Scheduler) route(e *entry, st step, now time.Time) {
	all := s.cas()
	if len(all) == 0 {
		s.enter(e, s.parked, now)
		return
	}
	if st == stepOCSP {
		s.queue(e, laneOCSP, nil, false, now)
		return
	}
	if st != stepOrder {
		s.queue(e, "", nil, false, now)
		return
	}
	cas := s.usable(e)
	if len(cas) == 0 {
		s.enter(e, s.parked, now)
		return
	}
	if o := e.working(); o != nil { // its CA goes first, and what it needs of the budget is spent
		for _, c := range cas {
			if _, held := s.ledger.held(c, e.hostname, now); o.AtWork(c.Key) && !held {
				s.queue(e, c.Key, c, true, now)
				return
			}
		}
	}
	var release time.Time
	for _, c := range cas {
		h, held := s.ledger.held(c, e.hostname, now)
		if !held {
			s.queue(e, c.Key, c, e.replaces(c), now)
			return
		}
		if release.IsZero() || h.Until.Before(release) {
			release = h.Until
		}
	}
	s.putOff[e] = true
	s.due.at(e, release.Add(resumeJitter(release.Sub(now), times.Fraction(e.hostname+release.String()))))
}

// sooner brings a pause after a failure forward to when a CA that asked to wait
// takes requests again, unless the failure would meet that one, too.
func (s *Scheduler) sooner(hostname string, w Want, f *acme.Failure, until, now time.Time) time.Time {
	if !f.Elsewhere() {
		return until
	}
	s.mu.Lock()
	cas := s.candidates(w.CertificateAuthority)
	s.mu.Unlock()
	for _, c := range cas {
		h, held := s.ledger.held(c, hostname, now)
		if !held || h.down {
			continue
		}
		// Not over and over at the CA that failed, should the other ask for seconds.
		again := times.Later(h.Until, now.Add(time.Minute))
		if again = again.Add(resumeJitter(again.Sub(now), times.Fraction(hostname))); again.Before(until) {
			until = again
		}
	}
	return until
}

// resumeJitter spreads what a hold kept waiting: over a tenth of the hold, at
// most two minutes.
func resumeJitter(held time.Duration, f float64) time.Duration {
	return time.Duration(f * float64(min(max(held/10, time.Second), 2*time.Minute)))
}

func (s *Scheduler) queue(e *entry, key string, c *ca, exempt bool, now time.Time) {
	if exempt {
		key += " renewals"
	}
	l := s.lanes[key]
	if l == nil {
		l = &lane{key: key, exempt: exempt}
		s.lanes[key] = l
	}
	l.ca = c
	s.enter(e, l, now)
}

func (s *Scheduler) enter(e *entry, l *lane, now time.Time) {
	u, rank := e.urgency(now)
	e.ready = l.plan.Push(waiting{e, l}, u, e.tenant(), acme.RegisteredDomain(e.hostname), rank)
}

// reroute has all due work sorted anew, by and by, after the issuers have
// changed. s.mu must be held.
func (s *Scheduler) reroute() {
	s.sorted = s.now()
	from := len(s.stale)
	for _, l := range s.lanes {
		s.stale = append(s.stale, l)
	}
	clear(s.lanes)
	s.stale = append(s.stale, s.parked)
	for _, l := range s.stale[from:] {
		l.stale = true
	}
	s.parked = &lane{parked: true}
	if len(s.freed) == 0 {
		s.freed, s.putOff = s.putOff, s.freed
	} else {
		maps.Copy(s.freed, s.putOff)
		clear(s.putOff)
	}
}
