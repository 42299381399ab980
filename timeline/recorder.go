package timeline

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/apoxy-dev/caddy-apoxy/store"
)

const (
	// maxPending bounds the events that wait to be written.
	maxPending = 1 << 15
	// settle is how long a record's events wait for others of it, so the least time
	// between two writes of one time line; between is that between two writes of any.
	settle  = 5 * time.Second
	between = 100 * time.Millisecond
	// Of one write, batchRecords bounds the records and batchBytes, unless it is one
	// alone, their size.
	batchRecords = 100
	batchBytes   = 256 << 10
	// maxTries bounds how often a write is tried that another node's comes before.
	maxTries = 5
	// writeWithin bounds a write, and lastWrites what is still written at the end.
	writeWithin = 10 * time.Second
	lastWrites  = 3 * time.Second
)

// Config is what a Recorder needs.
type Config struct {
	// Store keeps the time lines, below Prefix.
	Store store.Store
	// Lives reports whether there is a record of a hostname with a uid. It answers from
	// memory or soon: what ends while its events wait gets no time line.
	Lives func(hostname, uid string) bool
	// Mine reports whether this node looks after a hostname, where several share the
	// store: sweeps are shared out so. Nil: it looks after all.
	Mine func(hostname string) bool
	// Logger gets what is worth knowing. Default: none.
	Logger *zap.Logger
	// Now defaults to time.Now.
	Now func() time.Time
}

// Recorder writes what became of records. New makes one.
type Recorder struct {
	cfg             Config
	settle, between time.Duration
	pending         *pending
	wake            chan struct{}
	full            atomic.Bool // some were lost lately
	failing         bool        // the last write has failed, which was logged; of Run
}

// New returns a Recorder that writes nothing until Run.
func New(cfg Config) *Recorder {
	if cfg.Mine == nil {
		cfg.Mine = func(string) bool { return true }
	}
	if cfg.Logger == nil {
		cfg.Logger = zap.NewNop()
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Recorder{cfg: cfg, settle: settle, between: between, pending: newPending(maxPending), wake: make(chan struct{}, 1)}
}

// Offer has an event kept of a record. It returns at once. An event without a time is of
// now, and one of a record without a uid is of nobody.
func (r *Recorder) Offer(uid, hostname string, created time.Time, e Event) {
	if !usable(uid) {
		return
	}
	now := r.cfg.Now()
	if e.At.IsZero() {
		e.At = now
	}
	r.offered(r.pending.add(uid, hostname, created, e, now))
}

// End tells that a record is no more. It returns at once.
func (r *Recorder) End(uid string) {
	if usable(uid) {
		r.offered(r.pending.end(uid, r.cfg.Now()))
	}
}

func (r *Recorder) offered(taken bool) {
	if !taken && !r.full.Swap(true) {
		r.cfg.Logger.Error("events are missing in the time lines of records: the store takes them slower than records change")
	}
	select {
	case r.wake <- struct{}{}:
	default: // it is about to look already
	}
}

// Run writes until the context ends, and then what waits still, for as long as
// lastWrites. It returns nil.
func (r *Recorder) Run(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			r.drain(ctx)
			return nil
		case <-r.wake:
		case <-timer.C:
		}
		if ctx.Err() != nil {
			continue
		}
		if batch := r.pending.take(r.cfg.Now().Add(-r.settle), batchRecords); len(batch) > 0 {
			r.write(ctx, batch)
			if !r.rest(ctx) {
				continue
			}
		}
		if next, some := r.pending.next(r.settle); some {
			timer.Reset(max(next.Sub(r.cfg.Now()), 0))
		} else {
			r.full.Store(false)
		}
	}
}

