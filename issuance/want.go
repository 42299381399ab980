package issuance

import (
	"github.com/apoxy-dev/caddy-apoxy/internal/times"
	"github.com/apoxy-dev/caddy-apoxy/issuance/certfiles"
)

// Want records what a record asks for; idempotent and cheap.
func (s *Scheduler) Want(w Want) {
	if w.Since < 0 || w.Since > 1<<33 {
		w.Since = 0 // no time that nanoseconds can tell
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.entries[w.Hostname]
	switch {
	case e == nil:
		e = s.add(w.Hostname) // the record's own copy
	case e.wanted && e.want() == w:
		return
	}
	now := s.now()
	rec := e.record()
	rec.Trouble = rec.Trouble.renewedBy(w, now)
	switch {
	case w.Since != 0:
		e.since = times.Unix(w.Since).UnixNano()
	case !e.wanted || e.since == 0:
		e.since = now.UnixNano()
	}
	e.wanted, e.dropped = true, false
	e.set(w, rec)
	s.place(e, now)
	s.stir(e)
}

// add makes the entry of a hostname. s.mu must be held.
func (s *Scheduler) add(hostname string) *entry {
	e := &entry{hostname: hostname, index: -1}
	s.entries[hostname] = e
	return e
}

// stir wakes Run if it would otherwise come too late to an entry that has just
// been placed. s.mu must be held.
func (s *Scheduler) stir(e *entry) {
	if e.index == 0 || e.ready != nil && !e.ready.Value.lane.parked {
		s.poke()
	}
}

// Forget drops a hostname: nothing is obtained or renewed for it any more, and
// its certificate leaves memory.
func (s *Scheduler) Forget(hostname string) {
	s.mu.Lock()
	e := s.entries[hostname]
	if e == nil || !e.wanted {
		s.mu.Unlock()
		return
	}
	rec := e.record()
	e.wanted, e.soon, e.dropped, e.since = false, false, true, s.now().UnixNano()
	e.set(Want{}, rec)
	if e.flight != nil {
		e.flight.cancel()
	}
	s.place(e, s.now())
	s.stir(e)
	cas := s.cas()
	s.mu.Unlock()
	for _, c := range cas {
		certfiles.Evict(c.cfg, hostname)
	}
}

// Retry asks for a failed hostname to be tried now rather than when its pause
// is over. What a CA asked to wait for is still waited for. A try under way may
// have looked too early; unless the CA itself decides it, another follows.
func (s *Scheduler) Retry(hostname string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.entries[hostname]
	if e == nil || !e.wanted {
		return
	}
	e.soon = true
	if e.flight == nil {
		s.place(e, s.now())
		s.stir(e)
	}
}
