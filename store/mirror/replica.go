package mirror

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"
	"go.uber.org/zap"

	"github.com/apoxy-dev/caddy-apoxy/store"
)

// errNoCopy: there is no copy that was complete once.
var errNoCopy = errors.New("there is no local copy yet")

var (
	metaBucket = []byte("meta")
	// Of the two one is in use; the other is being made while everything is read anew.
	dataBuckets = [2][]byte{[]byte("data0"), []byte("data1")}

	formatKey   = []byte("format")   // of the file
	revisionKey = []byte("revision") // up to where the bucket in use has come; 0: nowhere
	inUseKey    = []byte("in use")   // which bucket
	identityOf  = []byte("identity") // of the store that it is a copy of
	openKey     = []byte("open")     // since which start of the machine the file is open; absent: it was closed
)

const (
	format = "2" // a file of another is made anew
	// lockTimeout is how long another process may take to let go of the file.
	lockTimeout = time.Second
)

// replica is the file. One goroutine writes; get and list may be called by any.
type replica struct {
	db      *bbolt.DB
	spoilt  atomic.Bool
	inUse   atomic.Int32
	reach   atomic.Int64 // the revision that readers find; 0: no copy
	mu      sync.Mutex   // held while the bucket in use changes
	pending []store.Event
	reading bool   // everything is being read anew
	counts  counts // held with mu
}

// bootID tells this start of the machine from others; empty: it cannot be told.
func bootID() string {
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(id))
}

func openReplica(path string, log *zap.Logger) (*replica, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, err
	}
	r, err := load(path)
	if err == nil {
		return r, nil
	}
	if errors.Is(err, berrors.ErrTimeout) {
		return nil, errors.New("another process has it open: give each process a data directory of its own")
	}
	if !errors.Is(err, os.ErrNotExist) {
		log.Info("the local copy of the store is made anew", zap.String("file", path), zap.Error(err))
		if err := os.Remove(path); err != nil {
			return nil, err
		}
	}
	return create(path)
}

// errDamaged: bbolt has met something in the file that it did not write.
var errDamaged = errors.New("it is damaged")

// guard has bbolt's panics, and faults of the mapped file, returned as errDamaged: its
// result is to be deferred.
func guard(err *error) func() {
	before := debug.SetPanicOnFault(true)
	return func() {
		debug.SetPanicOnFault(before)
		if p := recover(); p != nil {
			*err = fmt.Errorf("%w: %v", errDamaged, p)
		}
	}
}

// update changes the file.
func (r *replica) update(change func(*bbolt.Tx) error) (err error) {
	defer guard(&err)()
	return r.db.Update(change)
}

func options() *bbolt.Options {
	return &bbolt.Options{Timeout: lockTimeout, NoSync: true, FreelistType: bbolt.FreelistMapType}
}

// load opens a file that is there. A file that bbolt panics over is an error, too.
func load(path string) (r *replica, err error) {
	if _, err := os.Stat(path); err != nil {
		return nil, err
	}
	defer guard(&err)()
	db, err := bbolt.Open(path, 0o600, options())
	if err != nil {
		return nil, err
	}
	r = &replica{db: db}
	err = db.Update(func(tx *bbolt.Tx) error {
		meta := tx.Bucket(metaBucket)
		if meta == nil || string(meta.Get(formatKey)) != format {
			return errors.New("it is of another version")
		}
		if open := meta.Get(openKey); open != nil && (string(open) != bootID() || len(open) == 0) {
			return errors.New("the machine has stopped while it was open")
		}
		use, rev := meta.Get(inUseKey), meta.Get(revisionKey)
		if len(use) != 1 || use[0] > 1 || len(rev) != 8 || tx.Bucket(dataBuckets[use[0]]) == nil {
			return errDamaged
		}
		r.inUse.Store(int32(use[0]))
		r.reach.Store(int64(binary.BigEndian.Uint64(rev)))
		return meta.Put(openKey, []byte(bootID()))
	})
	if err != nil {
		_ = db.Close()
		return nil, err
	}
	return r, nil
}

func create(path string) (*replica, error) {
	db, err := bbolt.Open(path, 0o600, options())
	if err != nil {
		return nil, err
	}
	r := &replica{db: db}
	err = db.Update(func(tx *bbolt.Tx) error {
		meta, err := tx.CreateBucket(metaBucket)
		if err != nil {
			return err
		}
		_, err = tx.CreateBucket(dataBuckets[0])
		return errors.Join(err, meta.Put(formatKey, []byte(format)), meta.Put(inUseKey, []byte{0}),
			meta.Put(revisionKey, make([]byte, 8)), meta.Put(openKey, []byte(bootID())))
	})
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return r, nil
}

