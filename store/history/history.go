// Package history holds an engine's recent changes in memory, bounded, for watches and
// for reading the past. Engines put in what is acknowledged; readers pull.
package history

import (
	"context"
	"sort"
	"strings"
	"sync"

	"github.com/apoxy-dev/caddy-apoxy/store"
)

// A batch that a watcher hands over is cut, between revisions, past so many
// events or bytes.
const (
	batchEvents = 1024
	batchBytes  = 4 << 20
)

// History holds the most recent changes, shared by all readers. Readers pull:
// Each keeps only the revision it has seen, so a slow one costs nothing and
// notices by itself when it has fallen behind. New makes one; it is safe for
// concurrent use.
type History struct {
	mu              sync.RWMutex
	ring            []store.Event
	head, n         int
	bytes           int
	limit, maxBytes int
	// floor: changes at or below this revision are no longer kept.
	floor int64
	// last is the store's revision: everything up to it is acknowledged.
	last int64
	// err ends all readers once set.
	err error
	// lost: a write failed half-way, so what lies beyond last is unknown.
	lost error
	// moved is closed, and replaced, whenever one of the above changes.
	moved chan struct{}
}

// New returns a history of at most limit changes of maxBytes together, of which those
// of the latest revision are always kept. It begins at revision rev with events, which
// are all that changed after floor, oldest first.
func New(rev, floor int64, events []store.Event, limit, maxBytes int) *History {
	h := &History{
		ring: events, n: len(events), floor: floor, last: rev,
		limit: limit, maxBytes: maxBytes, moved: make(chan struct{}),
	}
	for i := range events {
		h.bytes += EventBytes(&events[i])
	}
	return h
}

// eventOverhead estimates what an event costs beside its bytes.
const eventOverhead = 144

// EventBytes estimates the memory of a change.
func EventBytes(e *store.Event) int {
	return len(e.Key) + len(e.Value) + len(e.Previous) + eventOverhead
}

func (h *History) at(i int) *store.Event { return &h.ring[(h.head+i)%len(h.ring)] }

// Publish appends the changes of writes that are on disk now, in their order,
// and moves the revision to last. It returns how many events, of how many
// bytes, had to go for them.
func (h *History) Publish(events []store.Event, last int64) (gone, size int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for i := range events {
		if h.n == len(h.ring) {
			h.grow()
		}
		h.ring[(h.head+h.n)%len(h.ring)] = events[i]
		h.n++
		h.bytes += EventBytes(&events[i])
		for h.n > h.limit || h.bytes > h.maxBytes {
			oldest := h.at(0)
			if oldest.Revision == events[i].Revision {
				break // a revision is kept whole, however large
			}
			h.floor = oldest.Revision
			h.bytes -= EventBytes(oldest)
			gone++
			size += EventBytes(oldest)
			*oldest = store.Event{}
			h.head = (h.head + 1) % len(h.ring)
			h.n--
		}
	}
	h.last = last
	h.wake()
	return gone, size
}

// Restart forgets all changes: the store stands at rev, and those up to there are no
// longer kept.
func (h *History) Restart(rev int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ring, h.head, h.n, h.bytes = nil, 0, 0, 0
	h.floor, h.last = rev, rev
	h.wake()
}

func (h *History) grow() {
	ring := make([]store.Event, max(64, 2*len(h.ring)))
	for i := range h.n {
		ring[i] = *h.at(i)
	}
	h.ring, h.head = ring, 0
}

func (h *History) wake() {
	close(h.moved)
	h.moved = make(chan struct{})
}

// End stops all readers with err.
func (h *History) End(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.err == nil {
		h.err = err
	}
	h.wake()
}

// Lose says that a write failed and left the state beyond the last revision
// unknown.
func (h *History) Lose(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.lost = err
	h.wake()
}

