package boltstore

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strconv"
	"time"

	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"
	"go.uber.org/zap"

	"github.com/apoxy-dev/caddy-apoxy/store"
	"github.com/apoxy-dev/caddy-apoxy/store/history"
)

// Open opens the store in the file at path and creates it, with its directory,
// if there is none. A file that it refuses is left as it is, byte for byte:
// ErrLocked, ErrCorrupt (an empty file too) and ErrNewerFormat say why, with
// what to do about it. A file of an earlier format is brought to this version's.
func Open(path string, o Options) (*Store, error) {
	o = o.withDefaults()
	if !o.ReadOnly {
		if err := create(path); err != nil {
			return nil, err
		}
	}
	opened := make(chan struct{})
	go readAhead(path, opened)
	s, err := openAnd(path, o)
	if err != nil || o.ReadOnly {
		close(opened)
	} else {
		go func() { <-s.stop; close(opened) }()
	}
	return s, err
}

// openAnd opens the file, which exists, and brings it to this version's format.
func openAnd(path string, o Options) (*Store, error) {
	// Read-only first: whatever is found wrong, nothing has been written yet.
	db, file, err := open(path, o.LockTimeout, true)
	if err != nil {
		return nil, err
	}
	rest := false
	err = guard(path, func() (err error) { rest, err = inspect(path, db, file, o.verifyTime); return err })
	if o.ReadOnly && err == nil {
		return start(path, db, file, rest, o)
	}
	if closeErr := db.Close(); err == nil && closeErr != nil {
		err = fmt.Errorf("closing %s: %w", path, closeErr)
	}
	if err != nil {
		return nil, err
	}
	db, file, err = open(path, o.LockTimeout, false)
	if err != nil {
		return nil, err
	}
	if err := guard(path, func() error { return upgrade(db) }); err != nil {
		if errors.Is(err, errPanic) {
			_ = file.Close() // bbolt's own Close would wait for the transaction
		} else {
			_ = db.Close()
		}
		return nil, fmt.Errorf("bringing %s to format %d: %w", path, format, err)
	}
	return start(path, db, file, rest, o)
}

// start makes a Store of a file that was found in order; rest: as far as it was looked at.
func start(path string, db *bbolt.DB, file *os.File, rest bool, o Options) (*Store, error) {
	s := &Store{
		path: path, log: o.Logger, readOnly: o.ReadOnly,
		queue: make(chan *request, 256), stop: make(chan struct{}), stopped: make(chan struct{}), swaps: make(chan swap),
	}
	s.file.Store(&opened{db, file})
	packed := false
	if err := s.view(func(b bucket) error {
		b.sealed, packed = upgraded(b.Tx())
		s.sealed.Store(b.sealed)
		s.resume(b, o)
		return nil
	}); err != nil {
		_ = db.Close()
		return nil, err
	}
	if !(s.sealed.Load() && packed) && !o.ReadOnly {
		s.sealer.pause = time.NewTimer(sealPause)
	}
	go s.commits()
	if !o.ReadOnly {
		_ = os.Remove(beside(path, compactingSuffix)) // who left it has ended: we have the lock
		if o.compactEvery > 0 {
			s.watching.Go(func() { s.compactWhenDue(o.compactEvery) })
		}
	}
	if rest {
		s.inspecting.Go(s.inspectRest)
	}
	return s, nil
}

// resume goes on with the history in the file. If that cannot be relied on it is
// dropped, and revisions before the present one have expired.
func (s *Store) resume(b bucket, o Options) {
	p, err := recall(b, o.History, o.HistoryBytes)
	if err != nil {
		s.journal.broken = true // the next write replaces it
		s.log.Warn("the history in the store's file cannot be used and is dropped: watches from earlier revisions begin anew",
			zap.String("file", s.path), zap.Error(err))
	}
	if p.waste {
		s.journal.wasteEvents = sweepEvents
	}
	s.hist = history.New(int64(b.Sequence()), p.floor, p.events, o.History, o.HistoryBytes)
}

