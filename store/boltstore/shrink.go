package boltstore

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"go.etcd.io/bbolt"
	"go.uber.org/zap"

	"github.com/apoxy-dev/caddy-apoxy/store"
)

// Shrink, the compaction beside serving, works in bounded steps:
//
//	copied  the entries and the history are copied into a new file beside, some at a time
//	caught  what was written meanwhile is copied after, again and again, until little is left
//	        that was; the file is flushed
//	final   the committer, which writes nothing else meanwhile, copies the rest and flushes
//	renamed the new file has the old one's name
//	swapped the directory is flushed, and the new file is the one that is written to
//
// Until it is renamed the old file is the store, and from then on the new one, which has the
// same in it: nothing is acknowledged in between.
const (
	shrinkEntries = 1024    // that are copied in one transaction
	shrinkBytes   = 1 << 20 // of them
	shrinkFlush   = 4 << 20 // are written until they are flushed
	shrinkFew     = 256     // keys that the committer may copy
	shrinkRounds  = 100     // to come down to so few
	shrinkPause   = 2       // times as long as a step the pause after it is
)

var (
	// ErrCompacting: it is being compacted already.
	ErrCompacting = errors.New("it is being compacted already")
	// errOutrun: more was written than could be copied.
	errOutrun = errors.New("more is written than can be copied beside: try again when less is")
	// errUpgrading: not all in the file is in the present format yet.
	errUpgrading = errors.New("it is still being brought to the present format: try again later")
	// errMoved: the file does not have its name any more.
	errMoved = errors.New("another file has its name now")
)

// touched are the keys that were written while the file is compacted.
type touched struct {
	mu   sync.Mutex
	keys map[string]struct{}
}

// add takes note of changes; t may be nil.
func (t *touched) add(events []store.Event) {
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for i := range events {
		t.keys[events[i].Key] = struct{}{}
	}
}

// take returns the keys and forgets them.
func (t *touched) take() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	keys := make([]string, 0, len(t.keys))
	for k := range t.keys {
		keys = append(keys, k)
	}
	clear(t.keys)
	return keys
}

// swap is what the committer is to do between two groups.
type swap struct {
	do   func() error
	done chan error
}

// atStep is told of each step; tests set it.
var atStep = func(string) {}

// Shrink makes the file smaller, as Compact does, while the store is in use, and returns
// its sizes in bytes before and after. Writers wait for some milliseconds at the end.
// ErrCompacting: somebody does so already; ErrReadOnly. Whatever goes wrong, the store is
// what it was.
func (s *Store) Shrink(ctx context.Context) (before, after int64, err error) {
	if s.readOnly {
		return 0, 0, fmt.Errorf("compacting %s: %w", s.path, ErrReadOnly)
	}
	if !s.compacting.TryLock() {
		return 0, 0, fmt.Errorf("compacting %s: %w", s.path, ErrCompacting)
	}
	defer s.compacting.Unlock()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() { // Close ends it
		select {
		case <-s.stop:
			cancel()
		case <-ctx.Done():
		}
	}()
	sh := shrinking{s: s, from: s.file.Load()}
	err = guard(s.path, func() error { before, after, err = sh.run(ctx); return err })
	if err != nil {
		select {
		case <-s.stop:
			err = store.ErrClosed
		default:
		}
		return 0, 0, fmt.Errorf("compacting %s: %w", s.path, err)
	}
	s.log.Info("the store's file was compacted", zap.String("file", s.path),
		zap.Int64("before", before), zap.Int64("after", after), zap.Duration("writers_waited", sh.held))
	return before, after, nil
}

// betweenGroups has the committer call do, and nothing be written meanwhile.
func (s *Store) betweenGroups(do func() error) error {
	w := swap{do: func() error { return guard(s.path, do) }, done: make(chan error, 1)}
	select {
	case s.swaps <- w:
		return <-w.done
	case <-s.stopped:
		return store.ErrClosed
	}
}

// shrinking is one run of Shrink.
type shrinking struct {
	s         *Store
	from, to  *opened
	path, tmp string
	info      os.FileInfo // of the old file
	touched   *touched
	past      []byte        // the last key of the history that was copied
	held      time.Duration // how long nothing was written
	unflushed int
}

