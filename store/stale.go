package store

import (
	"context"
	"sync"
	"time"
)

// Staleness tells of reads that were answered from a copy, because the engine did not
// answer: they may miss what was acknowledged lately.
type Staleness struct {
	// Patience is how long the engine is waited for, by all reads together: after it they
	// are answered from the copy; 0: each waits until the engine is known not to answer.
	Patience time.Duration

	mu    sync.Mutex
	cause error
}

type staleKey struct{}

// AllowStale returns a context whose Get, List and Read may be answered from a copy that this
// process has of the store, if the engine does not answer within patience (0: as soon as
// it is known not to), and what tells whether any was. Without it no read is.
func AllowStale(ctx context.Context, patience time.Duration) (context.Context, *Staleness) {
	s := &Staleness{Patience: patience}
	return context.WithValue(ctx, staleKey{}, s), s
}

// StaleAllowed is what AllowStale has put into the context; nil: nothing.
func StaleAllowed(ctx context.Context) *Staleness {
	s, _ := ctx.Value(staleKey{}).(*Staleness)
	return s
}

// Note notes that a read was answered from a copy, and why.
func (s *Staleness) Note(cause error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cause = cause
}

// Cause is why a read was answered from a copy; nil: none was.
func (s *Staleness) Cause() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cause
}
