package certstorage

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddyserver/certmagic"
	"go.uber.org/zap"

	"github.com/apoxy-dev/caddy-apoxy/store"
)

// Options of a Storage. Store and Locks must be set.
type Options struct {
	Store store.Store
	// Locks of that store, which all Storages over it share.
	Locks *Locks
	// Keys encrypt what is stored. None: it is not encrypted.
	Keys Keyring
	// Lost are keys that nobody has any more: what was encrypted with them counts as not
	// there, and Rewrite deletes it.
	Lost []ID
	// Usable says why the store must not be used, such as one that is being filled; it is
	// asked until it has once said nil. Default: it may.
	Usable func(context.Context) error
	// Name is what the storage is called in logs and messages.
	Name string
	// Logger gets what is worth knowing. Default: none.
	Logger *zap.Logger
}

// Storage is a certmagic.Storage.
type Storage struct {
	o Options

	checked  atomic.Bool // that all keys which are in use are at hand
	checking sync.Mutex
}

// New returns a Storage. It asks nothing of the store yet.
func New(o Options) *Storage {
	if o.Logger == nil {
		o.Logger = zap.NewNop()
	}
	return &Storage{o: o}
}

// String is the storage's name.
func (s *Storage) String() string { return s.o.Name }

// Lock implements certmagic.Locker. Nothing is begun, such as an order, whose outcome
// could not be stored for want of a key.
func (s *Storage) Lock(ctx context.Context, name string) error {
	if err := s.ready(context.WithoutCancel(ctx)); err != nil {
		return fmt.Errorf("taking the lock %q: %w", name, err)
	}
	return s.o.Locks.Lock(ctx, name)
}

// TryLock implements certmagic.TryLocker.
func (s *Storage) TryLock(ctx context.Context, name string) (bool, error) {
	if err := s.ready(context.WithoutCancel(ctx)); err != nil {
		return false, fmt.Errorf("taking the lock %q: %w", name, err)
	}
	return s.o.Locks.TryLock(ctx, name)
}

// Unlock implements certmagic.Locker.
func (s *Storage) Unlock(ctx context.Context, name string) error {
	return s.o.Locks.Unlock(ctx, name)
}

// RenewLockLease implements certmagic.LockLeaseRenewer: a lock that was lost is told.
func (s *Storage) RenewLockLease(ctx context.Context, name string, d time.Duration) error {
	return s.o.Locks.Renew(ctx, name, d)
}

// Store implements certmagic.Storage.
func (s *Storage) Store(ctx context.Context, key string, value []byte) error {
	at, err := file(key)
	if err != nil {
		return err
	}
	if len(value) > maxValue {
		return fmt.Errorf("storing %q: it has %d bytes, at most %d are kept", key, len(value), maxValue)
	}
	if err := s.ready(ctx); err != nil {
		return fmt.Errorf("storing %q: %w", key, err)
	}
	op := store.Op{Key: Prefix + at, Value: s.o.Keys.seal(at, value, time.Now()), If: store.Any}
	if err := s.write(ctx, op); err != nil {
		return fmt.Errorf("storing %q: %w", key, err)
	}
	return nil
}

// write writes, unless a lock that protects one of the keys was lost.
func (s *Storage) write(ctx context.Context, ops ...store.Op) error {
	locks := s.o.Locks.protecting(ops)
	conditions, err := fence(locks)
	if err != nil {
		return err
	}
	_, err = s.o.Store.Write(ctx, append(ops, conditions...)...)
	if conflict, ok := errors.AsType[*store.ConflictError](err); ok {
		for _, l := range locks {
			if conflict.Key == LockPrefix+l.name {
				s.o.Locks.lose(l.name, l.revision)
				return &LockLostError{l.name}
			}
		}
	}
	return err
}

// Load implements certmagic.Storage.
func (s *Storage) Load(ctx context.Context, key string) ([]byte, error) {
	at, err := file(key)
	if err != nil {
		return nil, err
	}
	kv, err := s.get(forHandshake(ctx), at)
	if err != nil {
		return nil, fmt.Errorf("loading %q: %w", key, gone(at, err))
	}
	value, _, err := s.o.Keys.open(at, kv.Value)
	if err != nil {
		return nil, fmt.Errorf("loading %q: %w", key, gone(at, err))
	}
	return value, nil
}

// handshakePatience is how long a handshake waits for the store before a copy of it, if
// this node has one, answers.
const handshakePatience = time.Second

// forHandshake lets what a handshake reads come from a copy: a certificate that was good a
// moment ago is better than none. Whoever decides something, such as an order, asks the
// store.
func forHandshake(ctx context.Context) context.Context {
	if ctx.Value(certmagic.ClientHelloInfoCtxKey) != nil {
		ctx, _ = store.AllowStale(ctx, handshakePatience)
	}
	return ctx
}

