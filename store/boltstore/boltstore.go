package boltstore

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"
	"go.uber.org/zap"

	"github.com/apoxy-dev/caddy-apoxy/store"
	"github.com/apoxy-dev/caddy-apoxy/store/history"
)

var (
	// ErrLocked: another process, or another Store in this one, has the file open.
	ErrLocked = errors.New("locked by another process")
	// ErrCorrupt: the file is not a store of ours, or it is damaged.
	ErrCorrupt = errors.New("not an intact store")
	// ErrReadOnly: the file was opened for reading alone.
	ErrReadOnly = errors.New("opened for reading alone")
	// ErrNewerFormat: the file was written by a later version of this program.
	ErrNewerFormat = errors.New("written by a newer version")
)

// Options of a Store; the zero value is ready for use.
type Options struct {
	// History is the number of changes kept, in memory and in the file, for
	// watches and for reads of the past. Default: 16384.
	History int
	// HistoryBytes bounds the memory of those changes, keys and values
	// together; in the file they take less. The changes of the latest revision
	// are always kept. Default: 64 MiB.
	HistoryBytes int
	// LockTimeout is how long Open waits for another process to let the file
	// go. Default: 1 s.
	LockTimeout time.Duration
	// ReadOnly opens the file as it is, which must exist: it is not created,
	// not brought to this version's format and not written to. Processes that
	// read may share it.
	ReadOnly bool
	// Logger gets what is worth knowing. Default: none.
	Logger *zap.Logger

	// verifyTime is verifyTime, and compactEvery compactEvery; tests set less. Below zero:
	// none, and never.
	verifyTime, compactEvery time.Duration
}

// The defaults of Options.
const (
	DefaultHistory      = 16384
	DefaultHistoryBytes = 64 << 20
	DefaultLockTimeout  = time.Second
)

func (o Options) withDefaults() Options {
	if o.History <= 0 {
		o.History = DefaultHistory
	}
	if o.HistoryBytes <= 0 {
		o.HistoryBytes = DefaultHistoryBytes
	}
	if o.LockTimeout <= 0 {
		o.LockTimeout = DefaultLockTimeout
	}
	if o.Logger == nil {
		o.Logger = zap.NewNop()
	}
	if o.verifyTime == 0 {
		o.verifyTime = verifyTime
	}
	if o.compactEvery == 0 {
		o.compactEvery = compactEvery
	}
	return o
}

var (
	bucketMeta    = []byte("apoxy")
	keyFormat     = []byte("format")
	bucketEntries = []byte("entries")
)

// format is the version of the file's layout that this package writes. It
// reads this one and those before it.
const format = 3

// Store is a store.Store in one bbolt file. Open makes one.
type Store struct {
	path  string
	file  atomic.Pointer[opened] // another after the file was compacted
	log   *zap.Logger
	hist  *history.History
	pages pageCounts

	journal journal // the committer's
	sealer  sealer  // the committer's
	// sealed: every value in the file has a checksum.
	sealed   atomic.Bool
	readOnly bool

	queue   chan *request
	stop    chan struct{} // closed by Close
	stopped chan struct{} // closed by the committer when it has ended
	// wedged: bbolt panicked within a write transaction, so its locks may
	// never be released and nothing that takes them may be called any more.
	wedged atomic.Bool

	// inspecting is the look at pages that were left at the opening.
	inspecting sync.WaitGroup

	compacting sync.Mutex              // held by who does
	touched    atomic.Pointer[touched] // what is written meanwhile; nil: nobody compacts
	swaps      chan swap               // to the committer
	watching   sync.WaitGroup          // for when to compact

	closing  sync.Once
	closeErr error
}

// opened is the file that a Store is in.
type opened struct {
	db   *bbolt.DB
	file *os.File // the descriptor that holds the lock; owned by db
}

var _ store.Store = (*Store)(nil)

// Stat describes the file that the store is in now, whatever its name has become.
func (s *Store) Stat() (os.FileInfo, error) { return s.file.Load().file.Stat() }

// Path returns the file's path as it was given to Open.
func (s *Store) Path() string { return s.path }

// Get implements store.Store.
func (s *Store) Get(ctx context.Context, key string) (store.KeyValue, int64, error) {
	if err := ctx.Err(); err != nil {
		return store.KeyValue{}, 0, err
	}
	e := store.KeyValue{Key: key}
	var rev int64
	found := false
	err := s.view(func(b bucket) error {
		rev = int64(b.Sequence())
		raw := b.Get([]byte(key))
		if raw == nil {
			return nil
		}
		e.Revision, e.Value, e.Err = b.decode([]byte(key), raw)
		found = true
		return nil
	})
	if err != nil {
		return store.KeyValue{}, 0, err
	}
	if err := s.hist.Wait(ctx, rev); err != nil {
		return store.KeyValue{}, 0, err
	}
	if !found {
		return store.KeyValue{}, rev, fmt.Errorf("reading key %q: %w", key, store.ErrNotFound)
	}
	if e.Err != nil {
		return e, rev, fmt.Errorf("reading %s: %w", s.path, e.Err)
	}
	return e, rev, nil
}

// Watch implements store.Store.
func (s *Store) Watch(ctx context.Context, prefix string, after int64) (store.Watcher, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return s.hist.Watch(prefix, after)
}

// Close implements store.Store. Writes that have not begun fail with
// store.ErrClosed; closing twice does nothing.
func (s *Store) Close() error {
	s.closing.Do(func() {
		close(s.stop)
		<-s.stopped
		s.inspecting.Wait()
		s.watching.Wait()
		s.compacting.Lock() // whoever compacts has ended, or does so now
		defer s.compacting.Unlock()
		s.hist.End(store.ErrClosed)
		if s.wedged.Load() {
			s.closeErr = s.file.Load().file.Close()
		} else {
			s.closeErr = s.file.Load().db.Close()
		}
		if s.closeErr != nil {
			s.closeErr = fmt.Errorf("closing %s: %w", s.path, s.closeErr)
		}
	})
	return s.closeErr
}

// view runs fn in a read transaction. fn's bytes are gone when it returns.
func (s *Store) view(fn func(b bucket) error) error {
	sealed := s.sealed.Load() // before the transaction begins, which is to see all checksums then
	for {
		in := s.file.Load()
		err := guard(s.path, func() error {
			return in.db.View(func(tx *bbolt.Tx) error {
				b := tx.Bucket(bucketEntries)
				if b == nil {
					return fmt.Errorf("reading %s: %w: bucket %q is missing", s.path, ErrCorrupt, bucketEntries)
				}
				return fn(bucket{b, sealed})
			})
		})
		switch {
		case !errors.Is(err, berrors.ErrDatabaseNotOpen):
			return err
		case in == s.file.Load():
			return store.ErrClosed
		}
		// The file was compacted a moment ago: read the new one.
	}
}

// cloneIn is clone into room, if that is not nil and large enough.
func cloneIn(room, b []byte) []byte {
	if room == nil {
		return clone(b)
	}
	return append(room[:0:len(room)], b...)
}

// clone copies b so that it outlives its transaction; never nil, because nil
// means deleted.
func clone(b []byte) []byte {
	c := make([]byte, len(b))
	copy(c, b)
	return c
}
