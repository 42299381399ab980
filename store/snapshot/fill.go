package snapshot

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/apoxy-dev/caddy-apoxy/store"
)

// What one write holds at most, a single value aside: etcdstore takes 125 operations and
// 1.5 MiB. One operation is the condition on FillingKey.
const (
	batchKeys  = 124
	batchBytes = 1 << 20
)

// NotEmptyError says that a store holds something, so that it is not filled.
type NotEmptyError struct {
	// Key is one that it holds.
	Key string
}

func (e *NotEmptyError) Error() string {
	if store.OfSession(e.Key) {
		return fmt.Sprintf("it is in use: it holds the key %.200q; stop the Caddy that uses it, or name another store", e.Key)
	}
	return fmt.Sprintf("it holds data, such as the key %.200q; nothing is ever overwritten: name an empty store, for etcd another prefix, or remove what is there", e.Key)
}

// Vacant returns nil if Fill may fill st: it holds nothing that a copy would hold and no
// process uses it, or another Fill did not come to its end. The error is a *NotEmptyError
// otherwise.
func Vacant(ctx context.Context, st store.Store) error {
	_, err := begun(ctx, st)
	return err
}

// begun returns the revision of FillingKey; 0: st is empty.
func begun(ctx context.Context, st store.Store) (int64, error) {
	mark, _, err := st.Get(ctx, FillingKey)
	switch {
	case err == nil, errors.Is(err, store.ErrDamaged):
		return mark.Revision, nil
	case !errors.Is(err, store.ErrNotFound):
		return 0, err
	}
	used := ""
	for o := (store.ListOptions{Limit: batchKeys}); ; {
		res, err := st.List(ctx, "", o)
		if err != nil {
			return 0, err
		}
		for i := range res.KeyValues {
			switch o.After = res.KeyValues[i].Key; {
			case !store.Ephemeral(o.After):
				return 0, &NotEmptyError{Key: o.After}
			case store.OfSession(o.After):
				used = o.After
			}
		}
		if !res.More && used != "" {
			return 0, &NotEmptyError{Key: used}
		}
		if !res.More {
			return 0, nil
		}
	}
}

// Fill writes the stream that f holds from its start into st, which is empty or was filled
// by a Fill that did not come to its end. It then reads both once more and compares them.
// f is to have been found whole by Check. After an error, st is known not to be whole.
func Fill(ctx context.Context, st store.Store, f io.ReadSeeker, now time.Time) (Sum, error) {
	l := filler{st: st}
	if err := l.begin(ctx, f, now); err != nil {
		return Sum{}, err
	}
	err := l.each(ctx, f, l.put)
	if err == nil {
		err = l.flush(ctx)
	}
	if err != nil {
		return Sum{}, fmt.Errorf("writing: %w", taken(err))
	}
	sum, err := l.compare(ctx, f)
	if err != nil {
		return Sum{}, fmt.Errorf("comparing: %w", err)
	}
	if err := l.end(ctx); err != nil {
		return Sum{}, fmt.Errorf("writing the last key: %w", taken(err))
	}
	return sum, nil
}

// taken says of a conflict what it means here.
func taken(err error) error {
	var conflict *store.ConflictError
	if errors.As(err, &conflict) {
		return fmt.Errorf("somebody else writes to this store, too: stop them and begin again: %w", err)
	}
	return err
}

type filler struct {
	st     store.Store
	origin origin
	mark   int64 // the revision of FillingKey while it is ours
	ops    []store.Op
	bytes  int
}

// begin takes the store and empties it of what another Fill has left.
func (l *filler) begin(ctx context.Context, f io.ReadSeeker, now time.Time) error {
	if err := l.read(f, func(d *Reader) error { l.origin = origin{Of: d.Header(), Begun: now.UTC()}; return nil }); err != nil {
		return err
	}
	before, err := begun(ctx, l.st)
	if err != nil {
		return err
	}
	raw, err := json.Marshal(l.origin)
	if err != nil {
		return err
	}
	if l.mark, err = l.st.Write(ctx, store.Op{Key: FillingKey, Value: raw, If: before}); err != nil {
		return fmt.Errorf("taking the store: %w", taken(err))
	}
	if before == 0 {
		return nil
	}
	return l.empty(ctx)
}

