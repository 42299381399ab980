package etcdstore

import (
	"context"
	"fmt"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/apoxy-dev/caddy-apoxy/store"
)

const (
	// maxOps is how many operations etcd takes in one transaction: --max-txn-ops.
	maxOps = 128
	// maxBytes is how many bytes etcd takes in one request, 1.5 MiB
	// (--max-request-bytes), less what stands around them.
	maxBytes = 3<<19 - 16<<10
)

// Write implements store.Store. An error that wraps store.ErrUnavailable tells by
// UnavailableError.Unknown whether the write may have happened all the same.
func (s *Store) Write(ctx context.Context, ops ...store.Op) (int64, error) {
	return s.write(ctx, clientv3.NoLease, ops)
}

// write is Write of keys that vanish with a lease, if it is not clientv3.NoLease.
func (s *Store) write(ctx context.Context, lease clientv3.LeaseID, ops []store.Op) (int64, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	t, err := s.transaction(ops, lease)
	if err != nil {
		return 0, err
	}
	var res *clientv3.TxnResponse
	err = s.callWrite(ctx, func(ctx context.Context) (err error) {
		res, err = s.client.Txn(ctx).If(t.conditions...).Then(t.changes...).Else(t.asks...).Commit()
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("writing key %q: %w", ops[0].Key, err)
	}
	if res.Succeeded {
		return res.Header.Revision, nil
	}
	return 0, t.conflict(res.Responses)
}

// transaction is a Write as etcd takes it.
type transaction struct {
	conditions []clientv3.Cmp
	changes    []clientv3.Op
	asks       []clientv3.Op // how the conditioned keys stand, if one does not hold
	asked      []store.Op    // those of asks
}

func (s *Store) transaction(ops []store.Op, lease clientv3.LeaseID) (t transaction, err error) {
	seen := make(map[string]struct{}, len(ops))
	size := 0
	for i, op := range ops {
		key := s.prefix + op.Key
		switch _, twice := seen[op.Key]; {
		case op.Key == "":
			return t, fmt.Errorf("writing op %d: its key is empty", i)
		case twice:
			return t, fmt.Errorf("writing key %q: it stands twice in one write", op.Key)
		case op.If < store.Any:
			return t, fmt.Errorf("writing key %q: condition %d is neither Any, Absent nor a revision", op.Key, op.If)
		case len(op.Value) > maxPlain:
			return t, fmt.Errorf("writing key %q: its value has %d bytes, at most %d are kept", op.Key, len(op.Value), maxPlain)
		}
		seen[op.Key] = struct{}{}
		if op.If != store.Any {
			t.conditions = append(t.conditions, clientv3.Compare(clientv3.ModRevision(key), "=", op.If)) // of an absent key it is 0
			t.asks = append(t.asks, clientv3.OpGet(key, clientv3.WithKeysOnly()))
			t.asked = append(t.asked, op)
		}
		switch {
		case op.Check:
		case op.Value == nil:
			t.changes = append(t.changes, clientv3.OpDelete(key))
		default:
			raw := encode(op.Key, op.Value)
			size += len(raw)
			t.changes = append(t.changes, clientv3.OpPut(key, string(raw), clientv3.WithLease(lease)))
		}
		size += 3 * len(key)
	}
	switch most := max(len(t.changes), len(t.conditions)); {
	case most > maxOps:
		return t, fmt.Errorf("writing key %q and others: %d keys at once, etcd takes %d", ops[0].Key, most, maxOps)
	case size > maxBytes:
		return t, fmt.Errorf("writing key %q: %d bytes, compressed, at once, etcd takes %d", ops[0].Key, size, maxBytes)
	}
	return t, nil
}

// conflict says which condition did not hold, given the answers to asks.
func (t *transaction) conflict(answers []*etcdserverpb.ResponseOp) error {
	for i, op := range t.asked {
		at := int64(0)
		if kvs := answers[i].GetResponseRange().GetKvs(); len(kvs) > 0 {
			at = kvs[0].ModRevision
		}
		if at != op.If {
			return &store.ConflictError{Key: op.Key, Revision: at}
		}
	}
	return fmt.Errorf("writing key %q: etcd says that a condition does not hold, and all do", t.asked[0].Key)
}
