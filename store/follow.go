package store

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// Follower says what Follow tells. All of it is called by one goroutine, in
// order; only Page and Change must be set.
type Follower struct {
	// Prefix is what the keys begin with.
	Prefix string
	// From is a revision up to which everything has been told before: it is gone on with
	// what changed after it. 0: everything is read first.
	From int64
	// PageSize is how many key-values are read at a time. Default: 1000.
	PageSize int
	// Strict has nothing told that was read from a copy; see AllowStale.
	Strict bool
	// Begin is told that everything is read from the start: the first time, and
	// when the history no longer reaches to what was seen last.
	Begin func()
	// Page is told of the next key-values of such a reading, in the order of their keys.
	Page func([]KeyValue)
	// Room is asked by another goroutine, before each page is read, for the memory that its
	// values may be put into; see ListOptions. Nil: values stay.
	Room func() []byte
	// End is told that there are no others at that revision: what has been on no
	// page since Begin does not exist.
	End func(revision int64)
	// Change is told of each change after that.
	Change func(*Event)
	// Reached is told that everything up to a revision has been told.
	Reached func(revision int64)
	// Failed is told of an error that following goes on after, and not again while it
	// stays the same; that the history has moved on (ErrExpired) is none.
	Failed func(error)
}

// Bounds of the pause after the store has failed: it doubles from one to the
// other while nothing is read.
const (
	shortestRetry = 50 * time.Millisecond
	longestRetry  = 5 * time.Second
)

// Follow tells of all key-values under a prefix, and then of every change, until
// the context ends or the store is closed, and returns that error. It goes on
// over every other.
func Follow(ctx context.Context, s Store, f Follower) error {
	if f.PageSize <= 0 {
		f.PageSize = 1000
	}
	at, read, delay, said := f.From, f.From > 0, shortestRetry, ""
	for {
		before, err := at, error(nil)
		if !read {
			at, err = f.read(ctx, s, at)
		}
		if err == nil {
			read = true
			at, err = f.watch(ctx, s, at)
		}
		if ctx.Err() != nil || errors.Is(err, ErrClosed) {
			return fmt.Errorf("following %s: %w", f.Prefix, err)
		}
		if at > before {
			delay, said = shortestRetry, ""
		}
		if errors.Is(err, ErrExpired) || errors.Is(err, ErrFutureRevision) {
			read = false
		} else if f.Failed != nil && err.Error() != said {
			said = err.Error()
			f.Failed(err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(delay):
		}
		delay = min(2*delay, longestRetry)
	}
}

// read tells of all key-values at one revision and returns it. With an error it returns
// before, the revision that was told last.
func (f *Follower) read(ctx context.Context, s Store, before int64) (int64, error) {
	if f.Begin != nil {
		f.Begin()
	}
	o := ListOptions{Limit: f.PageSize, Uncounted: true}
	if !f.Strict { // what changed meanwhile is told as soon as the engine answers
		ctx, _ = AllowStale(ctx, 0)
	}
	ctx, stop := context.WithCancel(ctx)
	pages := readAhead(ctx, s, f.Prefix, o, f.Room)
	defer func() {
		stop()
		for range pages { // until the reader has ended
		}
	}()
	for page := range pages {
		if page.err != nil {
			return before, page.err
		}
		f.Page(page.KeyValues)
		if !page.More {
			if f.End != nil {
				f.End(page.Revision)
			}
			f.reach(page.Revision)
			return page.Revision, nil
		}
	}
	return before, ctx.Err()
}

type page struct {
	ListResult
	err error
}

// readAhead lists page after page, one more than was taken, so that the next is being read
// while one is worked on. An error is the last.
func readAhead(ctx context.Context, s Store, prefix string, o ListOptions, room func() []byte) <-chan page {
	pages := make(chan page)
	go func() {
		defer close(pages)
		for {
			if room != nil {
				o.Room = room()
			}
			res, err := s.List(ctx, prefix, o)
			select {
			case pages <- page{res, err}:
			case <-ctx.Done():
				return
			}
			if err != nil || !res.More {
				return
			}
			o.After, o.Revision = res.KeyValues[len(res.KeyValues)-1].Key, res.Revision
		}
	}()
	return pages
}

// watch tells of what changes after a revision, and returns up to where it came.
func (f *Follower) watch(ctx context.Context, s Store, after int64) (int64, error) {
	w, err := s.Watch(ctx, f.Prefix, after)
	if err != nil {
		return after, err
	}
	defer w.Close()
	for {
		batch, err := w.Next(ctx)
		if err != nil {
			return after, err
		}
		for i := range batch.Events {
			f.Change(&batch.Events[i])
		}
		after = batch.Revision
		f.reach(after)
	}
}

func (f *Follower) reach(revision int64) {
	if f.Reached != nil {
		f.Reached(revision)
	}
}

// Progress is up to which revision a Follower's reader has come, for others to
// wait for. The zero value has read nothing.
type Progress struct {
	mu      sync.Mutex
	reached int64
	further chan struct{} // closed when it comes further; nil: nobody waits
}

// Reach notes that the reader has come to a revision: a lower one than before if
// the store itself has gone back.
func (p *Progress) Reach(revision int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.reached = revision
	if p.further != nil {
		close(p.further)
		p.further = nil
	}
}

// Revision is up to where the reader has come; 0: it has read nothing.
func (p *Progress) Revision() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.reached
}

// WaitRevision returns once the reader has come to a revision, any at all for
// 0, or with the context's error.
func (p *Progress) WaitRevision(ctx context.Context, revision int64) error {
	for {
		p.mu.Lock()
		if p.reached >= max(revision, FirstRevision) {
			p.mu.Unlock()
			return nil
		}
		if p.further == nil {
			p.further = make(chan struct{})
		}
		further := p.further
		p.mu.Unlock()
		select {
		case <-further:
		case <-ctx.Done():
			return fmt.Errorf("waiting for revision %d of the store: %w", revision, ctx.Err())
		}
	}
}