// open opens an existing file with bbolt. Where the file was replaced while its lock was
// waited for, as by Compact, it opens the one that is there now.
func open(path string, timeout time.Duration, readOnly bool) (*bbolt.DB, *os.File, error) {
	for {
		db, file, err := openOnce(path, timeout, readOnly)
		if err != nil {
			return nil, nil, err
		}
		opened, err := file.Stat()
		if err == nil {
			var now os.FileInfo
			if now, err = os.Stat(path); err == nil && os.SameFile(opened, now) {
				return db, file, nil
			}
		}
		_ = db.Close() // nothing was written
		if err != nil {
			return nil, nil, fmt.Errorf("opening the store %s: %w", path, err)
		}
	}
}

func openOnce(path string, timeout time.Duration, readOnly bool) (*bbolt.DB, *os.File, error) {
	var db *bbolt.DB
	var file *os.File
	err := guard(path, func() (err error) {
		db, err = bbolt.Open(path, 0o600, &bbolt.Options{
			Timeout: timeout, ReadOnly: readOnly, NoStatistics: true, InitialMmapSize: mapped(readOnly),
			FreelistType: bbolt.FreelistMapType,
			OpenFile: func(name string, flag int, mode os.FileMode) (*os.File, error) {
				f, err := os.OpenFile(name, flag&^os.O_CREATE, mode)
				if err != nil {
					return nil, err
				}
				if err := plausible(path, f); err != nil {
					_ = f.Close()
					return nil, err
				}
				file = f
				return f, nil
			},
		})
		return err
	})
	switch {
	case err == nil:
		return db, file, nil
	case errors.Is(err, berrors.ErrTimeout):
		err = fmt.Errorf("opening %s: %w: stop the other process that uses it, or name another file", path, ErrLocked)
	case errors.Is(err, berrors.ErrVersionMismatch):
		err = fmt.Errorf("opening %s: %w: its bolt file format is another; use the version that wrote it or name another file", path, ErrNewerFormat)
	case errors.Is(err, berrors.ErrInvalid), errors.Is(err, berrors.ErrChecksum), errors.Is(err, berrors.ErrInvalidMapping):
		err = fmt.Errorf("opening %s: %w: %v; %s", path, ErrCorrupt, err, mend)
	case !errors.Is(err, ErrCorrupt):
		err = fmt.Errorf("opening the store %s: %w", path, err)
	}
	if errors.Is(err, errPanic) && file != nil {
		_ = file.Close() // bbolt did not get to it; the lock must go
	}
	return nil, nil, err
}

const mend = "put a backup in its place, or move it away to begin with an empty store"

// plausible refuses what cannot be a store before bbolt looks at it, above all
// an empty file, which bbolt would take for a new one.
func plausible(path string, f *os.File) error {
	info, err := f.Stat()
	switch {
	case err != nil:
		return err
	case !info.Mode().IsRegular():
		return fmt.Errorf("opening %s: %w: it is no regular file; name another", path, ErrCorrupt)
	case info.Size() == 0:
		return fmt.Errorf("opening %s: %w: the file is empty; %s", path, ErrCorrupt, mend)
	case info.Size() < minSize:
		return fmt.Errorf("opening %s: %w: %d bytes are there of at least %d; %s", path, ErrCorrupt, info.Size(), minSize, mend)
	}
	return nil
}

// minSize is what bbolt gives a new file, four of its smallest pages.
const minSize = 4 * 4096

