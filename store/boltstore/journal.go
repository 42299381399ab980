package boltstore

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"go.etcd.io/bbolt"

	"github.com/apoxy-dev/caddy-apoxy/store"
	"github.com/apoxy-dev/caddy-apoxy/store/history"
)

var (
	bucketHistory = []byte("history")
	// keyHistory, in bucketMeta, is the span of the history: two big-endian uint64.
	// The history holds every change after the first revision up to the second;
	// earlier changes in it are waste. After a program that knows nothing of it has
	// written, the second revision is behind the store's, and the history is dropped.
	keyHistory = []byte("history")
)

const spanBytes = 16

// Waste is swept out in the transactions that add to the history, once there is
// so much of it, and a bounded number of changes at a time.
const (
	sweepEvents = 128
	sweepBytes  = 1 << 20
	sweepMost   = 512
)

// journal keeps the history in the file. It belongs to the committer.
type journal struct {
	// broken: the history in the file has a gap or a fault and must be dropped.
	broken bool
	// wasteEvents and wasteBytes are at most what has become waste since
	// there was none.
	wasteEvents, wasteBytes int
}

// add puts changes, all those after the revision that the history reaches, into
// the transaction that makes them. Changes up to floor are no longer wanted.
// It reports whether no waste is left, once the transaction is committed.
func (j *journal) add(tx *bbolt.Tx, made changes, floor, upto int64) (swept bool, err error) {
	if j.broken && tx.Bucket(bucketHistory) != nil {
		if err := tx.DeleteBucket(bucketHistory); err != nil {
			return false, fmt.Errorf("dropping the history: %w", err)
		}
	}
	meta := tx.Bucket(bucketMeta)
	if meta == nil {
		return false, fmt.Errorf("%w: bucket %q is missing", ErrCorrupt, bucketMeta)
	}
	b, err := tx.CreateBucketIfNotExists(bucketHistory)
	if err != nil {
		return false, fmt.Errorf("keeping the history: %w", err)
	}
	b.FillPercent = 0.9 // it grows at its end alone
	events := made.events
	if j.wasteEvents >= sweepEvents || j.wasteBytes >= sweepBytes {
		if swept, err = sweep(b, floor, max(sweepMost, 2*len(events))); err != nil {
			return false, fmt.Errorf("trimming the history: %w", err)
		}
	}
	index := 0
	for i := range events {
		e := &events[i]
		if i > 0 && e.Revision != events[i-1].Revision {
			index = 0
		}
		last := i == len(events)-1 || events[i+1].Revision != e.Revision
		k := encodeChangeKey(e.Revision, index)
		if err := b.Put(k, encodeChange(k, e, made.packed[i], last)); err != nil {
			return false, fmt.Errorf("keeping the history: %w", err)
		}
		index++
	}
	span := binary.BigEndian.AppendUint64(make([]byte, 0, spanBytes), uint64(floor))
	span = binary.BigEndian.AppendUint64(span, uint64(upto))
	if err := meta.Put(keyHistory, span); err != nil {
		return false, fmt.Errorf("keeping the history: %w", err)
	}
	return swept, nil
}

// added takes note that a transaction was committed, and of how many events, of
// how many bytes, the history in memory let go after it.
func (j *journal) added(swept bool, events, size int) {
	j.broken = false
	if swept {
		j.wasteEvents, j.wasteBytes = 0, 0
	}
	j.wasteEvents += events
	j.wasteBytes += size
}

// sweep deletes changes up to revision floor, the oldest first and at most so
// many, and reports whether none is left.
func sweep(b *bbolt.Bucket, floor int64, most int) (bool, error) {
	var keys [][]byte
	c := b.Cursor()
	for k, _ := c.First(); k != nil && len(keys) < most; k, _ = c.Next() {
		rev, _, err := decodeChangeKey(k)
		if err != nil {
			return false, err
		}
		if rev > floor {
			break
		}
		keys = append(keys, bytes.Clone(k))
	}
	for _, k := range keys {
		if err := b.Delete(k); err != nil {
			return false, err
		}
	}
	return len(keys) < most, nil
}

// errUnkept: the store was written to by a program that keeps no history in
// the file.
var errUnkept = errors.New("it does not reach the present revision")

// past is the history as it was found in the file.
type past struct {
	events []store.Event // oldest first
	floor  int64
	waste  bool // the file holds changes up to floor
}

