package issuance

import (
	"context"
	"time"
)

// resortInterval is how often waiting work is sorted anew.
const resortInterval = time.Hour

// dispatch moves what has become due into the lanes and takes up as much as
// there is room for. It returns the work to be run.
func (s *Scheduler) dispatch(ctx context.Context) []func() {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	if now.Sub(s.sorted) > resortInterval {
		s.reroute() // what waited long may have become pressing
	}
	for len(s.due) > 0 && !s.due[0].due.After(now) {
		e := s.due[0]
		s.due.at(e, time.Time{})
		s.place(e, now)
		if e.index >= 0 && !e.due.After(now) {
			break // the clock stands still; the pause sees to it
		}
	}
	var jobs []func()
	for _, l := range s.lanes {
		for l.plan.size > 0 && s.open(l, now) {
			it := l.plan.pop()
			e := it.entry
			e.ready, e.lane = nil, nil
			st, at := e.next(now)
			if st == stepNone || at.After(now) || st == stepOrder && l.ca == nil {
				s.place(e, now)
				continue
			}
			if st == stepOrder {
				if _, held := s.ledger.held(l.ca, e.hostname, now); held {
					s.place(e, now)
					continue
				}
			}
			jobs = append(jobs, s.takeUp(ctx, e, st, l.ca, now))
		}
	}
	depth, forecast := 0, time.Duration(0)
	for key, l := range s.lanes {
		depth += l.plan.size
		if l.ca != nil && !l.exempt {
			forecast = max(forecast, s.ledger.forecast(l.ca, now, l.plan.size))
		}
		if l.plan.size == 0 {
			delete(s.lanes, key)
		}
	}
	queueDepth.Set(float64(depth))
	queueForecast.Set(forecast.Seconds())
	return jobs
}

// open reports whether work of a lane may be taken up.
func (s *Scheduler) open(l *lane, now time.Time) bool {
	if l.key == laneOCSP {
		return s.asking < ocspConcurrency
	}
	if l.ca == nil {
		return s.looking < lookConcurrency
	}
	if s.flying >= s.cfg.Concurrency {
		return false
	}
	if _, held := s.ledger.heldCA(l.ca, now); held {
		return true // so that its work is routed elsewhere or put off
	}
	return l.exempt || !s.ledger.free(l.ca, now).After(now)
}

// pause is how long nothing can become possible by itself.
func (s *Scheduler) pause() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	next := now.Add(time.Hour)
	if len(s.due) > 0 && s.due[0].due.Before(next) {
		next = s.due[0].due
	}
	for _, l := range s.lanes {
		if l.ca == nil || l.exempt || s.flying >= s.cfg.Concurrency {
			continue // the end of some work wakes
		}
		if free := s.ledger.free(l.ca, now); free.Before(next) {
			next = free
		}
	}
	return max(next.Sub(now), time.Millisecond)
}

// takeUp marks an entry as being worked on and returns the work. s.mu must be held.
func (s *Scheduler) takeUp(ctx context.Context, e *entry, st step, c *ca, now time.Time) func() {
	ctx, cancel := context.WithCancel(ctx)
	f := &flight{began: now, order: st == stepOrder, ocsp: st == stepOCSP, cancel: cancel, done: make(chan struct{})}
	e.flight, e.soon = f, false
	if f.order {
		s.flying++
		f.ca = c.auth.host()
		if at := unix(e.rec.Renewal); e.rec.has() && at.After(e.since) {
			e.since = at
		}
		queueAge.Set(max(now.Sub(e.since), 0).Seconds())
	} else {
		s.beside(f, 1)
	}
	job := job{s: s, hostname: e.hostname, want: e.want, rec: e.rec, flight: f, step: st}
	if c != nil {
		job.cas = append(job.cas, c)
		for _, other := range s.candidates(e.want) {
			if _, held := s.ledger.held(other, e.hostname, now); other != c && !held {
				job.cas = append(job.cas, other)
			}
		}
	} else {
		job.cas = s.cas()
	}
	return func() {
		defer cancel()
		if f.order {
			s.cfg.OnChange(job.hostname)
		}
		s.land(ctx, e, job.run(ctx))
	}
}

// beside counts work that is no order. s.mu must be held.
func (s *Scheduler) beside(f *flight, n int) {
	if f.ocsp {
		s.asking += n
	} else {
		s.looking += n
	}
}

// landing is what work on an entry came to.
type landing struct {
	rec    record
	save   bool          // rec is to be kept in the store
	looked bool          // storage has been searched
	again  time.Duration // not before; another node is at it
	quiet  bool          // nothing that Observe tells has changed
}

// land takes the outcome over.
func (s *Scheduler) land(ctx context.Context, e *entry, l landing) {
	var revision int64
	if l.save {
		revision = s.keep(ctx, e.hostname, &l.rec)
	}
	now := s.now()
	s.mu.Lock()
	f := e.flight
	e.flight = nil
	if f.order {
		s.flying--
	} else {
		s.beside(f, -1)
	}
	close(f.done)
	e.rec, e.revision = l.rec, max(e.revision, revision)
	e.rec.intern()
	e.looked = e.looked || l.looked || e.rec.has()
	changed := e.changed
	e.changed = false
	if changed && e.wanted {
		e.rec.Trouble = e.rec.Trouble.renewedBy(e.want, now)
	}
	if l.again > 0 && e.wanted {
		s.unplace(e)
		s.due.at(e, now.Add(l.again))
	} else if ctx.Err() == nil || changed {
		s.place(e, now)
	}
	s.mu.Unlock()
	s.poke()
	if !l.quiet {
		s.cfg.OnChange(e.hostname)
	}
}