// empty removes everything but FillingKey.
func (l *filler) empty(ctx context.Context) error {
	var o store.ListOptions
	for o.Limit = batchKeys; ; {
		var res store.ListResult
		err := patiently(ctx, func(bool) (err error) { res, err = l.st.List(ctx, "", o); return err })
		if err != nil {
			return fmt.Errorf("removing what was left unfinished: %w", err)
		}
		for i := range res.KeyValues {
			if o.After = res.KeyValues[i].Key; o.After != FillingKey {
				l.ops = append(l.ops, store.Op{Key: o.After, If: store.Any})
			}
		}
		if err := l.flush(ctx); err != nil {
			return fmt.Errorf("removing what was left unfinished: %w", taken(err))
		}
		if !res.More {
			return nil
		}
	}
}

// read begins to read the stream in f, for fn.
func (l *filler) read(f io.ReadSeeker, fn func(*Reader) error) error {
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return err
	}
	d, err := NewReader(f)
	if err != nil {
		return err
	}
	defer d.Close()
	return fn(d)
}

// each calls fn for each whole value of the stream in f.
func (l *filler) each(ctx context.Context, f io.ReadSeeker, fn func(context.Context, Entry) error) error {
	return l.read(f, func(d *Reader) error {
		for {
			e, err := d.Next()
			switch {
			case errors.Is(err, io.EOF):
				return nil
			case err == nil:
				err = ctx.Err()
			}
			if err != nil {
				return err
			}
			if e.Damaged != "" || store.Ephemeral(e.Key) {
				continue
			}
			if err := fn(ctx, e); err != nil {
				return err
			}
		}
	})
}

// put adds a value to the next write, which it makes if that is full.
func (l *filler) put(ctx context.Context, e Entry) error {
	size := 3*len(e.Key) + len(e.Value)
	if len(l.ops) == batchKeys || len(l.ops) > 0 && l.bytes+size > batchBytes {
		if err := l.flush(ctx); err != nil {
			return err
		}
	}
	l.ops = append(l.ops, store.Op{Key: e.Key, Value: e.Value, If: store.Absent})
	l.bytes += size
	return nil
}

// flush makes the write.
func (l *filler) flush(ctx context.Context) error {
	if len(l.ops) == 0 {
		return nil
	}
	ops := append(l.ops, store.Op{Key: FillingKey, If: l.mark, Check: true})
	l.ops, l.bytes = nil, 0 // the store may keep the others
	return patiently(ctx, func(unknown bool) error {
		_, err := l.st.Write(ctx, ops...)
		var conflict *store.ConflictError
		if unknown && errors.As(err, &conflict) && conflict.Key != FillingKey {
			return nil // it had been written: only we write here, and compare tells if not
		}
		return err
	})
}

// compare reads the store and the stream side by side.
func (l *filler) compare(ctx context.Context, f io.ReadSeeker) (sum Sum, err error) {
	w := walker{st: l.st}
	err = l.read(f, func(d *Reader) error {
		err := l.sameAs(ctx, d, &w)
		sum = d.Sum()
		return err
	})
	return sum, err
}

func (l *filler) sameAs(ctx context.Context, d *Reader, w *walker) error {
	for {
		want, err := d.Next()
		end := errors.Is(err, io.EOF)
		if err != nil && !end {
			return err
		}
		if want.Damaged != "" || store.Ephemeral(want.Key) {
			continue
		}
		got, more, err := w.next(ctx)
		switch {
		case err != nil:
			return err
		case end && more:
			return fmt.Errorf("the key %.200q was not written by us: somebody else uses this store: stop them and begin again", got.Key)
		case end:
			return nil
		case !more || got.Key > want.Key:
			return fmt.Errorf("the key %.200q is missing: %w", want.Key, errDiffers)
		case got.Err != nil:
			return got.Err
		case got.Key != want.Key, string(got.Value) != string(want.Value):
			return fmt.Errorf("the key %.200q: %w", got.Key, errDiffers)
		}
	}
}

var errDiffers = errors.New("the store does not hold what was written to it: somebody else uses it, or its disk fails")

// end makes the store whole.
func (l *filler) end(ctx context.Context) error {
	raw, err := json.Marshal(l.origin)
	if err != nil {
		return err
	}
	return patiently(ctx, func(unknown bool) error {
		_, err := l.st.Write(ctx, store.Op{Key: FillingKey, If: l.mark}, store.Op{Key: FilledKey, Value: raw, If: store.Any})
		var conflict *store.ConflictError
		if unknown && errors.As(err, &conflict) {
			if kv, _, getErr := l.st.Get(ctx, FilledKey); getErr == nil && bytes.Equal(kv.Value, raw) {
				return nil // it had been written
			}
		}
		return err
	})
}
