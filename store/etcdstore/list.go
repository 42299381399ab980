package etcdstore

import (
	"context"
	"fmt"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/apoxy-dev/caddy-apoxy/store"
)

// page is how many keys are asked for at once, so that no answer is huge.
const page = 1000

// List implements store.Store. It reads in pages, all at the revision of the first.
func (s *Store) List(ctx context.Context, prefix string, o store.ListOptions) (store.ListResult, error) {
	if err := ctx.Err(); err != nil {
		return store.ListResult{}, err
	}
	if o.Revision < 0 {
		return store.ListResult{}, store.ErrExpired
	}
	start := s.prefix + max(prefix, o.After)
	if o.After >= prefix && o.After != "" {
		start += "\x00"
	}
	l := listing{engine: s, limit: o.Limit}
	l.Revision = o.Revision
	for _, part := range (span{start, clientv3.GetPrefixRangeEnd(s.prefix + prefix)}).users(s.prefix) {
		if err := l.read(ctx, part); err != nil {
			return store.ListResult{}, fmt.Errorf("listing %q: %w", prefix, err)
		}
	}
	if l.Revision == 0 { // After lies behind the prefix
		now, err := s.present(ctx)
		if err != nil {
			return store.ListResult{}, fmt.Errorf("listing %q: %w", prefix, err)
		}
		l.Revision = now
	}
	return l.ListResult, nil
}

// listing is a list that is being read.
type listing struct {
	store.ListResult
	engine *Store
	limit  int // 0: none
}

// get asks for a span at the list's revision, which the first question sets.
func (l *listing) get(ctx context.Context, part span, o ...clientv3.OpOption) (*clientv3.GetResponse, error) {
	o = append(o, clientv3.WithRange(part.end), clientv3.WithRev(l.Revision))
	got, err := call(ctx, l.engine, func(ctx context.Context) (*clientv3.GetResponse, error) {
		return l.engine.client.Get(ctx, part.start, o...)
	})
	if err == nil && l.Revision == 0 {
		l.Revision = got.Header.Revision
	}
	return got, err
}

// read reads the keys of a span, as far as the limit goes, and counts the rest.
func (l *listing) read(ctx context.Context, part span) error {
	for part.start < part.end {
		most := page
		if l.limit > 0 {
			most = min(page, l.limit-len(l.KeyValues))
		}
		if most == 0 { // another part has filled the list
			got, err := l.get(ctx, part, clientv3.WithCountOnly())
			if err == nil && got.Count > 0 {
				l.More, l.Remaining = true, l.Remaining+got.Count
			}
			return err
		}
		near, err := l.near(ctx, part, most)
		if err != nil {
			return err
		}
		got, err := l.get(ctx, span{part.start, near.key}, clientv3.WithLimit(int64(most)))
		if err != nil {
			return err
		}
		for _, kv := range got.Kvs {
			l.KeyValues = append(l.KeyValues, l.engine.keyValue(kv))
		}
		rest := got.Count - int64(len(got.Kvs)) + near.rest
		if near.key == part.end && rest >= guideFrom {
			l.engine.guides.put(guided{part.end, l.Revision}, guide{})
		}
		if l.limit > 0 && len(l.KeyValues) == l.limit {
			l.More, l.Remaining = rest > 0, l.Remaining+rest
			return nil
		}
		if part.start = near.key; got.More {
			part.start = string(got.Kvs[len(got.Kvs)-1].Key) + "\x00"
		}
	}
	return nil
}
