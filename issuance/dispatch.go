package issuance

import (
	"context"
	"time"

	"github.com/apoxy-dev/caddy-apoxy/issuance/acme"
)

// resortInterval is how often waiting work is sorted anew.
const resortInterval = time.Hour

// batch bounds what is moved under one hold of the lock: whoever waits for an
// Observe must not notice that a million hostnames are due.
const batch = 256

// dispatch moves what has become due into the lanes and takes up as much as
// there is room for. It returns the work to be run.
func (s *Scheduler) dispatch(ctx context.Context) []func() {
	for ctx.Err() == nil && s.sort() {
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	var jobs []func()
	moved := 0
	for _, l := range s.lanes {
		for l.plan.Len() > 0 && moved < batch && s.open(l, now) {
			w, _ := l.plan.Pop()
			e := w.entry
			e.ready = nil
			st, at := e.next(now)
			if st == stepNone || at.After(now) || st == stepOrder && l.ca == nil {
				s.place(e, now)
				moved++
				continue
			}
			if st == stepOrder {
				if _, held := s.ledger.held(l.ca, e.hostname, now); held {
					s.place(e, now)
					moved++
					continue
				}
			}
			jobs = append(jobs, s.takeUp(ctx, e, st, l, now))
		}
	}
	if moved >= batch {
		s.poke() // there may be more
	}
	s.measure(now)
	return jobs
}

// sort moves a batch of what has become due, or is to be sorted anew, to where
// it belongs now. It reports whether there may be more.
func (s *Scheduler) sort() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	if now.Sub(s.sorted) > resortInterval {
		s.reroute() // what waited long may have become pressing
	}
	moved := 0
	for e := range s.freed {
		if moved == batch {
			return true
		}
		moved++
		delete(s.freed, e)
		if e.flight == nil {
			s.place(e, now)
		}
	}
	for range batch {
		if n := len(s.stale); n > 0 {
			if w, ok := s.stale[n-1].plan.Pop(); ok {
				w.entry.ready = nil
				s.place(w.entry, now)
			} else {
				s.stale[n-1] = nil
				s.stale = s.stale[:n-1]
			}
			continue
		}
		if len(s.due) == 0 || s.due[0].due > now.UnixNano() {
			return false
		}
		e := s.due[0]
		s.place(e, now)
		if e.index >= 0 && e.due <= now.UnixNano() {
			return false // the clock stands still; the pause sees to it
		}
	}
	return true
}

// measure sets the gauges and forgets empty lanes. s.mu must be held.
func (s *Scheduler) measure(now time.Time) {
	depth, forecast, age := 0, time.Duration(0), time.Duration(0)
	for key, l := range s.lanes {
		depth += l.plan.Len()
		if l.ca != nil && !l.exempt && l.plan.Len() > 0 {
			forecast = max(forecast, s.ledger.forecast(l.ca, now, l.plan.Len()-1))
		}
		if w, ok := l.plan.Next(); ok {
			age = max(age, now.Sub(w.entry.dueSince()))
		}
		if l.plan.Len() == 0 {
			delete(s.lanes, key)
		}
	}
	queueDepth.Set(float64(depth))
	queueForecast.Set(forecast.Seconds())
	queueAge.Set(age.Seconds())
}

// open reports whether work of a lane may be taken up.
func (s *Scheduler) open(l *lane, now time.Time) bool {
	if l.key == laneOCSP {
		return s.asking < ocspConcurrency
	}
	if l.ca == nil {
		return s.looking < lookConcurrency
	}
	if s.flying >= s.cfg.Concurrency || s.auditing {
		return false
	}
	if _, held := s.ledger.heldCA(l.ca, now); held {
		return true // so that its work is routed elsewhere or put off
	}
	return l.exempt || s.spare(l.ca, now)
}

// spare reports whether the budget of a CA allows more orders than those that
// were taken up for it: no more are, because the first of them to be done with
// DNS would get ahead of its turn, and a slow one's turn would never come.
func (s *Scheduler) spare(c *ca, now time.Time) bool {
	return s.ledger.room(c, now) > s.booked[c.LedgerKey()]
}

