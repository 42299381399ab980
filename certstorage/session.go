package certstorage

import (
	"context"
	"sync"
	"time"

	"github.com/apoxy-dev/caddy-apoxy/store"
)

// SessionTTL is the time to live of an OwnSession: its locks are free 5 s at the latest
// after its process has crashed, of which the engine needs a part to notice.
const SessionTTL = 4 * time.Second

// OwnSession is a session for Locks alone, begun when it is needed first, and again when
// it has ended.
type OwnSession struct {
	from store.Sessions

	mu      sync.Mutex
	present store.Session
}

// NewOwnSession begins nothing yet.
func NewOwnSession(from store.Sessions) *OwnSession { return &OwnSession{from: from} }

// Session implements Sessions.
func (o *OwnSession) Session(ctx context.Context) (store.Session, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.present != nil && time.Now().Before(o.present.Until()) {
		return o.present, nil
	}
	session, err := o.from.Begin(ctx, SessionTTL)
	if err != nil {
		return nil, err
	}
	o.present = session
	return session, nil
}

// Close ends the session, so that its locks are free at once.
func (o *OwnSession) Close(ctx context.Context) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.present == nil {
		return nil
	}
	return o.present.Close(ctx)
}
