package issuance

import (
	"time"
)

// laneOCSP is the lane of questions to OCSP responders: apart from the rest,
// so that a slow one delays nothing else.
const laneOCSP = "ocsp"

// lane holds due work of one kind for one CA.
type lane struct {
	key    string
	ca     *ca // nil: work that asks no CA for an order
	exempt bool
	plan   plan
}

// place puts an entry where it belongs now. s.mu must be held.
func (s *Scheduler) place(e *entry, now time.Time) {
	if e.flight != nil {
		e.changed = true
		return
	}
	s.unplace(e)
	st, at := e.next(now)
	switch {
	case st == stepNone:
		if !e.wanted && e.rec.empty() && s.loaded {
			delete(s.entries, e.hostname)
		}
	case at.After(now) || !s.loaded:
		s.due.at(e, at)
	default:
		s.route(e, st, now)
	}
}

func (s *Scheduler) unplace(e *entry) {
	s.due.at(e, time.Time{})
	delete(s.parked, e)
	if e.ready != nil {
		e.lane.plan.drop(e.ready)
		e.ready, e.lane = nil, nil
	}
}

// route puts a due entry into a lane, or back into the heap until a CA may be
// asked again. s.mu must be held.
func (s *Scheduler) route(e *entry, st step, now time.Time) {
	all := s.cas()
	if len(all) == 0 {
		s.parked[e] = struct{}{}
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
	cas := s.candidates(e.want)
	if len(cas) == 0 {
		s.parked[e] = struct{}{}
		return
	}
	var release time.Time
	for _, c := range cas {
		h, held := s.ledger.held(c, e.hostname, now)
		if !held {
			s.queue(e, c.key, c, e.replaces(c) != "", now)
			return
		}
		if release.IsZero() || h.Until.Before(release) {
			release = h.Until
		}
	}
	s.due.at(e, release.Add(resumeJitter(release.Sub(now), fraction(e.hostname+release.String()))))
}

// resumeJitter spreads what a hold kept waiting: over a tenth of the hold, at
// most two minutes.
func resumeJitter(held time.Duration, f float64) time.Duration {
	return time.Duration(f * float64(min(max(held/10, time.Second), 2*time.Minute)))
}

// replaces is the ARI identifier to name in an order; empty for none. Such an
// order is exempt from CAs' limits, and from our budget.
func (e *entry) replaces(c *ca) string {
	if e.rec.ARI != nil && e.rec.CA == c.key && e.rec.proves(e.want) {
		return e.rec.ARI.ID
	}
	return ""
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
	u, rank := e.urgency(now)
	e.ready, e.lane = &item{entry: e, rank: rank}, l
	l.plan.push(e.ready, u, e.want.Owner, registeredDomain(e.hostname))
}

// reroute sorts all due work anew after the issuers have changed. s.mu must be held.
func (s *Scheduler) reroute() {
	now := s.now()
	s.sorted = now
	var all []*entry
	for _, l := range s.lanes {
		for it := l.plan.pop(); it != nil; it = l.plan.pop() {
			it.entry.ready, it.entry.lane = nil, nil
			all = append(all, it.entry)
		}
	}
	clear(s.lanes)
	for e := range s.parked {
		all = append(all, e)
	}
	clear(s.parked)
	for _, e := range all {
		s.place(e, now)
	}
}