// book notes that a flight is going to spend from a CA's budget, unbook that it
// has or will not. s.mu must be held.
func (s *Scheduler) book(f *flight, c *ca) {
	f.booked = c
	s.booked[c.LedgerKey()]++
}

func (s *Scheduler) unbook(f *flight) {
	if f.booked == nil {
		return
	}
	key := f.booked.LedgerKey()
	if f.booked = nil; s.booked[key] > 1 {
		s.booked[key]--
	} else {
		delete(s.booked, key)
	}
}

// pause is how long nothing can become possible by itself.
func (s *Scheduler) pause() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	next := now.Add(time.Hour)
	if len(s.due) > 0 && s.due[0].due < next.UnixNano() {
		next = time.Unix(0, s.due[0].due)
	}
	for _, l := range s.lanes {
		switch {
		case l.plan.Len() == 0:
		case s.open(l, now):
			next = now // work came after dispatch had been at this lane
		case l.ca == nil || l.exempt || s.auditing || s.flying >= s.cfg.Concurrency:
			// the end of some work wakes
		case s.ledger.room(l.ca, now) > 0:
			// so does the spending of what was booked
		default:
			if free := s.ledger.free(l.ca, now); free.Before(next) {
				next = free
			}
		}
	}
	return max(next.Sub(now), time.Millisecond)
}

// takeUp marks an entry as being worked on and returns the work. s.mu must be held.
func (s *Scheduler) takeUp(ctx context.Context, e *entry, st step, l *lane, now time.Time) func() {
	c, cas := l.ca, s.usable(e)
	ctx, cancel := context.WithCancel(ctx)
	f := &flight{began: now, order: st == stepOrder, ocsp: st == stepOCSP, cancel: cancel, done: make(chan struct{})}
	e.flight, e.soon = f, false
	told := e.working() != nil || e.keptBack() != nil // and stands until there is news
	if f.order {
		s.flying++
		f.ca = c.Auth.Host()
		if !l.exempt {
			s.book(f, c)
		}
	} else {
		s.beside(f, 1)
	}
	job := job{s: s, hostname: e.hostname, want: e.want(), rec: e.record(), flight: f, step: st}
	if c != nil {
		job.cas = append(job.cas, c)
		for _, other := range cas {
			if _, held := s.ledger.held(other, e.hostname, now); other != c && !held {
				job.cas = append(job.cas, other)
			}
		}
	} else {
		job.cas = s.cas()
	}
	return func() {
		defer cancel()
		if f.order && !told {
			s.cfg.OnChange(job.hostname)
		}
		s.land(ctx, e, job.run(ctx))
		job.landed(ctx)
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
	s.unbook(f)
	if f.order {
		s.flying--
	} else {
		s.beside(f, -1)
	}
	close(f.done)
	if l.save {
		delete(s.doubts, e.hostname)
	}
	e.revision = max(e.revision, revision)
	e.looked = e.looked || l.looked || l.rec.has()
	changed, w := f.changed, e.want()
	if changed && e.wanted {
		l.rec.Trouble = l.rec.Trouble.renewedBy(w, now)
	}
	e.set(w, l.rec)
	if t := l.rec.Trouble; f.order && t != nil && (t.Class == acme.ClassCustomer || t.Class == acme.ClassRefused) {
		e.soon = false // the CA has looked a moment ago
	}
	// What was missed may be this work's own, written before a later write that
	// failed; then it is no news.
	missed, failed := f.missed, l.save && revision == 0
	news := missed != nil && !failed && missed.rec.Serial != l.rec.Serial && s.learn(missed, now)
	if l.again > 0 && !changed {
		s.unplace(e)
		s.due.at(e, now.Add(l.again))
	} else if ctx.Err() == nil || changed {
		s.place(e, now)
	}
	s.mu.Unlock()
	s.poke()
	if news {
		s.tell([]learnt{*missed})
	} else if !l.quiet {
		s.cfg.OnChange(e.hostname)
	}
}