// inspect refuses a file that is not ours, is newer than this program, or is
// visibly damaged. rest: it is so large that not all pages were looked at.
func inspect(path string, db *bbolt.DB, file *os.File, within time.Duration) (rest bool, err error) {
	info, err := file.Stat()
	if err != nil {
		return false, fmt.Errorf("opening store: %w", err)
	}
	if rest, err = verify(file, info.Size(), db.Info().PageSize, within); err != nil {
		return false, fmt.Errorf("opening %s: %w: %w; %s", path, ErrCorrupt, err, mend)
	}
	return rest, db.View(func(tx *bbolt.Tx) error {
		meta := tx.Bucket(bucketMeta)
		if meta == nil {
			return fmt.Errorf("opening %s: %w: it is another program's bolt file; name another file", path, ErrCorrupt)
		}
		raw := string(meta.Get(keyFormat))
		version, err := strconv.Atoi(raw)
		switch {
		case err != nil || version < 1:
			return fmt.Errorf("opening %s: %w: its format version reads %.20q; %s", path, ErrCorrupt, raw, mend)
		case version > format:
			return fmt.Errorf("opening %s: %w: its format is %d, this program knows up to %d; use the version that wrote it or name another file",
				path, ErrNewerFormat, version, format)
		}
		if b := tx.Bucket(bucketEntries); b == nil || b.Sequence() < uint64(store.FirstRevision) {
			return fmt.Errorf("opening %s: %w: its entries are missing; %s", path, ErrCorrupt, mend)
		}
		return nil
	})
}

// create makes the file if there is none. It appears whole or not at all: it
// is written beside its place and linked there.
func create(path string) error {
	if _, err := os.Stat(path); err == nil || !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("creating store: %w", err)
	}
	tmp, err := os.CreateTemp(dir, "."+filepath.Base(path)+".*.new")
	if err != nil {
		return fmt.Errorf("creating store: %w", err)
	}
	defer func() { _ = os.Remove(tmp.Name()) }()
	if err := tmp.Close(); err != nil {
		return fmt.Errorf("creating store: %w", err)
	}
	if err := initialize(tmp.Name(), store.FirstRevision); err != nil {
		return fmt.Errorf("creating store %s: %w", path, err)
	}
	if err := place(tmp.Name(), path); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("creating store: %w", err)
	}
	return syncDir(dir)
}

// place gives the file tmp the name path, too, or instead, if nothing has that; else the
// error is fs.ErrExist.
func place(tmp, path string) error {
	err := os.Link(tmp, path)
	if err != nil && !errors.Is(err, fs.ErrExist) {
		// A file system without links. Nothing stood there a moment ago.
		if _, statErr := os.Lstat(path); errors.Is(statErr, fs.ErrNotExist) {
			err = os.Rename(tmp, path)
		}
	}
	return err
}

// initialize makes an empty store of the empty file at path, which stands at a revision.
func initialize(path string, revision int64) error {
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{FreelistType: bbolt.FreelistMapType, NoStatistics: true})
	if err != nil {
		return err
	}
	err = db.Update(func(tx *bbolt.Tx) error {
		meta, err := tx.CreateBucket(bucketMeta)
		if err != nil {
			return err
		}
		if err := meta.Put(keyFormat, []byte(strconv.Itoa(format))); err != nil {
			return err
		}
		if err := errors.Join(meta.Put(keySealed, valueSealed), meta.Put(keyPacked, valuePacked)); err != nil {
			return err
		}
		b, err := tx.CreateBucket(bucketEntries)
		if err != nil {
			return err
		}
		return b.SetSequence(uint64(revision))
	})
	if closeErr := db.Close(); err == nil {
		err = closeErr
	}
	return err
}

// syncDir makes the entry of a new file in its directory durable.
func syncDir(dir string) error {
	if runtime.GOOS == "windows" {
		return nil // directories cannot be flushed there
	}
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("flushing directory: %w", err)
	}
	err = d.Sync()
	if closeErr := d.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return fmt.Errorf("flushing directory %s: %w", dir, err)
	}
	return nil
}

// errPanic marks errors that bbolt raised by panicking.
var errPanic = errors.New("reading its pages failed")

// guard runs fn, which works on the mapped file, and turns what bbolt does on
// damaged pages, panics and memory faults, into an error.
func guard(path string, fn func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("using %s: %w: %w: %v; %s", path, ErrCorrupt, errPanic, p, mend)
		}
	}()
	return fn()
}