// close ends the use of the file, which is complete from then on.
func (r *replica) close() error {
	err := r.db.Sync()
	if err == nil && !r.spoilt.Load() {
		err = r.db.Update(func(tx *bbolt.Tx) error { return tx.Bucket(metaBucket).Delete(openKey) })
	}
	return errors.Join(err, r.db.Sync(), r.db.Close())
}

// spoil has the copy read no more, and made anew at the next start.
func (r *replica) spoil() {
	r.spoilt.Store(true)
	r.reach.Store(0)
}

// identity is that of the store that this is a copy of; empty: of none yet.
func (r *replica) identity() (id string) {
	_ = r.db.View(func(tx *bbolt.Tx) error { id = string(tx.Bucket(metaBucket).Get(identityOf)); return nil })
	return id
}

// identify begins the copy of a store: what there is is of no use any more.
func (r *replica) identify(id string) error {
	r.reach.Store(0)
	return r.update(func(tx *bbolt.Tx) error {
		meta := tx.Bucket(metaBucket)
		return errors.Join(meta.Put(revisionKey, number(0)), meta.Put(identityOf, []byte(id)))
	})
}

// revision is up to where the copy has come; 0: there is none.
func (r *replica) revision() int64 { return r.reach.Load() }

// begin begins to read everything anew, beside what there is.
func (r *replica) begin() error {
	r.pending, r.reading = nil, true
	return r.update(func(tx *bbolt.Tx) error {
		other := dataBuckets[1-r.inUse.Load()]
		if err := tx.DeleteBucket(other); err != nil && !errors.Is(err, berrors.ErrBucketNotFound) {
			return err
		}
		_, err := tx.CreateBucket(other)
		return err
	})
}

func (r *replica) page(page []store.KeyValue) error {
	return r.update(func(tx *bbolt.Tx) error {
		b := tx.Bucket(dataBuckets[1-r.inUse.Load()])
		b.FillPercent = 0.9 // they come in order
		for i := range page {
			if kv := &page[i]; kv.Err == nil && !store.Ephemeral(kv.Key) {
				if err := b.Put([]byte(kv.Key), encode(kv.Key, kv.Revision, kv.Value)); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

// end makes what was read the copy.
func (r *replica) end(revision int64) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.reading = false
	old := r.inUse.Load()
	err := r.update(func(tx *bbolt.Tx) error {
		meta := tx.Bucket(metaBucket)
		return errors.Join(tx.DeleteBucket(dataBuckets[old]), meta.Put(inUseKey, []byte{byte(1 - old)}), meta.Put(revisionKey, number(revision)))
	})
	if err == nil {
		r.inUse.Store(1 - old)
		r.reach.Store(revision)
	}
	return err
}

// change notes a change, which reached writes.
func (r *replica) change(e *store.Event) {
	if !store.Ephemeral(e.Key) {
		r.pending = append(r.pending, *e)
	}
}

// reached writes what has changed up to a revision.
func (r *replica) reached(revision int64) error {
	if r.reading || r.spoilt.Load() {
		return nil
	}
	if len(r.pending) == 0 {
		r.reach.Store(revision) // on the disk with the next change: until then a start reads a little more
		return nil
	}
	changes := r.pending
	r.pending = nil
	err := r.update(func(tx *bbolt.Tx) error {
		b := tx.Bucket(dataBuckets[r.inUse.Load()])
		for i := range changes {
			e := &changes[i]
			var err error
			if e.Value == nil { // deleted, or damaged: then it is read from the store alone
				err = b.Delete([]byte(e.Key))
			} else {
				err = b.Put([]byte(e.Key), encode(e.Key, e.Revision, e.Value))
			}
			if err != nil {
				return err
			}
		}
		return tx.Bucket(metaBucket).Put(revisionKey, number(revision))
	})
	if err == nil {
		r.reach.Store(revision)
	}
	return err
}

func number(n int64) []byte { return binary.BigEndian.AppendUint64(nil, uint64(n)) }

// view calls read with the bucket in use and the revision that it has come to.
func (r *replica) view(read func(b *bbolt.Bucket, revision int64) error) (err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	revision := r.reach.Load()
	if revision == 0 {
		return errNoCopy
	}
	defer func() {
		if errors.Is(err, errDamaged) {
			r.spoil()
		}
	}()
	defer guard(&err)()
	return r.db.View(func(tx *bbolt.Tx) error { return read(tx.Bucket(dataBuckets[r.inUse.Load()]), revision) })
}

// get returns a key-value of the copy and the copy's revision. store.ErrNotFound: the copy
// has none.
func (r *replica) get(key string) (kv store.KeyValue, revision int64, err error) {
	err = r.view(func(b *bbolt.Bucket, rev int64) error {
		revision = rev
		raw := b.Get([]byte(key))
		if raw == nil {
			return fmt.Errorf("reading key %q from the local copy: %w", key, store.ErrNotFound)
		}
		kv, err = decode(key, raw)
		return err
	})
	return kv, revision, err
}
