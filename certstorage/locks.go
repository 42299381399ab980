package certstorage

import (
	"context"
	"crypto/rand"
	"fmt"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/apoxy-dev/caddy-apoxy/store"
)

// Sessions gives the session that this process has with the store, whoever owns it.
type Sessions interface {
	// Session returns a session that has not ended as far as is known, and begins one
	// if need be. The error is the engine's.
	Session(ctx context.Context) (store.Session, error)
}

// LockOptions are those of Locks. Store must be set.
type LockOptions struct {
	Store store.Store
	// Sessions: nil for a store that one process alone has. Locks are in its memory
	// then, and nothing of them is left after it.
	Sessions Sessions
	// Node is who holds locks, for people to read.
	Node string
	// Logger gets what is worth knowing. Default: none.
	Logger *zap.Logger
}

// Locks are the locks of one store in this process: one for all Storages over it.
type Locks struct {
	o      LockOptions
	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	work   sync.WaitGroup // what is released later

	mu        sync.Mutex
	held      map[string]*hold
	bySubject map[string]map[string]*hold
}

// hold is a lock that somebody in this process holds, or is about to take.
type hold struct {
	free  chan struct{} // closed when it is released
	nonce string        // tells it from every other hold

	// Guarded by Locks.mu. session is nil until the lock's key is written.
	session  store.Session
	revision int64 // of the lock's key
	lost     bool
}

// NewLocks returns the locks of a store.
func NewLocks(o LockOptions) *Locks {
	if o.Logger == nil {
		o.Logger = zap.NewNop()
	}
	l := &Locks{o: o, held: map[string]*hold{}, bySubject: map[string]map[string]*hold{}}
	l.ctx, l.cancel = context.WithCancel(context.Background())
	return l
}

// Close gives up what was still to be released. It releases no lock that is held: the
// session's end does.
func (l *Locks) Close() {
	l.cancel()
	l.work.Wait()
}

// Lock takes a lock and waits until it is free, ctx ends or the store fails.
func (l *Locks) Lock(ctx context.Context, name string) error {
	_, err := l.lock(ctx, name, true)
	return err
}

// TryLock takes a lock if it is free.
func (l *Locks) TryLock(ctx context.Context, name string) (bool, error) {
	return l.lock(ctx, name, false)
}

func (l *Locks) lock(ctx context.Context, name string, wait bool) (bool, error) {
	if err := checkName(name); err != nil {
		return false, fmt.Errorf("name of a lock %.100q: %w", name, err)
	}
	h, err := l.enter(ctx, name, wait)
	if h == nil || l.o.Sessions == nil {
		return h != nil, err
	}
	ok, err := l.take(ctx, name, h, wait)
	if !ok {
		l.leave(name, h)
	}
	return ok, err
}

// enter takes a name among all who lock in this process. Nil: it is taken.
func (l *Locks) enter(ctx context.Context, name string, wait bool) (*hold, error) {
	for {
		l.mu.Lock()
		before := l.held[name]
		if before == nil {
			h := &hold{free: make(chan struct{}), nonce: rand.Text()}
			l.held[name] = h
			if subject := subjectOf(name); subject != "" {
				if l.bySubject[subject] == nil {
					l.bySubject[subject] = map[string]*hold{}
				}
				l.bySubject[subject][name] = h
			}
			l.mu.Unlock()
			return h, nil
		}
		l.mu.Unlock()
		if !wait {
			return nil, nil
		}
		select {
		case <-before.free:
		case <-ctx.Done():
			return nil, fmt.Errorf("waiting for the lock %q, which this process holds: %w", name, ctx.Err())
		}
	}
}

// leave gives a name back to the others in this process.
func (l *Locks) leave(name string, h *hold) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.held, name)
	if subject := subjectOf(name); subject != "" {
		if delete(l.bySubject[subject], name); len(l.bySubject[subject]) == 0 {
			delete(l.bySubject, subject)
		}
	}
	close(h.free)
}

// Unlock releases a lock, whether or not ctx has ended. A lock that was lost is released.
// An error of the store means that others must wait until this is done later, which it is
// once the store answers.
func (l *Locks) Unlock(ctx context.Context, name string) error {
	l.mu.Lock()
	h := l.held[name]
	l.mu.Unlock()
	if h == nil {
		return fmt.Errorf("releasing the lock %q: this process does not hold it", name)
	}
	defer l.leave(name, h)
	if h.session == nil {
		return nil
	}
	if err := l.release(context.WithoutCancel(ctx), name, h); err != nil {
		l.releaseLater(name, h.session, h.nonce)
		return fmt.Errorf("releasing the lock %q: %w; it is tried again until it succeeds", name, err)
	}
	return nil
}

// Renew tells whether a lock is still held. It need not be renewed: its session lasts
// while this process reaches the store.
func (l *Locks) Renew(_ context.Context, name string, _ time.Duration) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	h := l.held[name]
	if h == nil {
		return fmt.Errorf("renewing the lock %q: this process does not hold it", name)
	}
	if h.over() {
		return &LockLostError{name}
	}
	return nil
}
