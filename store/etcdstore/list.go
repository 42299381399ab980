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
	res := store.ListResult{Revision: o.Revision}
	start := s.prefix + max(prefix, o.After)
	if o.After >= prefix && o.After != "" {
		start += "\x00"
	}
	end := clientv3.GetPrefixRangeEnd(s.prefix + prefix)
	for start < end {
		limit := page
		if o.Limit > 0 {
			limit = min(limit, o.Limit-len(res.KeyValues))
		}
		var got *clientv3.GetResponse
		err := s.call(ctx, func(ctx context.Context) (err error) {
			got, err = s.client.Get(ctx, start, clientv3.WithRange(end), clientv3.WithLimit(int64(limit)), clientv3.WithRev(res.Revision))
			return err
		})
		if err != nil {
			return store.ListResult{}, fmt.Errorf("listing %q: %w", prefix, err)
		}
		if res.Revision == 0 {
			res.Revision = got.Header.Revision
		}
		for _, kv := range got.Kvs {
			res.KeyValues = append(res.KeyValues, s.keyValue(kv))
		}
		if !got.More {
			return res, nil
		}
		start = string(got.Kvs[len(got.Kvs)-1].Key) + "\x00"
		if o.Limit > 0 && len(res.KeyValues) >= o.Limit {
			res.More, res.Remaining = true, got.Count-int64(len(got.Kvs))
			return res, nil
		}
	}
	if res.Revision == 0 { // After lies behind the prefix
		now, err := s.present(ctx)
		if err != nil {
			return store.ListResult{}, fmt.Errorf("listing %q: %w", prefix, err)
		}
		res.Revision = now
	}
	return res, nil
}
