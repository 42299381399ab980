package boltstore

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"
	"sync"

	"github.com/apoxy-dev/caddy-apoxy/store"
)

// A List reads in short transactions of so many entries or bytes, because a
// long one would hold a writer up that has to grow the file. Changes made
// between them are undone from the history.
const (
	chunkEntries = 1024
	chunkBytes   = 1 << 20
)

// List implements store.Store.
func (s *Store) List(ctx context.Context, prefix string, o store.ListOptions) (store.ListResult, error) {
	if o.Revision < 0 {
		return store.ListResult{}, store.ErrExpired
	}
	if o.Revision > 0 {
		if err := s.hist.Check(o.Revision); err != nil {
			return store.ListResult{}, err
		}
	}
	for range 3 {
		res, err := s.list(ctx, prefix, o, chunkEntries)
		if o.Revision == 0 && errors.Is(err, store.ErrExpired) {
			continue // more was written meanwhile than the history holds
		}
		return res, err
	}
	return s.list(ctx, prefix, o, 0)
}

// list reads at one revision, in transactions of up to chunk entries; 0: one.
func (s *Store) list(ctx context.Context, prefix string, o store.ListOptions, chunk int) (store.ListResult, error) {
	res := store.ListResult{Revision: o.Revision}
	l := lister{s: s, prefix: prefix, after: o.After, rev: o.Revision, upto: o.Revision, chunk: chunk, room: o.Room[:cap(o.Room)]}
	for !l.end && (o.Limit <= 0 || len(res.KeyValues) <= o.Limit) {
		want := 0
		if o.Limit > 0 {
			want = o.Limit + 1 - len(res.KeyValues)
		}
		entries, err := l.next(ctx, true, want)
		if err != nil {
			return store.ListResult{}, err
		}
		res.KeyValues = append(res.KeyValues, entries...)
	}
	res.Revision = l.rev
	if o.Limit <= 0 || len(res.KeyValues) <= o.Limit {
		return res, nil
	}
	over := int64(len(res.KeyValues) - o.Limit)
	clear(res.KeyValues[o.Limit:])
	res.KeyValues = res.KeyValues[:o.Limit]
	last := res.KeyValues[o.Limit-1].Key
	res.More = true
	if o.Uncounted {
		return res, nil
	}
	if left, ok := s.pages.get(prefix, l.rev, o.After); ok {
		res.Remaining = left - int64(o.Limit)
	} else {
		for res.Remaining = over; !l.end; {
			keys, err := l.next(ctx, false, 0)
			if err != nil {
				return store.ListResult{}, err
			}
			res.Remaining += int64(len(keys))
		}
	}
	s.pages.put(prefix, l.rev, last, res.Remaining)
	return res, nil
}

// lister walks the keys under a prefix as they were at one revision.
type lister struct {
	s      *Store
	prefix string
	after  string // the last key passed
	rev    int64  // the revision read at; 0: that of the first transaction
	upto   int64  // undo covers the changes after rev up to this revision
	undo   map[string]store.KeyValue
	chunk  int
	room   []byte // that values may be put into
	end    bool
}

// next returns the following entries, about want of them if that is above zero,
// and only their keys unless values are asked for.
func (l *lister) next(ctx context.Context, values bool, want int) ([]store.KeyValue, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	from := l.after
	entries, at, err := l.read(values, want)
	if err != nil {
		return nil, err
	}
	if err := l.undoUpto(ctx, at); err != nil {
		return nil, err
	}
	return l.restore(entries, from), nil
}

// undoUpto notes how what has changed since the revision read at was then, for a
// transaction that saw a later one, once that is acknowledged.
func (l *lister) undoUpto(ctx context.Context, at int64) error {
	if err := l.s.hist.Wait(ctx, at); err != nil {
		return err
	}
	if l.rev == 0 {
		l.rev, l.upto = at, at
	}
	if at > l.upto {
		err := l.s.hist.Each(l.prefix, l.upto, at, func(e *store.Event) {
			if _, known := l.undo[e.Key]; known {
				return // an earlier change says how it was
			}
			if l.undo == nil {
				l.undo = make(map[string]store.KeyValue)
			}
			l.undo[e.Key] = store.KeyValue{Key: e.Key, Value: e.Previous, Revision: e.PreviousRevision, Err: e.PreviousErr}
		})
		if err != nil {
			return err
		}
		l.upto = at
	}
	return nil
}

// read copies the next entries out of one transaction, and returns the
// revision that it saw.
func (l *lister) read(values bool, want int) ([]store.KeyValue, int64, error) {
	var entries []store.KeyValue
	var at int64
	err := l.s.view(func(b bucket) error {
		at = int64(b.Sequence())
		c := b.Cursor()
		prefix := []byte(l.prefix)
		start := max(l.prefix, l.after)
		k, raw := c.Seek([]byte(start))
		if k != nil && l.after != "" && string(k) == l.after {
			k, raw = c.Next()
		}
		size := 0
		for ; k != nil && bytes.HasPrefix(k, prefix); k, raw = c.Next() {
			if l.chunk > 0 && (want > 0 && len(entries) >= want || len(entries) >= l.chunk || size >= chunkBytes) {
				return nil
			}
			e := store.KeyValue{Key: string(k)}
			if values {
				e.Revision, e.Value, e.Err = b.decodeIn(l.room, k, raw)
				n := len(e.Value)
				if n > 0 && n <= len(l.room) && &e.Value[0] == &l.room[0] {
					l.room = l.room[n:]
				}
				e.Value = e.Value[:n:n]
				size += len(raw)
			}
			l.after = e.Key
			entries = append(entries, e)
		}
		l.end = true
		return nil
	})
	return entries, at, err
}

// restore turns the entries read, which are all that follow the key from up to
// l.after (up to the end if l.end), into those of the revision asked for.
func (l *lister) restore(entries []store.KeyValue, from string) []store.KeyValue {
	if len(l.undo) == 0 {
		return entries
	}
	out := entries[:0]
	seen := make(map[string]struct{})
	for _, e := range entries {
		if was, changed := l.undo[e.Key]; changed {
			seen[e.Key] = struct{}{}
			if was.Revision == 0 {
				continue
			}
			e = was
		}
		out = append(out, e)
	}
	deleted := false
	for key, was := range l.undo {
		if was.Revision == 0 || key <= from || (!l.end && key > l.after) {
			continue
		}
		if _, ok := seen[key]; !ok {
			out = append(out, was)
			deleted = true
		}
	}
	if deleted {
		slices.SortFunc(out, func(a, b store.KeyValue) int { return strings.Compare(a.Key, b.Key) })
	}
	return out
}

// pageCounts remembers how many entries were left after a page, so that
// reading on does not count them again.
type pageCounts struct {
	mu   sync.Mutex
	left map[pageKey]int64
	ring [128]pageKey
	next int
}

type pageKey struct {
	prefix, after string
	rev           int64
}

func (p *pageCounts) get(prefix string, rev int64, after string) (int64, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	n, ok := p.left[pageKey{prefix, after, rev}]
	return n, ok
}

func (p *pageCounts) put(prefix string, rev int64, after string, left int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	k := pageKey{prefix, after, rev}
	if p.left == nil {
		p.left = make(map[pageKey]int64)
	}
	if _, known := p.left[k]; !known {
		delete(p.left, p.ring[p.next])
		p.ring[p.next] = k
		p.next = (p.next + 1) % len(p.ring)
	}
	p.left[k] = left
}
