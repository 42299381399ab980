package mirror

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"

	"github.com/apoxy-dev/caddy-apoxy/store"
)

// Store is a store.Store with a copy of it on the disk. Open makes one.
type Store struct {
	store.Store
	copy   *replica
	cancel context.CancelFunc
	done   chan struct{}
	log    *zap.Logger
}

// Open returns a Store over primary, which is closed with it, and keeps its copy in the
// file at path. The copy is there as soon as it has once been complete, over restarts.
// An error is one of the file: another process has it open, or it cannot be made.
func Open(primary store.Store, path string, log *zap.Logger) (*Store, error) {
	if log == nil {
		log = zap.NewNop()
	}
	r, err := openReplica(path, log)
	if err != nil {
		return nil, fmt.Errorf("opening the local copy %s: %w", path, err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	s := &Store{Store: primary, copy: r, cancel: cancel, done: make(chan struct{}), log: log}
	go func() {
		defer close(s.done)
		s.follow(ctx)
	}()
	return s, nil
}

// Unwrap returns the store that is copied.
func (s *Store) Unwrap() store.Store { return s.Store }

// Close implements store.Store.
func (s *Store) Close() error {
	s.cancel()
	<-s.done
	return errors.Join(s.copy.close(), s.Store.Close())
}

// Get implements store.Store.
func (s *Store) Get(ctx context.Context, key string) (kv store.KeyValue, rev int64, err error) {
	err = s.ask(ctx, func(ctx context.Context) (err error) { kv, rev, err = s.Store.Get(ctx, key); return err },
		func() (err error) { kv, rev, err = s.copy.get(key); return err })
	return kv, rev, err
}

// List implements store.Store. From the copy it can be had at the copy's revision alone,
// else it is store.ErrExpired.
func (s *Store) List(ctx context.Context, prefix string, o store.ListOptions) (res store.ListResult, err error) {
	err = s.ask(ctx, func(ctx context.Context) (err error) { res, err = s.Store.List(ctx, prefix, o); return err },
		func() (err error) { res, err = s.copy.list(ctx, prefix, o); return err })
	return res, err
}

// Read implements store.Store. From the copy it is had as List is.
func (s *Store) Read(ctx context.Context, keys []string, revision int64) (kvs []store.KeyValue, rev int64, err error) {
	err = s.ask(ctx, func(ctx context.Context) (err error) { kvs, rev, err = s.Store.Read(ctx, keys, revision); return err },
		func() (err error) { kvs, rev, err = s.copy.read(keys, revision); return err })
	return kvs, rev, err
}

// ask reads from the store or, where that is allowed and the store does not answer in
// time, from the copy.
func (s *Store) ask(ctx context.Context, primary func(context.Context) error, replica func() error) error {
	stale := store.StaleAllowed(ctx)
	if stale == nil {
		return primary(ctx)
	}
	err := stale.Cause()
	if err == nil || stale.Patience == 0 { // who has waited once does not wait again
		bounded, cancel := ctx, context.CancelFunc(func() {})
		if stale.Patience > 0 {
			bounded, cancel = context.WithTimeout(ctx, stale.Patience)
		}
		err = primary(bounded)
		cancel()
		slow := errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil
		if err == nil || !slow && !errors.Is(err, store.ErrUnavailable) {
			return err
		}
		if slow {
			err = &store.UnavailableError{Engine: "the store", Reason: fmt.Sprintf("it has not answered within %s", stale.Patience)}
		}
	}
	switch found := replica(); {
	case errors.Is(found, errNoCopy):
		return err
	case found == nil, errors.Is(found, store.ErrNotFound), errors.Is(found, store.ErrExpired):
		stale.Note(err)
		return found
	default:
		s.log.Error("the local copy of the store cannot be read", zap.Error(found))
		return err
	}
}

// identityKey is where a store says which one it is: a random text, made by whoever copies
// it first. Another etcd at the same address, filled from a backup, has another one.
const identityKey = "identity/store"

// identityPause is between two tries to read it.
const identityPause = 500 * time.Millisecond

// identity returns which store this is, as soon as it answers. An error is the context's,
// or that the store was closed.
func (s *Store) identity(ctx context.Context) (string, error) {
	for {
		kv, _, err := s.Store.Get(ctx, identityKey)
		if errors.Is(err, store.ErrNotFound) || errors.Is(err, store.ErrDamaged) {
			kv.Value = []byte(rand.Text())
			_, err = s.Store.Write(ctx, store.Op{Key: identityKey, Value: kv.Value, If: kv.Revision}) // Absent where there is none
		}
		switch {
		case err == nil:
			return string(kv.Value), nil
		case ctx.Err() != nil, errors.Is(err, store.ErrClosed):
			return "", err
		}
		select { // it is away, or another node has just written it
		case <-ctx.Done():
			return "", ctx.Err()
		case <-time.After(identityPause):
		}
	}
}

// follow brings the copy up to date until the context ends or the store is closed.
func (s *Store) follow(ctx context.Context) {
	var failed error // of the copy: then it is left as it is
	keep := func(err error) {
		if err != nil && failed == nil {
			failed = err
			s.log.Error("the local copy of the store cannot be written and is of no use until the next start", zap.Error(err))
			s.copy.spoil()
		}
	}
	from := s.copy.revision()
	id, err := s.identity(ctx)
	if err != nil {
		return
	}
	if id != s.copy.identity() { // a copy of another store, at the same address
		from = 0
		keep(s.copy.identify(id))
	}
	_ = store.Follow(ctx, s.Store, store.Follower{
		From:  from,
		Begin: func() { keep(s.copy.begin()) },
		Page:  func(page []store.KeyValue) { keep(s.copy.page(page)) },
		End:   func(revision int64) { keep(s.copy.end(revision)) },
		Change: func(e *store.Event) {
			s.copy.change(e)
		},
		Reached: func(revision int64) { keep(s.copy.reached(revision)) },
	})
}
