package boltstore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"syscall"

	"go.etcd.io/bbolt"
	"go.uber.org/zap"

	"github.com/apoxy-dev/caddy-apoxy/store"
	"github.com/apoxy-dev/caddy-apoxy/store/pack"
)

// What one flush takes at most: beyond it writers wait for the next.
const (
	groupWrites = 1024
	groupBytes  = 16 << 20
)

// maxValue leaves room for what stands beside a value in the file, in the
// history too.
const maxValue int64 = bbolt.MaxValueSize - bbolt.MaxKeySize - 256

// request is a Write on its way through the committer.
type request struct {
	ops []store.Op
	// packed is for each of ops how its value is kept if that is shorter; else nil.
	packed [][]byte
	bytes  int
	// taken decides between the committer, which takes the request up, and
	// the writer, which gives it up.
	taken atomic.Bool

	rev  int64
	err  error
	done chan struct{}
}

// errUnchanged rolls a transaction back that has nothing to write.
var errUnchanged = errors.New("nothing to write")

// Write implements store.Store. A Write that changes nothing returns the
// present revision. If the context ends before the write was taken up nothing
// is written; afterwards the outcome is waited for.
func (s *Store) Write(ctx context.Context, ops ...store.Op) (int64, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	if err := validate(ops); err != nil {
		return 0, err
	}
	if s.readOnly {
		return 0, fmt.Errorf("writing %s: %w", s.path, ErrReadOnly)
	}
	r := &request{ops: ops, packed: make([][]byte, len(ops)), done: make(chan struct{})}
	for i := range ops {
		r.bytes += len(ops[i].Key) + len(ops[i].Value)
		if !ops[i].Check {
			r.packed[i] = pack.Value(ops[i].Value) // here, where all writers do it at once
		}
	}
	select {
	case <-s.stop:
		return 0, store.ErrClosed
	default:
	}
	select {
	case s.queue <- r:
	case <-s.stop:
		return 0, store.ErrClosed
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	select {
	case <-r.done:
	case <-s.stopped:
		if r.taken.CompareAndSwap(false, true) {
			return 0, store.ErrClosed
		}
		<-r.done
	case <-ctx.Done():
		if r.taken.CompareAndSwap(false, true) {
			return 0, ctx.Err()
		}
		<-r.done
	}
	return r.rev, r.err
}

func validate(ops []store.Op) error {
	seen := make(map[string]struct{}, len(ops))
	for i := range ops {
		op := &ops[i]
		switch {
		case op.Key == "":
			return fmt.Errorf("writing op %d: its key is empty", i)
		case len(op.Key) > bbolt.MaxKeySize:
			return fmt.Errorf("writing key %.40q…: %d bytes long, at most %d are kept", op.Key, len(op.Key), bbolt.MaxKeySize)
		case int64(len(op.Value)) > maxValue:
			return fmt.Errorf("writing key %q: its value has %d bytes, at most %d are kept", op.Key, len(op.Value), maxValue)
		case op.If < store.Any:
			return fmt.Errorf("writing key %q: condition %d is neither Any, Absent nor a revision", op.Key, op.If)
		}
		if _, twice := seen[op.Key]; twice {
			return fmt.Errorf("writing key %q: it stands twice in one write", op.Key)
		}
		seen[op.Key] = struct{}{}
	}
	return nil
}

// commits is the committer: the one goroutine that writes.
func (s *Store) commits() {
	defer close(s.stopped)
	for {
		select {
		case <-s.stop:
			return
		case r := <-s.queue:
			s.commit(s.gather(r))
		case <-s.sealer.due():
			s.seal()
		case w := <-s.swaps:
			w.done <- w.do()
		}
	}
}

// gather adds to first whatever else waits already, and waits for nothing.
func (s *Store) gather(first *request) []*request {
	var group []*request
	size := 0
	for r := first; ; {
		if r.taken.CompareAndSwap(false, true) {
			group = append(group, r)
			size += r.bytes
		}
		if len(group) >= groupWrites || size >= groupBytes {
			return group
		}
		select {
		case r = <-s.queue:
		default:
			return group
		}
	}
}

// commit applies a group in one transaction and answers its writers.
func (s *Store) commit(group []*request) {
	if len(group) == 0 {
		return
	}
	defer func() {
		for _, r := range group {
			close(r.done)
		}
	}()
	rev, floor, lost := s.hist.State()
	if lost != nil {
		fail(group, lost)
		return
	}
	var made changes
	applied, swept := false, false
	err := guard(s.path, func() error {
		return s.file.Load().db.Update(func(tx *bbolt.Tx) (err error) {
			grow(tx)
			if made, rev, err = s.applyGroup(tx, group, rev); err != nil {
				return err
			}
			if swept, err = s.journal.add(tx, made, floor, rev); err != nil {
				return err
			}
			applied = true
			return nil
		})
	})
	switch {
	case errors.Is(err, errUnchanged):
	case err == nil:
		gone, size := s.hist.Publish(made.events, rev)
		s.journal.added(swept, gone, size)
		s.touched.Load().add(made.events)
	default:
		err = fmt.Errorf("writing %s: %w", s.path, err)
		s.failed(err, applied)
		fail(group, err)
	}
}

// applyGroup applies a group's requests to the entries, which stand at revision rev,
// and returns their changes and the revision after them; errUnchanged if there are
// none. A conflict is the error of its request alone.
func (s *Store) applyGroup(tx *bbolt.Tx, group []*request, rev int64) (made changes, now int64, err error) {
	b := tx.Bucket(bucketEntries)
	if b == nil {
		return made, rev, fmt.Errorf("writing %s: %w: bucket %q is missing", s.path, ErrCorrupt, bucketEntries)
	}
	entries := bucket{b, s.sealed.Load()}
	for _, r := range group {
		n := len(made.events)
		if r.err = made.apply(entries, r, rev+1); r.err != nil {
			var conflict *store.ConflictError
			if !errors.As(r.err, &conflict) {
				return made, rev, r.err
			}
		} else if len(made.events) > n {
			rev++
		}
		r.rev = rev
	}
	if len(made.events) == 0 {
		return made, rev, errUnchanged
	}
	return made, rev, b.SetSequence(uint64(rev))
}

// failed decides what a failed commit means. What failed before bbolt began to
// commit was rolled back. A full disk has left everything as it was and may have
// room again for the next write. After any other error, a failed flush above
// all, nobody can tell what the disk holds: writing on could destroy what was
// acknowledged, so nothing is written any more until the file is opened anew.
func (s *Store) failed(err error, committing bool) {
	panicked := errors.Is(err, errPanic)
	switch {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		s.log.Error("store is full: make room on its disk", zap.String("file", s.path), zap.Error(err))
		return
	case !committing && !panicked:
		return
	case panicked:
		s.wedged.Store(true)
	}
	s.log.Error("store stopped writing: check the disk and restart", zap.String("file", s.path), zap.Error(err))
	s.hist.Lose(fmt.Errorf("%w (the store takes no more writes until it is opened anew)", err))
}

func fail(group []*request, err error) {
	for _, r := range group {
		r.rev, r.err = 0, err
	}
}

// apply checks the conditions of one Write and, if all hold, applies it at
// revision rev, appending its changes.
func (m *changes) apply(b bucket, r *request, rev int64) error {
	type state struct {
		rev    int64
		value  []byte
		packed []byte
		err    error // the value is damaged
	}
	before := make([]state, len(r.ops))
	for i := range r.ops {
		op, was := &r.ops[i], &before[i]
		if raw := b.Get([]byte(op.Key)); raw != nil {
			if was.rev = b.revision(raw); !op.Check {
				_, was.value, was.err = b.decode([]byte(op.Key), raw)
				was.packed = bytes.Clone(packedIn(raw)) // Put may move the page under it
			}
		}
		if op.If != store.Any && op.If != was.rev {
			return &store.ConflictError{Key: op.Key, Revision: was.rev}
		}
	}
	for i := range r.ops {
		op, was := &r.ops[i], &before[i]
		switch {
		case op.Check:
			continue
		case op.Value != nil:
			if err := b.Put([]byte(op.Key), encodeValue(op.Key, rev, op.Value, r.packed[i])); err != nil {
				return fmt.Errorf("putting key %q: %w", op.Key, err)
			}
		case was.rev == 0:
			continue
		default:
			if err := b.Delete([]byte(op.Key)); err != nil {
				return fmt.Errorf("deleting key %q: %w", op.Key, err)
			}
		}
		if was.err != nil {
			was.packed = nil
		}
		m.events = append(m.events, store.Event{
			Key: op.Key, Value: op.Value, Revision: rev,
			Previous: was.value, PreviousRevision: was.rev, PreviousErr: was.err,
		})
		m.packed = append(m.packed, was.packed)
	}
	return nil
}
