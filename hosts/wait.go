package hosts

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// maxWaiters bounds how many may wait at a table at one time, maxOfOne how many
// of those for one hostname, so that a crowd at one leaves room for all others.
const (
	maxWaiters = 16384
	maxOfOne   = 512
)

// maxFirst and maxFirstOfOne bound those that WaitFirst lets in. Anybody may call
// for any record that nobody has proven, so they are few, and apart: a flood of
// them takes no room from those who wait for what is on its way.
const (
	maxFirst      = 1024
	maxFirstOfOne = 16
)

// errTooManyWaiters says that as many wait already as may.
var errTooManyWaiters = errors.New("too many are waiting for hostnames already")

// waiters are those who wait for one hostname: those of Wait, and those of
// WaitFirst.
type waiters struct{ known, first []chan struct{} }

func (w *waiters) of(first bool) *[]chan struct{} {
	if first {
		return &w.first
	}
	return &w.known
}

// Wait returns once done is true of the host of exactly this hostname, nil if
// there is none. It asks at once and after every change of that host. If the
// context ends first it returns the host as it stands with the context's
// error; if too many wait already it returns at once with an error.
func (t *Table) Wait(ctx context.Context, hostname string, done func(*Host) bool) (*Host, error) {
	h, _ := t.Get(hostname)
	if done(h) {
		return h, nil
	}
	changed := t.enter(hostname, false)
	if changed == nil {
		return h, fmt.Errorf("waiting for %q: %w", hostname, errTooManyWaiters)
	}
	defer t.leave(hostname, changed, false)
	return t.await(ctx, hostname, changed, done)
}

// WaitFirst is Wait for what may never come: a proof of a record that has none.
// It waits for the duration most and then returns the host as it stands with
// context.DeadlineExceeded. Few may wait so: the others get an error at once and
// without an allocation.
func (t *Table) WaitFirst(hostname string, most time.Duration, done func(*Host) bool) (*Host, error) {
	h, _ := t.Get(hostname)
	if done(h) {
		return h, nil
	}
	changed := t.enter(hostname, true)
	if changed == nil {
		return h, errTooManyWaiters
	}
	defer t.leave(hostname, changed, true)
	ctx, cancel := context.WithTimeout(context.Background(), most)
	defer cancel()
	return t.await(ctx, hostname, changed, done)
}

func (t *Table) await(ctx context.Context, hostname string, changed <-chan struct{}, done func(*Host) bool) (*Host, error) {
	for {
		h, _ := t.Get(hostname)
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

// enter lets one more wait for a hostname, and returns what tells of its changes:
// nil if there is no room.
func (t *Table) enter(hostname string, first bool) chan struct{} {
	inAll, most, one := &t.waiting, int64(maxWaiters), maxOfOne
	if first {
		inAll, most, one = &t.first, maxFirst, maxFirstOfOne
	}
	if inAll.Add(1) > most {
		inAll.Add(-1)
		return nil
	}
	key, _ := split(hostname)
	s, _ := t.shard(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	w := s.waiters[hostname]
	if w != nil && len(*w.of(first)) >= one {
		inAll.Add(-1)
		return nil
	}
	if w == nil {
		if s.waiters == nil {
			s.waiters = make(map[string]*waiters)
		}
		w = new(waiters)
		s.waiters[hostname] = w
	}
	changed := make(chan struct{}, 1)
	*w.of(first) = append(*w.of(first), changed)
	return changed
}

func (t *Table) leave(hostname string, changed chan struct{}, first bool) {
	key, _ := split(hostname)
	s, _ := t.shard(key)
	s.mu.Lock()
	w := s.waiters[hostname]
	*w.of(first) = slices.DeleteFunc(*w.of(first), func(c chan struct{}) bool { return c == changed })
	if len(w.known)+len(w.first) == 0 {
		delete(s.waiters, hostname)
	}
	s.mu.Unlock()
	if first {
		t.first.Add(-1)
	} else {
		t.waiting.Add(-1)
	}
}

// wake tells everyone who waits for hostname. The shard is locked.
func (s *shard) wake(hostname string) {
	w := s.waiters[hostname]
	if w == nil {
		return
	}
	for _, list := range [...][]chan struct{}{w.known, w.first} {
		for _, changed := range list {
			select {
			case changed <- struct{}{}:
			default: // told already
			}
		}
	}
}