func (sh *shrinking) run(ctx context.Context) (before, after int64, err error) {
	s := sh.s
	if err := sh.prepare(); err != nil {
		return 0, 0, err
	}
	defer func() {
		s.touched.Store(nil)
		if s.file.Load() != sh.to { // it came to nothing
			_ = sh.to.db.Close()
			_ = os.Remove(sh.tmp)
		} else if closeErr := sh.from.db.Close(); err == nil { // once its readers have ended
			err = closeErr
		}
	}()
	sh.touched = &touched{keys: map[string]struct{}{}}
	s.touched.Store(sh.touched) // before the first is read
	atStep("begun")
	if err := sh.copy(ctx, bucketEntries, nil); err != nil {
		return 0, 0, err
	}
	if err := sh.copy(ctx, bucketHistory, nil); err != nil {
		return 0, 0, err
	}
	atStep("copied")
	if err := sh.catchUp(ctx); err != nil {
		return 0, 0, err
	}
	atStep("caught")
	if err := s.betweenGroups(sh.finish); err != nil {
		return 0, 0, err
	}
	atStep("swapped")
	info, err := sh.to.file.Stat()
	if err != nil {
		return 0, 0, err
	}
	return sh.info.Size(), info.Size(), nil
}

// prepare makes the new file.
func (sh *shrinking) prepare() (err error) {
	s := sh.s
	packed := false
	if err := s.view(func(b bucket) error { b.sealed, packed = upgraded(b.Tx()); packed = packed && b.sealed; return nil }); err != nil {
		return err
	}
	if !packed {
		return errUpgrading
	}
	err = s.betweenGroups(func() error {
		if s.journal.broken {
			return errUpgrading // the next write drops what is there
		}
		return nil
	})
	if err != nil {
		return err
	}
	if sh.path, err = filepath.EvalSymlinks(s.path); err != nil {
		return err
	}
	if sh.info, err = sh.inPlace(); err != nil {
		return err
	}
	sh.tmp = beside(sh.path, compactingSuffix)
	if err := claim(sh.tmp); err != nil {
		return err
	}
	sh.to = &opened{}
	sh.to.db, err = bbolt.Open(sh.tmp, 0o600, &bbolt.Options{
		Timeout: DefaultLockTimeout, NoSync: true, NoStatistics: true, FreelistType: bbolt.FreelistMapType,
		PageSize: sh.from.db.Info().PageSize, InitialMmapSize: mapped(false),
		OpenFile: func(name string, flag int, mode os.FileMode) (f *os.File, err error) {
			f, err = os.OpenFile(name, flag, mode)
			sh.to.file = f
			return f, err
		},
	})
	if err == nil {
		err = errors.Join(os.Chmod(sh.tmp, sh.info.Mode().Perm()), own(sh.tmp, sh.info))
		if err != nil {
			_ = sh.to.db.Close()
		}
	}
	if err != nil {
		_ = os.Remove(sh.tmp)
	}
	return err
}

// inPlace returns what the old file is, if it has its name still.
func (sh *shrinking) inPlace() (os.FileInfo, error) {
	info, err := sh.from.file.Stat()
	if err != nil {
		return nil, err
	}
	if now, err := os.Stat(sh.path); err != nil || !os.SameFile(info, now) {
		return nil, errMoved
	}
	return info, nil
}

// finish copies the rest, puts the new file in the old one's place and has it written to
// from then on. It is the committer that calls it.
func (sh *shrinking) finish() error {
	s := sh.s
	began := time.Now()
	defer func() { sh.held = time.Since(began) }()
	if _, _, lost := s.hist.State(); lost != nil {
		return lost
	}
	pairs, err := sh.present(sh.touched.take())
	if err == nil {
		err = sh.rest(pairs)
	}
	if err == nil {
		_, err = sh.inPlace()
	}
	atStep("final")
	if err == nil {
		err = os.Rename(sh.tmp, sh.path)
	}
	if err != nil {
		return err
	}
	atStep("renamed")
	s.file.Store(sh.to) // whatever comes: the other has no name any more
	s.journal.wasteEvents = sweepEvents
	if err := syncDir(filepath.Dir(sh.path)); err != nil {
		s.failed(err, true)
		return err
	}
	return nil
}