// gone makes the error of a damaged value fs.ErrNotExist, if the value is one that can be
// had again by ordering it, so that it is. An account, or Caddy's own CA, is not made anew
// in silence.
func gone(at string, err error) error {
	if is[*store.DamagedError](err) || errors.Is(err, errShort) || errors.Is(err, errForged) {
		if orderable(at) {
			return fmt.Errorf("%w (%w)", fs.ErrNotExist, err)
		}
	}
	return err
}

// orderable tells whether what is kept at a key can be had again: certificates, staples
// and what an order needs. A customer's own certificate is missed as one that is lost.
func orderable(at string) bool {
	first, rest, _ := strings.Cut(at, "/")
	switch first {
	case "certificates", "ocsp", "uploads":
		return true
	case "acme":
		return strings.Contains(rest, "/orders/") || strings.Contains(rest, "/challenge_tokens/")
	}
	return false
}

// get reads what is kept at a key; fs.ErrNotExist: nothing.
func (s *Storage) get(ctx context.Context, at string) (store.KeyValue, error) {
	if err := s.ready(ctx); err != nil {
		return store.KeyValue{}, err
	}
	kv, _, err := s.o.Store.Get(ctx, Prefix+at)
	if errors.Is(err, store.ErrNotFound) || err == nil && s.lost(kv.Value) {
		err = fs.ErrNotExist
	}
	return kv, err
}

// lost tells whether a value was encrypted with a key that nobody has any more.
func (s *Storage) lost(raw []byte) bool {
	if len(s.o.Lost) == 0 {
		return false
	}
	h, err := parseHeader(raw)
	return err == nil && h.sealed && slices.Contains(s.o.Lost, h.key)
}

// deleteAtOnce is how many values are deleted in one write. etcd takes 128 changes and as
// many conditions, and each may have a lock or two.
const deleteAtOnce = 60

// Delete implements certmagic.Storage: all below the key is deleted, too.
func (s *Storage) Delete(ctx context.Context, key string) error {
	at, err := file(key)
	if err != nil {
		return err
	}
	if err := s.ready(ctx); err != nil {
		return fmt.Errorf("deleting %q: %w", key, err)
	}
	if err := s.deleteAll(ctx, at); err != nil {
		return fmt.Errorf("deleting %q: %w", key, err)
	}
	return nil
}

func (s *Storage) deleteAll(ctx context.Context, at string) error {
	if err := s.write(ctx, store.Op{Key: Prefix + at, If: store.Any}); err != nil {
		return err
	}
	for {
		page, err := s.o.Store.List(ctx, Prefix+at+"/", store.ListOptions{Limit: deleteAtOnce})
		if err != nil || len(page.KeyValues) == 0 {
			return err
		}
		if err := s.write(ctx, deletions(page.KeyValues)...); err != nil {
			return err
		}
	}
}

func deletions(kvs []store.KeyValue) []store.Op {
	ops := make([]store.Op, len(kvs))
	for i, kv := range kvs {
		ops[i] = store.Op{Key: kv.Key, If: store.Any}
	}
	return ops
}

// Exists implements certmagic.Storage: folders exist, too, and values that cannot be used.
func (s *Storage) Exists(ctx context.Context, key string) bool {
	_, err := s.Stat(ctx, key)
	return err == nil || is[*unusableError](err)
}

// unusableError is that of a value that is there and cannot be used.
type unusableError struct{ error }

func (e *unusableError) Unwrap() error { return e.error }

// Stat implements certmagic.Storage. The time of a folder is not known.
func (s *Storage) Stat(ctx context.Context, key string) (certmagic.KeyInfo, error) {
	at, err := clean(key)
	if err != nil {
		return certmagic.KeyInfo{}, err
	}
	info, err := s.stat(ctx, at)
	info.Key = key
	if err != nil {
		err = fmt.Errorf("looking for %q: %w", key, err)
	}
	return info, err
}

func (s *Storage) stat(ctx context.Context, at string) (info certmagic.KeyInfo, err error) {
	if at == "" { // the root is there, whatever it holds
		return info, s.ready(ctx)
	}
	kv, err := s.get(ctx, at)
	switch {
	case err == nil:
		h, err := parseHeader(kv.Value)
		if err != nil {
			return info, &unusableError{err}
		}
		return certmagic.KeyInfo{Modified: h.modified, Size: h.size, IsTerminal: true}, nil
	case errors.Is(err, store.ErrDamaged):
		return info, &unusableError{err}
	case !errors.Is(err, fs.ErrNotExist):
		return info, err
	}
	below, err := s.o.Store.List(ctx, Prefix+at+"/", store.ListOptions{Limit: 1})
	if err == nil && len(below.KeyValues) == 0 {
		err = fs.ErrNotExist
	}
	return info, err
}

// Interface guards
var (
	_ certmagic.Storage          = (*Storage)(nil)
	_ certmagic.TryLocker        = (*Storage)(nil)
	_ certmagic.LockLeaseRenewer = (*Storage)(nil)
	_ fmt.Stringer               = (*Storage)(nil)
)
