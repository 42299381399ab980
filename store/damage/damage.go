// Package damage keeps watch over a store.Store for values that cannot be used:
// their checksum does not hold, or whoever reads them says that they do not
// decode. Each is logged once, counted, and kept from every reader until it is
// deleted or overwritten. Verify looks through all there is. The package knows
// nothing of what the bytes mean: the rooms that own them say what is wrong.
package damage

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"

	"go.uber.org/zap"

	"github.com/apoxy-dev/caddy-apoxy/store"
)

// Bounds of what is remembered and logged: in a store that is damaged all over
// the first few say enough.
const (
	maxKnown  = 1 << 16
	maxLogged = 1000
	maxText   = 300 // bytes of a key or a reason in the log
)

// Store is a store.Store that takes note of damaged values.
type Store struct {
	store.Store
	log *zap.Logger

	some   atomic.Bool // known is not empty
	mu     sync.RWMutex
	known  map[string]note
	logged int
}

var (
	_ store.Store    = (*Store)(nil)
	_ store.Reporter = (*Store)(nil)
)

// note is a value that cannot be used.
type note struct {
	err *store.DamagedError
	// reported: its checksum holds, but it does not decode.
	reported bool
}

// New returns a Store over st, which is closed with it. The logger may be nil.
func New(st store.Store, log *zap.Logger) *Store {
	if log == nil {
		log = zap.NewNop()
	}
	s := &Store{Store: st, log: log, known: map[string]note{}}
	opened.add(s)
	return s
}

// Close closes the store below.
func (s *Store) Close() error {
	opened.remove(s)
	return s.Store.Close()
}

// Unwrap returns the store below.
func (s *Store) Unwrap() store.Store { return s.Store }

// Damaged is how many values are known that cannot be used, 65536 at most.
func (s *Store) Damaged() int {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return len(s.known)
}

// Report implements store.Reporter. It notes no value that was replaced meanwhile.
func (s *Store) Report(key string, revision int64, why error) bool {
	e, _, err := s.Store.Get(context.Background(), key)
	if err != nil || e.Revision != revision {
		return true
	}
	s.note(note{&store.DamagedError{Key: key, Revision: revision, Reason: "it does not decode as what its key says"}, true}, why)
	return true
}

// note remembers a value and logs it, once per key and revision.
func (s *Store) note(n note, why error) {
	key := n.err.Key
	s.mu.Lock()
	if old, ok := s.known[key]; ok && old.err.Revision == n.err.Revision || !ok && len(s.known) >= maxKnown {
		s.mu.Unlock()
		return
	}
	s.known[key] = n
	s.some.Store(true)
	s.logged++
	logged := s.logged
	s.mu.Unlock()
	switch {
	case logged <= maxLogged:
		fields := []zap.Field{zap.String("key", cut(key)), zap.Int64("revision", n.err.Revision), zap.String("reason", n.err.Reason)}
		if why != nil {
			fields = append(fields, zap.String("found", cut(why.Error())))
		}
		s.log.Error("a stored value is damaged and is left out; `caddy apoxy store verify` tells how to mend it", fields...)
	case logged == maxLogged+1:
		s.log.Error("more stored values are damaged than are named here; `caddy apoxy store verify` tells of all", zap.Int("named", maxLogged))
	}
}

// see judges a value that was read without error: the error says that readers
// must do without it. A newer value than the damaged one ends the note of it.
func (s *Store) see(key string, revision int64) error {
	if !s.some.Load() {
		return nil
	}
	s.mu.RLock()
	n, ok := s.known[key]
	s.mu.RUnlock()
	switch {
	case !ok || revision < n.err.Revision:
		return nil
	case n.reported && revision == n.err.Revision:
		return n.err
	}
	s.mended(key, revision+1)
	return nil
}

