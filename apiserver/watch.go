package apiserver

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/apoxy-dev/caddy-apoxy/store"
)

// watch answers GET …/domainrecords?watch=true. Nothing is kept in memory for a
// reader: it is served from the store's history, and if it falls behind that it
// is told so and ends.
func (c *call) watch(o listOptions) error {
	var err error
	if c.media, err = negotiate(c.r, watchOffers, true); err != nil {
		return err
	}
	release, err := c.admitWatch()
	if err != nil {
		return err
	}
	defer release()
	ctx, cancel := c.watchContext(o)
	defer cancel()

	start, initial, err := c.s.openWatch(ctx, o)
	if err != nil {
		return err
	}
	defer start.Close()
	sink := newSink(c, o)
	defer sink.close()
	if err := sink.open(); err != nil {
		return nil // nobody is there to be told
	}
	w := &watching{Watcher: start, call: c, sink: sink, sel: o.selector, bookmarks: o.AllowWatchBookmarks}
	if initial != nil {
		w.revision = initial.revision
		if err := initial.each(ctx, func(raw []byte) error { return sink.event(eventAdded, raw) }); err != nil {
			return w.stop(ctx, err)
		}
		if err := w.endInitial(o.SendInitialEvents != nil); err != nil {
			return w.stop(ctx, err)
		}
	} else {
		w.revision = o.revision
	}
	return w.run(ctx)
}

// watching is one watch under way.
type watching struct {
	store.Watcher
	call      *call
	sink      *sink
	sel       selector
	bookmarks bool
	// revision is up to where the client has been told everything.
	revision int64
}

func (w *watching) run(ctx context.Context) error {
	every := w.call.s.cfg.Limits.Bookmark
	due := time.Now().Add(every)
	for {
		next, cancel := ctx, context.CancelFunc(func() {})
		if w.bookmarks {
			next, cancel = context.WithDeadline(ctx, due)
		}
		batch, err := w.Next(next)
		cancel()
		switch {
		case err == nil:
			if err := w.pass(batch); err != nil {
				return w.stop(ctx, err)
			}
		case ctx.Err() == nil && errors.Is(err, context.DeadlineExceeded):
			if err := w.bookmark(nil); err != nil {
				return nil
			}
			due = time.Now().Add(every)
		default:
			return w.stop(ctx, err)
		}
	}
}

// pass sends a batch on, each event as the selector sees it.
func (w *watching) pass(b store.Batch) error {
	sent := false
	for i := range b.Events {
		e := &b.Events[i]
		shown, err := project(e, w.sel, i+1 < len(b.Events) && b.Events[i+1].Revision == e.Revision)
		for _, s := range shown {
			if err == nil {
				err = w.sink.event(s.kind, s.raw)
			}
			sent = sent || err == nil
		}
		if errors.Is(err, errUndecodable) {
			w.call.s.undecodable(e.Key, e.Revision, err)
			continue
		}
		if err != nil {
			return err
		}
	}
	w.revision = max(w.revision, b.Revision)
	if !sent {
		return nil
	}
	return w.sink.flush()
}

func (w *watching) bookmark(annotations map[string]string) error {
	if err := w.sink.bookmark(w.revision, annotations); err != nil {
		return err
	}
	return w.sink.flush()
}

// endInitial closes the initial events; a client that asked for them by
// sendInitialEvents is waiting for the bookmark that says so.
func (w *watching) endInitial(asked bool) error {
	if asked && w.bookmarks {
		return w.bookmark(map[string]string{initialEventsEnd: "true"})
	}
	return w.sink.flush()
}

// stop ends a watch. The client learns of an expired history by an event; of a
// planned end by a last bookmark, from where it resumes.
func (w *watching) stop(ctx context.Context, err error) error {
	var write *writeError
	switch {
	case errors.As(err, &write), w.call.r.Context().Err() != nil:
		return nil
	case ctx.Err() != nil || errors.Is(err, store.ErrClosed):
		if w.bookmarks && w.revision > 0 {
			_ = w.bookmark(nil) // the watch ends either way
		}
		return nil
	}
	if err := w.sink.failure(w.call.s.status(err, w.call)); err == nil {
		_ = w.sink.flush() // as above
	}
	return nil
}

// seen is an event as a watcher sees it.
type seen struct {
	kind string
	raw  []byte
}

// project returns what a watcher with a selector sees of an event. A record that begins
// to match is ADDED. One that no longer matches is DELETED, in the state it had or, if
// that is damaged, with its name alone. One whose place another record (another uid)
// takes is DELETED before that is ADDED. A new value that is damaged is not shown.
// While more events of the same revision follow, an event carries the revision before:
// a client that loses its connection here and resumes from it gets the others too.
func project(e *store.Event, sel selector, more bool) ([]seen, error) {
	if e.Err != nil {
		return nil, nil
	}
	was, err := sel.matches(e.Previous)
	unknown := err != nil || e.PreviousErr != nil
	is, err := sel.matches(e.Value)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errUndecodable, err)
	}
	last := e.Revision
	if more {
		last--
	}
	switch {
	case is && was && replaced(e.Previous, e.Value):
		gone, err := gone(e.Key, e.Previous, e.Revision-1)
		if err != nil {
			return nil, err
		}
		added, err := show(eventAdded, e.Value, last)
		return append(gone, added...), err
	case is && was:
		return show(eventModified, e.Value, last)
	case is:
		return show(eventAdded, e.Value, last)
	case unknown:
		return gone(e.Key, nil, last)
	case was:
		return gone(e.Key, e.Previous, last)
	}
	return nil, nil
}

func show(kind string, raw []byte, revision int64) ([]seen, error) {
	raw, err := withRevision(raw, revision)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errUndecodable, err)
	}
	return []seen{{kind, raw}}, nil
}

// gone shows a deletion, with the last state if that can be read.
func gone(key string, last []byte, revision int64) ([]seen, error) {
	if last != nil {
		if shown, err := show(eventDeleted, last, revision); err == nil {
			return shown, nil
		}
	}
	name, err := nameOnly(key)
	if err != nil {
		return nil, err
	}
	return show(eventDeleted, name, revision)
}

// replaced reports whether two stored values of one key are different records.
func replaced(before, now []byte) bool {
	var uids [2]string
	for i, raw := range [][]byte{before, now} {
		if readMember(raw, &uids[i], "metadata", "uid") != nil {
			return false
		}
	}
	return uids[0] != uids[1]
}
