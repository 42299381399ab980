package boltstore

import (
	"context"
	"errors"

	"github.com/apoxy-dev/caddy-apoxy/store"
)

// Read implements store.Store. Like List it reads in short transactions, and undoes from
// the history what was changed between them.
func (s *Store) Read(ctx context.Context, keys []string, revision int64) ([]store.KeyValue, int64, error) {
	if revision < 0 {
		return nil, 0, store.ErrExpired
	}
	if revision > 0 {
		if err := s.hist.Check(revision); err != nil {
			return nil, 0, err
		}
	}
	for range 3 {
		entries, rev, err := s.readAt(ctx, keys, revision, chunkEntries)
		if revision == 0 && errors.Is(err, store.ErrExpired) {
			continue // more was written meanwhile than the history holds
		}
		return entries, rev, err
	}
	return s.readAt(ctx, keys, revision, max(1, len(keys)))
}

// readAt reads at one revision, in transactions of up to chunk keys.
func (s *Store) readAt(ctx context.Context, keys []string, revision int64, chunk int) ([]store.KeyValue, int64, error) {
	l := lister{s: s, rev: revision, upto: revision}
	var out []store.KeyValue
	for done := false; !done; done = len(keys) == 0 {
		if err := ctx.Err(); err != nil {
			return nil, 0, err
		}
		part := keys[:min(chunk, len(keys))]
		keys = keys[len(part):]
		found, at, err := s.readSome(part)
		if err == nil {
			err = l.undoUpto(ctx, at)
		}
		if err != nil {
			return nil, 0, err
		}
		for i, key := range part {
			e := found[i]
			if was, changed := l.undo[key]; changed {
				e = was
			}
			if e.Revision != 0 {
				out = append(out, e)
			}
		}
	}
	return out, l.rev, nil
}

// readSome copies values out of one transaction, and returns the revision that it saw.
// What does not exist has none.
func (s *Store) readSome(keys []string) (found []store.KeyValue, at int64, err error) {
	found = make([]store.KeyValue, len(keys))
	err = s.view(func(b bucket) error {
		at = int64(b.Sequence())
		for i, key := range keys {
			raw := b.Get([]byte(key))
			if raw == nil {
				continue
			}
			e := store.KeyValue{Key: key}
			e.Revision, e.Value, e.Err = b.decode([]byte(key), raw)
			found[i] = e
		}
		return nil
	})
	return found, at, err
}