// recall reads, from the newest back, as much of the history as the bounds
// allow. Any error means that the history cannot be relied on, and that of the
// store itself nothing is wrong.
func recall(b bucket, limit, maxBytes int) (past, error) {
	none := past{floor: int64(b.Sequence())}
	meta, changes := b.Tx().Bucket(bucketMeta), b.Tx().Bucket(bucketHistory)
	var span []byte
	if meta != nil {
		span = meta.Get(keyHistory)
	}
	if span == nil && changes == nil {
		return none, nil
	}
	if changes == nil || len(span) != spanBytes {
		return none, fmt.Errorf("%w: half of it is missing", errNonsense)
	}
	floor, upto := int64(binary.BigEndian.Uint64(span)), int64(binary.BigEndian.Uint64(span[8:]))
	switch {
	case upto != none.floor:
		return none, errUnkept
	case floor < store.FirstRevision || floor > upto:
		return none, fmt.Errorf("%w: it reaches from revision %d to %d", errNonsense, floor, upto)
	}
	r := recaller{entries: b, floor: floor, upto: upto, limit: limit, maxBytes: maxBytes, later: map[string]store.Event{}}
	if err := r.read(changes.Cursor()); err != nil {
		return none, err
	}
	slices.Reverse(r.events)
	return past{events: r.events, floor: r.floor, waste: r.waste}, nil
}

// recaller walks back through the history in a file.
type recaller struct {
	entries         bucket
	floor, upto     int64
	limit, maxBytes int

	events []store.Event // newest first
	bytes  int
	waste  bool
	// later is the next later change of a key.
	later map[string]store.Event
}

func (r *recaller) read(c *bbolt.Cursor) error {
	// What must come next: the last change of revision rev or, if open, the
	// one at index of it.
	rev, index, open := r.upto, 0, false
	k, raw := c.Last()
	for ; k != nil; k, raw = c.Prev() {
		at, _, err := decodeChangeKey(k)
		if err != nil {
			return err
		}
		if at <= r.floor {
			break
		}
		ch, err := decodeChange(k, raw)
		if err != nil {
			return err
		}
		if at != rev || ch.last() == open || open && ch.index != index {
			return fmt.Errorf("%w: after revision %d there is a gap", errNonsense, at)
		}
		e, err := r.event(k, &ch)
		if err != nil {
			return err
		}
		if size := history.EventBytes(&e); at == r.upto || len(r.events) < r.limit && r.bytes+size <= r.maxBytes {
			r.events = append(r.events, e)
			r.bytes += size
			r.later[e.Key] = e
		} else {
			r.floor = at
			break
		}
		if open, index = ch.index > 0, ch.index-1; !open {
			rev--
		}
	}
	if rev > r.floor || open && rev != r.floor {
		return fmt.Errorf("%w: revision %d is not there", errNonsense, rev)
	}
	r.waste = k != nil
	for ; k != nil; k, raw = c.Prev() {
		if _, _, err := decodeChangeKey(k); err != nil {
			return err
		}
		if raw == nil {
			return fmt.Errorf("%w: a bucket", errNonsense)
		}
	}
	return nil
}

// event completes a change that stands at k.
func (r *recaller) event(k []byte, c *change) (store.Event, error) {
	value, damaged, err := r.value(c)
	switch {
	case err != nil:
		return store.Event{}, err
	case damaged != nil:
		return c.without(damaged), nil
	}
	return c.complete(k, value)
}

// value finds the value that a change set; nil: it deleted the key. Damaged is
// the error that is in its place.
func (r *recaller) value(c *change) (value []byte, damaged, err error) {
	key, at := c.event.Key, c.event.Revision
	rev := int64(0)
	if next, ok := r.later[key]; ok {
		rev, value, damaged = next.PreviousRevision, next.Previous, next.PreviousErr
	} else if raw := r.entries.Get([]byte(key)); raw != nil {
		rev, value, damaged = r.entries.decode([]byte(key), raw)
	}
	switch {
	case damaged != nil && c.deleted():
		return nil, nil, nil // what stands there now got there by its damage
	case damaged != nil:
		return nil, lost(key, at), nil
	case rev != 0 && rev != at || (rev == 0) != c.deleted():
		return nil, nil, fmt.Errorf("%w: key %.60q was at revision %d and then at %d", errNonsense, key, at, rev)
	}
	return value, nil, nil
}
