package caddyapoxy

import (
	"context"
	"errors"
	"os"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/apoxy-dev/caddy-apoxy/certstorage"
	"github.com/apoxy-dev/caddy-apoxy/store"
	"github.com/apoxy-dev/caddy-apoxy/store/damage"
)

// stores holds one open store per key, across configurations. A runtime uses one, and
// so does each configuration whose storage lies in it.
var stores = caddy.NewUsagePool()

// endSession bounds the giving back of a session, which ends by itself anyway.
const endSession = 2 * time.Second

// openedStore is a store with what all its users in this process share.
type openedStore struct {
	key    string
	store  *damage.Store
	locks  *certstorage.Locks // of storage apoxy
	logger *zap.Logger

	session *certstorage.OwnSession // nil for an engine that one process has alone
	runtime atomic.Pointer[runtime] // of the records, if there is one
	// rewritten is the key that all is encrypted with, since this process looked.
	rewritten atomic.Pointer[certstorage.ID]
}

// openStore returns the opened store, opening it if need be. Each call that succeeds must
// be followed by one stores.Delete(key).
func openStore(s StoreModule, logger *zap.Logger) (*openedStore, error) {
	v, _, err := stores.LoadOrNew(s.Key(), func() (caddy.Destructor, error) {
		o := &openedStore{key: s.Key()}
		o.logger = liveLogger(logger, func() *zap.Logger { return o.runtime.Load().present(logger) })
		engine, err := s.Open(o.logger.Named("store"))
		if err != nil {
			return nil, err
		}
		o.store = damage.New(engine, o.logger.Named("store"))
		node, _ := os.Hostname() // without one the locks' session tells
		locks := certstorage.LockOptions{Store: o.store, Node: node, Logger: o.logger.Named("storage")}
		if sessions := store.SessionsOf(engine); sessions != nil {
			o.session = certstorage.NewOwnSession(sessions)
			locks.Sessions = o
		}
		o.locks = certstorage.NewLocks(locks)
		return o, nil
	})
	if err != nil {
		return nil, err
	}
	return v.(*openedStore), nil
}

// Session implements certstorage.Sessions: the one that this node is live by, so that a
// restarted node, which ends its former one, has its locks back at once; before it has
// joined the cluster, one for locks alone.
func (o *openedStore) Session(ctx context.Context) (store.Session, error) {
	if rt := o.runtime.Load(); rt != nil {
		if s, err := rt.member.Session(); err == nil {
			return s, nil
		}
	}
	return o.session.Session(ctx)
}

// Destruct closes the store; the pool calls it when nobody uses it any more.
func (o *openedStore) Destruct() error {
	o.locks.Close()
	if o.session != nil {
		ctx, cancel := context.WithTimeout(context.Background(), endSession)
		defer cancel()
		if err := o.session.Close(ctx); err != nil {
			o.logger.Warn("the session with the store could not be given back: its locks are free once it has run out", zap.Error(err))
		}
	}
	return o.store.Close()
}

// leaveStore gives an opened store back, after an error, too.
func leaveStore(o *openedStore, err error) error {
	_, left := stores.Delete(o.key)
	return errors.Join(err, left)
}
