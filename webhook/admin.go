package webhook

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/apoxy-dev/caddy-apoxy/store"
)

// ErrNoEndpoint: the configuration in force has no such endpoint.
var ErrNoEndpoint = errors.New("the configuration has no such webhook")

// Status is what is known of an endpoint.
type Status struct {
	// URL without its query, which may be a secret.
	URL    string
	Events []string
	// Waiting is how many deliveries wait, GivenUp how many are kept for replay.
	Waiting, GivenUp int
	// Gone is since when nothing is sent, because it answered 410; zero: it is.
	Gone time.Time
	// LastSuccess and LastFailure, with its reason; zero: none is known of.
	LastSuccess, LastFailure time.Time
	Reason                   string
	// Next is when the next try is due; zero: nothing waits.
	Next time.Time
}

// List tells of the configured endpoints, in their order.
func (s *Sender) List() (out []Status) {
	for _, e := range s.cfg.Endpoints() {
		s.mu.Lock()
		l := s.line(e.key())
		st := l.state
		out = append(out, Status{
			URL: e.shown(), Events: e.Events, Waiting: l.waiting, GivenUp: len(l.items) - l.waiting, Gone: st.Gone,
			LastSuccess: st.LastSuccess, LastFailure: st.LastFailure, Reason: st.Reason, Next: l.nextTry(),
		})
		if n := &out[len(out)-1]; l.waiting > 0 && n.Next.IsZero() && n.Gone.IsZero() {
			n.Next = s.cfg.Now() // it is due
		}
		s.mu.Unlock()
	}
	return out
}

// Tested is what became of a test.
type Tested struct {
	URL string
	// Status is the answer's; 0: there was none.
	Status int
	Took   time.Duration
	// Reason why it failed; empty: it was taken.
	Reason string
}

// named are the configured endpoints of a URL, with or without its query; empty: all.
func (s *Sender) named(url string) ([]Endpoint, error) {
	all := s.cfg.Endpoints()
	if url == "" && len(all) > 0 {
		return all, nil
	}
	some := slices.DeleteFunc(slices.Clone(all), func(e Endpoint) bool { return e.URL != url && e.shown() != url })
	switch {
	case len(all) == 0:
		return nil, fmt.Errorf("%w: add `webhook https://… { secret … }` to the global option apoxy", ErrNoEndpoint)
	case len(some) == 0:
		return nil, fmt.Errorf("%w: %.200q", ErrNoEndpoint, withoutQuery(url))
	}
	return some, nil
}

// Test sends an event of the type EventTest, now and once, to the configured endpoints
// of a URL, with or without its query, or to all. One that takes it is well from then
// on. Errors: ErrNoEndpoint.
func (s *Sender) Test(ctx context.Context, url string) ([]Tested, error) {
	endpoints, err := s.named(url)
	if err != nil {
		return nil, err
	}
	out := make([]Tested, len(endpoints))
	var all sync.WaitGroup
	for i, e := range endpoints {
		all.Go(func() {
			event := Event{Type: EventTest, At: s.cfg.Now(), Message: "This is a test: somebody ran caddy apoxy webhook test."}
			o := s.send(ctx, e, event.id(), []byte(event.encode()))
			out[i] = Tested{URL: e.shown(), Status: o.status, Took: o.took, Reason: o.reason}
			if o.verdict == delivered {
				s.well(ctx, e)
			}
		})
	}
	all.Wait()
	return out, nil
}

// well notes that an endpoint has taken something: what waits for it is due.
func (s *Sender) well(ctx context.Context, e Endpoint) {
	s.mu.Lock()
	l := s.line(e.key())
	before := l.state
	l.failures = max(l.failures, outage)
	l.note(outcome{verdict: delivered}, s.cfg.Now())
	after := l.state
	s.mu.Unlock()
	s.tell(ctx, e, before, after)
	s.rouse()
}

// Selection says what Replay is to queue again.
type Selection struct {
	// URL is the endpoint's, with or without its query; empty: all.
	URL string
	// ID is the webhook-id of one delivery; empty: all.
	ID string
	// Since leaves out what was queued before; zero: nothing.
	Since time.Time
}

// Replay queues again what was given up, has what failed tried now, and returns how many
// those are. It takes an endpoint that is gone up again. Errors: ErrNoEndpoint, the store's.
func (s *Sender) Replay(ctx context.Context, which Selection) (n int, err error) {
	endpoints, err := s.named(which.URL)
	if err != nil {
		return 0, err
	}
	defer s.rouse()
	for _, e := range endpoints {
		for _, it := range s.failed(e, which) {
			done, err := s.again(ctx, e, it)
			if err != nil {
				return n, err
			}
			if done {
				n++
			}
		}
		s.lift(ctx, e)
	}
	return n, nil
}

// failed are the items that a Selection means.
func (s *Sender) failed(e Endpoint, which Selection) (out []*item) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, it := range s.line(e.key()).items {
		failed := !it.givenUp.IsZero() || it.tries > 0
		if failed && !it.flying && (which.ID == "" || which.ID == it.id) && !it.queued.Before(which.Since) {
			out = append(out, it)
		}
	}
	return out
}

// again queues an item as if its event were new. Its id stays.
func (s *Sender) again(ctx context.Context, e Endpoint, it *item) (bool, error) {
	now := s.cfg.Now().UTC()
	err := s.rewrite(ctx, queueKey(e.key(), it.id), func(n *entry) {
		n.Queued, n.Tries, n.Next, n.GivenUp = now, 0, time.Time{}, time.Time{}
	})
	if errors.Is(err, store.ErrNotFound) {
		return false, nil // it was delivered meanwhile
	}
	if err != nil {
		return false, fmt.Errorf("queueing a delivery again: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	defer s.measure()
	l := s.line(e.key())
	if _, there := l.find(it); !there || it.flying {
		return there, nil
	}
	l.remove(it)
	l.add(&item{id: it.id, record: it.record, queued: now, reason: it.reason})
	return true, nil
}

// lift has an endpoint tried that was paused or gone.
func (s *Sender) lift(ctx context.Context, e Endpoint) {
	s.mu.Lock()
	l := s.line(e.key())
	wasGone := !l.state.Gone.IsZero()
	l.state.Gone, l.paused = time.Time{}, time.Time{}
	st := l.state
	s.mu.Unlock()
	if wasGone {
		_ = s.write(ctx, store.Op{Key: statePrefix + e.key(), Value: encode(st), If: store.Any}) // else it is gone again after a restart
	}
}
