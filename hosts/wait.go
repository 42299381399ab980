package hosts

import (
	"context"
	"errors"
	"fmt"
	"slices"
)

// maxWaiters bounds how many may wait at a table at one time, maxOfOne how many
// of those for one hostname, so that a crowd at one leaves room for all others.
const (
	maxWaiters = 16384
	maxOfOne   = 512
)

// ErrTooManyWaiters: as many wait already as may.
var ErrTooManyWaiters = errors.New("too many are waiting for hostnames already")

// Wait returns once done is true of the host of exactly this hostname, nil if
// there is none. It asks at once and after every change of that host. If the
// context ends first it returns the host as it stands with the context's
// error. ErrTooManyWaiters if the table has no room for another.
func (t *Table) Wait(ctx context.Context, hostname string, done func(*Host) bool) (*Host, error) {
	h, _ := t.Get(hostname)
	if done(h) {
		return h, nil
	}
	if t.waiting.Add(1) > maxWaiters {
		t.waiting.Add(-1)
		return h, fmt.Errorf("waiting for %q: %w", hostname, ErrTooManyWaiters)
	}
	defer t.waiting.Add(-1)
	changed := make(chan struct{}, 1)
	key, _ := split(hostname)
	s, _ := t.shard(key)
	s.mu.Lock()
	if s.waiters == nil {
		s.waiters = make(map[string][]chan struct{})
	}
	full := len(s.waiters[hostname]) >= maxOfOne
	if !full {
		s.waiters[hostname] = append(s.waiters[hostname], changed)
	}
	s.mu.Unlock()
	if full {
		return h, fmt.Errorf("waiting for %q: %w", hostname, ErrTooManyWaiters)
	}
	defer s.leave(hostname, changed)
	for {
		h, _ = t.Get(hostname)
		if done(h) {
			return h, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return h, ctx.Err()
		}
	}
}

// wake tells everyone who waits for hostname. The shard is locked.
func (s *shard) wake(hostname string) {
	for _, changed := range s.waiters[hostname] {
		select {
		case changed <- struct{}{}:
		default: // told already
		}
	}
}

func (s *shard) leave(hostname string, changed chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	left := slices.DeleteFunc(s.waiters[hostname], func(c chan struct{}) bool { return c == changed })
	if len(left) == 0 {
		delete(s.waiters, hostname)
	} else {
		s.waiters[hostname] = left
	}
}
