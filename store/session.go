package store

import (
	"context"
	"errors"
	"time"
)

// ErrSessionEnded: the session is over, and what was written in it is gone.
var ErrSessionEnded = errors.New("the session with the store has ended")

// Session is a process's stay in a store that several processes share, such as a lease
// of etcd. The keys that are set in it vanish with it. It lasts while the process lives
// and reaches the engine, and no longer than its time to live after that.
type Session interface {
	// ID names the session among all of the store, now and later.
	ID() string
	// Write is Store.Write, and each key that it sets vanishes with the session. Written
	// by a Store.Write later, a key stays. ErrSessionEnded: nothing was written.
	Write(ctx context.Context, ops ...Op) (int64, error)
	// Until is until when the session lasts for certain, on this process's monotonic
	// clock. It moves on while the engine answers. Once it is past, others may see the
	// session's end at any moment, so that who acts in its name must have stopped.
	Until() time.Time
	// Ended is closed once the session is known to be over: lost, closed or ended by
	// others.
	Ended() <-chan struct{}
	// Close ends the session, and its keys vanish at once. An error means that they stay
	// until its time to live is over.
	Close(ctx context.Context) error
}

// Sessions is what engines have that several processes share.
type Sessions interface {
	// Begin begins a session. Engines round ttl up to what they can tell apart: etcd
	// counts whole seconds, and no fewer than two.
	Begin(ctx context.Context, ttl time.Duration) (Session, error)
	// End ends a session of any process by its ID. It is no error if it is over.
	End(ctx context.Context, id string) error
}

// SessionsOf returns the sessions of the engine below; nil: the store belongs to one
// process, and whatever that process holds ends with it.
func SessionsOf(s Store) Sessions {
	for {
		switch t := s.(type) {
		case Sessions:
			return t
		case interface{ Unwrap() Store }:
			s = t.Unwrap()
		default:
			return nil
		}
	}
}