// rest is the pause after a write; false: the context has ended.
func (r *Recorder) rest(ctx context.Context) bool {
	pause := time.NewTimer(r.between)
	defer pause.Stop()
	select {
	case <-pause.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// drain writes what waits at the end.
func (r *Recorder) drain(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastWrites)
	defer cancel()
	for ctx.Err() == nil {
		batch := r.pending.take(r.cfg.Now(), batchRecords)
		if len(batch) == 0 || !r.write(ctx, batch) {
			break
		}
	}
	if n := r.pending.len(); n > 0 {
		r.cfg.Logger.Warn("events are missing in the time lines of records: the store did not take them before the end", zap.Int("records", n))
	}
}

// write adds what waits to the time lines in the store; false: the store does not take it
// at present, and it waits again.
func (r *Recorder) write(work context.Context, batch []*waiting) bool {
	ctx, cancel := context.WithTimeout(work, writeWithin)
	defer cancel()
	for try := 1; len(batch) > 0; {
		done, err := r.tryWrite(ctx, batch)
		batch = batch[done:]
		conflict := (*store.ConflictError)(nil)
		switch {
		case err == nil:
			try, r.failing = 1, false
		case errors.As(err, &conflict) && try < maxTries:
			try++ // another node was there before
		case errors.Is(err, store.ErrClosed):
			return false
		default:
			if lost := r.pending.back(batch, r.cfg.Now()); lost > 0 {
				r.offered(false)
			}
			if !r.failing && work.Err() == nil { // else it is tried once more at the end
				r.failing = true
				r.cfg.Logger.Warn("the time lines of records could not be written; it is tried again", zap.Int("records", len(batch)), zap.Error(err))
			}
			return false
		}
	}
	return true
}

// tryWrite writes the first of what waits, as much as one write may have, and returns how
// many records these are, 0 after an error.
func (r *Recorder) tryWrite(ctx context.Context, batch []*waiting) (done int, err error) {
	have, err := r.read(ctx, batch)
	if err != nil {
		return 0, err
	}
	var ops []store.Op
	size := 0
	for _, w := range batch {
		key := Prefix + w.uid
		op, ok := r.op(w, have[key])
		if ok && len(ops) > 0 && size+len(op.Value) > batchBytes {
			break
		}
		if done++; ok {
			op.Key = key
			ops, size = append(ops, op), size+len(op.Value)
		}
	}
	if len(ops) == 0 {
		return done, nil
	}
	if _, err := r.cfg.Store.Write(ctx, ops...); err != nil {
		return 0, fmt.Errorf("writing time lines: %w", err)
	}
	return done, nil
}

// read returns what the store has for those that are not to be removed, by key.
func (r *Recorder) read(ctx context.Context, batch []*waiting) (map[string]store.KeyValue, error) {
	have := make(map[string]store.KeyValue, len(batch))
	keys := make([]string, 0, len(batch))
	for _, w := range batch {
		if !w.gone {
			keys = append(keys, Prefix+w.uid)
		}
	}
	if len(keys) == 0 {
		return have, nil
	}
	kvs, _, err := r.cfg.Store.Read(ctx, keys, 0)
	if err != nil {
		return nil, fmt.Errorf("reading time lines: %w", err)
	}
	for _, kv := range kvs {
		have[kv.Key] = kv
	}
	return have, nil
}

// op is what is to be done in the store for what waits; false: nothing. What cannot be
// read there is written over, unless a later version wrote it.
func (r *Recorder) op(w *waiting, have store.KeyValue) (store.Op, bool) {
	if w.gone {
		return store.Op{If: store.Any}, true
	}
	if !r.cfg.Lives(w.line.Hostname, w.uid) {
		return store.Op{}, false
	}
	l := Line{}
	if have.Key != "" && have.Err == nil {
		var err error
		if l, err = decode(have.Value); errors.Is(err, ErrNewer) {
			return store.Op{}, false
		}
	}
	l.Hostname = w.line.Hostname
	if l.Created.IsZero() && !w.line.Created.IsZero() {
		l.Created = seconds(w.line.Created)
	}
	changed := false
	for _, e := range w.line.Events {
		changed = l.Add(e) || changed
	}
	return store.Op{Value: encode(&l), If: have.Revision}, changed
}

// Line is what is known of a record by its uid, what waits to be written here included.
// One without any event has none. It may be answered from a copy of the store.
func (r *Recorder) Line(ctx context.Context, uid string) (Line, error) {
	if !usable(uid) {
		return Line{}, nil
	}
	ctx, _ = store.AllowStale(ctx, time.Second)
	l := Line{}
	kv, _, err := r.cfg.Store.Get(ctx, Prefix+uid)
	if err == nil {
		l, err = decode(kv.Value)
	}
	if err != nil && !errors.Is(err, store.ErrNotFound) && !errors.Is(err, store.ErrDamaged) {
		return Line{}, fmt.Errorf("reading a time line: %w", err)
	}
	fresh, gone := r.pending.events(uid)
	if gone {
		return Line{}, nil
	}
	if l.Hostname == "" {
		l.Hostname = fresh.Hostname
	}
	if l.Created.IsZero() {
		l.Created = fresh.Created
	}
	for _, e := range fresh.Events {
		l.Add(e)
	}
	return l, nil
}
