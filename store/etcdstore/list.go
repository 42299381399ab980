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

// read reads the keys of a span, as far as the limit goes, and counts the rest.
func (l *listing) read(ctx context.Context, part span) error {
	for part.start < part.end {
		o := []clientv3.OpOption{clientv3.WithRange(part.end), clientv3.WithRev(l.Revision), clientv3.WithLimit(page)}
		left := l.limit - len(l.KeyValues)
		switch {
		case l.limit > 0 && left == 0:
			o = append(o, clientv3.WithCountOnly())
		case l.limit > 0:
			o = append(o, clientv3.WithLimit(int64(min(page, left))))
		}
		got, err := call(ctx, l.engine, func(ctx context.Context) (*clientv3.GetResponse, error) {
			return l.engine.client.Get(ctx, part.start, o...)
		})
		if err != nil {
			return err
		}
		if l.Revision == 0 {
			l.Revision = got.Header.Revision
		}
		for _, kv := range got.Kvs {
			l.KeyValues = append(l.KeyValues, l.engine.keyValue(kv))
		}
		if rest := got.Count - int64(len(got.Kvs)); rest > 0 && l.limit > 0 && len(l.KeyValues) == l.limit {
			l.More, l.Remaining = true, l.Remaining+rest
			return nil
		}
		if !got.More {
			return nil
		}
		part.start = string(got.Kvs[len(got.Kvs)-1].Key) + "\x00"
	}
	return nil
}
