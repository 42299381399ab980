package etcdstore

import (
	"context"
	"fmt"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/apoxy-dev/caddy-apoxy/store"
)

// readKeys is how many keys are asked for in one transaction: etcd takes 128 by default.
const readKeys = 100

// Read implements store.Store. All is read at the revision of the first question.
func (s *Store) Read(ctx context.Context, keys []string, revision int64) ([]store.KeyValue, int64, error) {
	if err := ctx.Err(); err != nil {
		return nil, 0, err
	}
	if revision < 0 {
		return nil, 0, store.ErrExpired
	}
	var out []store.KeyValue
	at := revision
	for done := false; !done; done = len(keys) == 0 {
		part := keys[:min(readKeys, len(keys))]
		keys = keys[len(part):]
		gets := make([]clientv3.Op, 0, len(part)+1)
		if len(part) == 0 { // the revision alone
			gets = append(gets, clientv3.OpGet(s.prefix, clientv3.WithRev(at), clientv3.WithCountOnly()))
		}
		for _, key := range part {
			if !isOwn(key) {
				gets = append(gets, clientv3.OpGet(s.prefix+key, clientv3.WithRev(at)))
			}
		}
		res, err := call(ctx, s, func(ctx context.Context) (*clientv3.TxnResponse, error) {
			return s.client.Txn(ctx).Then(gets...).Commit()
		})
		if err != nil {
			return nil, 0, fmt.Errorf("reading %d keys: %w", len(part), err)
		}
		if at == 0 {
			at = res.Header.Revision
		}
		for _, answer := range res.Responses {
			for _, kv := range answer.GetResponseRange().Kvs {
				out = append(out, s.keyValue(kv))
			}
		}
	}
	return out, at, nil
}