// Wait returns once everything up to rev is there, or with what ended or lost the
// history, or with the context's error.
func (h *History) Wait(ctx context.Context, rev int64) error {
	for {
		h.mu.RLock()
		last, moved, err := h.last, h.moved, h.err
		if err == nil {
			err = h.lost
		}
		h.mu.RUnlock()
		switch {
		case last >= rev:
			return nil
		case err != nil:
			return err
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Check returns store.ErrExpired if changes after rev are no longer kept, and
// store.ErrFutureRevision if rev has not been reached.
func (h *History) Check(rev int64) error {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return h.checkLocked(rev)
}

func (h *History) checkLocked(rev int64) error {
	switch {
	case rev < h.floor:
		return store.ErrExpired
	case rev > h.last:
		return store.ErrFutureRevision
	}
	return nil
}

// State returns the revision that has been reached, up to which one changes are no
// longer kept, and what Lose was told.
func (h *History) State() (last, floor int64, lost error) {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return h.last, h.floor, h.lost
}

// since returns the index of the first event after rev.
func (h *History) since(rev int64) int {
	return sort.Search(h.n, func(i int) bool { return h.at(i).Revision > rev })
}

// Each calls fn for every kept event under prefix with from < revision ≤ to,
// oldest first. store.ErrExpired: some are no longer kept.
func (h *History) Each(prefix string, from, to int64, fn func(*store.Event)) error {
	h.mu.RLock()
	defer h.mu.RUnlock()
	if from < h.floor {
		return store.ErrExpired
	}
	for i := h.since(from); i < h.n; i++ {
		e := h.at(i)
		if e.Revision > to {
			break
		}
		if strings.HasPrefix(e.Key, prefix) {
			fn(e)
		}
	}
	return nil
}

// Watch returns a watcher of what changes under prefix after a revision; 0: from the
// present on. store.ErrExpired and store.ErrFutureRevision as of Check.
func (h *History) Watch(prefix string, after int64) (store.Watcher, error) {
	h.mu.RLock()
	defer h.mu.RUnlock()
	if h.err != nil {
		return nil, h.err
	}
	if after == 0 {
		after = h.last
	}
	if err := h.checkLocked(after); err != nil {
		return nil, err
	}
	return &watcher{hist: h, prefix: prefix, seen: after, closed: make(chan struct{})}, nil
}

// watcher is a place in the history.
type watcher struct {
	hist   *History
	prefix string
	closed chan struct{}
	once   sync.Once

	mu   sync.Mutex // one Next at a time
	seen int64      // everything up to this revision was handed over
}

// Next implements store.Watcher.
func (w *watcher) Next(ctx context.Context) (store.Batch, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for {
		select {
		case <-w.closed:
			return store.Batch{}, store.ErrClosed
		default:
		}
		if err := ctx.Err(); err != nil {
			return store.Batch{}, err
		}
		batch, moved, err := w.pull()
		if err != nil {
			return store.Batch{}, err
		}
		if batch.Revision > w.seen {
			w.seen = batch.Revision
			return batch, nil
		}
		select {
		case <-moved:
		case <-w.closed:
		case <-ctx.Done():
		}
	}
}

// pull copies what is there after the place the watcher has reached.
func (w *watcher) pull() (store.Batch, <-chan struct{}, error) {
	h := w.hist
	h.mu.RLock()
	defer h.mu.RUnlock()
	if h.err != nil {
		return store.Batch{}, nil, h.err
	}
	if w.seen < h.floor || w.seen > h.last { // the latter: the store has gone back
		return store.Batch{}, nil, store.ErrExpired
	}
	b := store.Batch{Revision: h.last}
	size := 0
	for i := h.since(w.seen); i < h.n; i++ {
		e := h.at(i)
		if n := len(b.Events); n > 0 && e.Revision != h.at(i-1).Revision &&
			(n >= batchEvents || size >= batchBytes) {
			b.Revision = h.at(i - 1).Revision
			break
		}
		if strings.HasPrefix(e.Key, w.prefix) {
			b.Events = append(b.Events, *e)
			size += EventBytes(e)
		}
	}
	return b, h.moved, nil
}

// Close implements store.Watcher.
func (w *watcher) Close() { w.once.Do(func() { close(w.closed) }) }