// mended ends the note of a key whose damaged value stood before a revision.
func (s *Store) mended(key string, before int64) {
	if !s.some.Load() {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if n, ok := s.known[key]; ok && n.err.Revision < before {
		delete(s.known, key)
		s.some.Store(len(s.known) > 0)
	}
}

// confirm takes note of damage that was met in what is read of the past, if it
// is there still.
func (s *Store) confirm(ctx context.Context, key string) {
	s.mu.RLock()
	_, known := s.known[key]
	s.mu.RUnlock()
	if !known {
		_, _, _ = s.Get(ctx, key) // which takes the note
	}
}

// Get implements store.Store.
func (s *Store) Get(ctx context.Context, key string) (store.KeyValue, int64, error) {
	e, rev, err := s.Store.Get(ctx, key)
	var damaged *store.DamagedError
	switch {
	case err == nil:
		if e.Err = s.see(key, e.Revision); e.Err != nil {
			e.Value, err = nil, e.Err
		}
	case errors.As(err, &damaged):
		s.note(note{damaged, false}, nil)
	case errors.Is(err, store.ErrNotFound):
		s.mended(key, rev+1)
	}
	return e, rev, err
}

// List implements store.Store.
func (s *Store) List(ctx context.Context, prefix string, o store.ListOptions) (store.ListResult, error) {
	res, err := s.Store.List(ctx, prefix, o)
	if err != nil {
		return res, err
	}
	s.review(ctx, res.KeyValues, o.Revision)
	return res, nil
}

// Read implements store.Store.
func (s *Store) Read(ctx context.Context, keys []string, revision int64) ([]store.KeyValue, int64, error) {
	entries, at, err := s.Store.Read(ctx, keys, revision)
	if err == nil {
		s.review(ctx, entries, revision)
	}
	return entries, at, err
}

// review marks, of what was read as it was at a revision, 0: now, the values that are known
// not to decode, and notes those whose checksums do not hold.
func (s *Store) review(ctx context.Context, entries []store.KeyValue, revision int64) {
	some := s.some.Load()
	for i := range entries {
		e := &entries[i]
		var damaged *store.DamagedError
		switch {
		case e.Err == nil:
			if some {
				if e.Err = s.see(e.Key, e.Revision); e.Err != nil {
					e.Value = nil
				}
			}
		case revision > 0:
			s.confirm(ctx, e.Key)
		case errors.As(e.Err, &damaged):
			s.note(note{damaged, false}, nil)
		}
	}
}

// Write implements store.Store.
func (s *Store) Write(ctx context.Context, ops ...store.Op) (int64, error) {
	rev, err := s.Store.Write(ctx, ops...)
	if err == nil {
		for i := range ops {
			if !ops[i].Check {
				s.mended(ops[i].Key, rev)
			}
		}
	}
	return rev, err
}

// Watch implements store.Store.
func (s *Store) Watch(ctx context.Context, prefix string, after int64) (store.Watcher, error) {
	w, err := s.Store.Watch(ctx, prefix, after)
	if err != nil {
		return nil, err
	}
	return &watcher{w, s}, nil
}

type watcher struct {
	store.Watcher
	s *Store
}

// Next implements store.Watcher.
func (w *watcher) Next(ctx context.Context) (store.Batch, error) {
	b, err := w.Watcher.Next(ctx)
	if err != nil {
		return b, err
	}
	owned := false
	for i := range b.Events {
		e := &b.Events[i]
		if e.Err != nil || e.PreviousErr != nil {
			w.s.confirm(ctx, e.Key)
		}
		if e.Err != nil || !w.s.some.Load() {
			continue
		}
		var bad, before error
		if e.Previous != nil {
			before = w.s.reportedAt(e.Key, e.PreviousRevision)
		}
		if e.Value == nil {
			w.s.mended(e.Key, e.Revision)
		} else {
			bad = w.s.see(e.Key, e.Revision)
		}
		if bad == nil && before == nil {
			continue
		}
		if !owned {
			b.Events, owned = slices.Clone(b.Events), true
			e = &b.Events[i]
		}
		if bad != nil {
			e.Value, e.Err = nil, bad
		}
		if before != nil {
			e.Previous, e.PreviousErr = nil, before
		}
	}
	return b, nil
}

// reportedAt is the error of a value that was reported at a revision.
func (s *Store) reportedAt(key string, revision int64) error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if n, ok := s.known[key]; ok && n.reported && n.err.Revision == revision {
		return n.err
	}
	return nil
}

func cut(s string) string {
	if len(s) > maxText {
		return s[:maxText] + "…"
	}
	return s
}
