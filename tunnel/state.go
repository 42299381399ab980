package tunnel

import (
	"context"
	"sync"
)

// state is what an agent says of itself on every connection.
type state struct {
	doubt chan struct{} // a request found the origin ill

	mu      sync.Mutex
	now     status
	changed chan struct{} // closed at the next change
	talks   int           // conversations with the edge
	silent  chan struct{} // closed once there are none
}

func newState() *state {
	return &state{doubt: make(chan struct{}, 1), changed: make(chan struct{})}
}

// look has the origin looked at now.
func (s *state) look() {
	select {
	case s.doubt <- struct{}{}:
	default:
	}
}

// origin takes in whether the origin answers.
func (s *state) origin(err error) {
	why := ""
	if err != nil {
		why = printable(err.Error(), 200)
	}
	s.set(func(n *status) { n.Origin = why })
}

// drain takes in that the agent is about to leave.
func (s *state) drain() { s.set(func(n *status) { n.Draining = true }) }

func (s *state) set(change func(*status)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	before := s.now
	change(&s.now)
	if s.now != before {
		close(s.changed)
		s.changed = make(chan struct{})
	}
}

func (s *state) get() (status, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now, s.changed
}

// talk counts a conversation with the edge until the returned function is called.
func (s *state) talk() (end func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.talks++
	return sync.OnceFunc(func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.talks--
		if s.talks == 0 && s.silent != nil {
			close(s.silent)
			s.silent = nil
		}
	})
}

// told waits until the edge has ended every conversation, as it does once it has
// heard that the agent is leaving, or ctx ends.
func (s *state) told(ctx context.Context) {
	s.mu.Lock()
	if s.talks == 0 {
		s.mu.Unlock()
		return
	}
	if s.silent == nil {
		s.silent = make(chan struct{})
	}
	silent := s.silent
	s.mu.Unlock()
	select {
	case <-silent:
	case <-ctx.Done():
	}
}
