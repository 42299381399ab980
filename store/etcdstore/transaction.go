package etcdstore

import (
	"fmt"
	"slices"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/apoxy-dev/caddy-apoxy/store"
	"github.com/apoxy-dev/caddy-apoxy/store/pack"
)

const (
	// maxOps is how many operations etcd takes in one transaction (--max-txn-ops), less
	// those that slots and the condition on newerKey need.
	maxOps = 128 - 3
	// maxBytes is how many bytes etcd takes in one request, 1.5 MiB
	// (--max-request-bytes), less what stands around them.
	maxBytes = 3<<19 - 16<<10
)

// transaction is a Write as etcd takes it.
type transaction struct {
	key        string // the first
	conditions []clientv3.Cmp
	changes    []clientv3.Op
	asks       []clientv3.Op // how the conditioned keys stand, if one does not hold
	asked      []store.Op    // those of asks
	// idle: it only deletes, and nothing if none of its keys is there, which absent asks.
	idle   bool
	absent []clientv3.Cmp
}

func (s *Store) transaction(ops []store.Op, lease clientv3.LeaseID) (t transaction, err error) {
	t.idle = true
	seen := make(map[string]struct{}, len(ops))
	size := 0
	for i, op := range ops {
		key := s.prefix + op.Key
		switch _, twice := seen[op.Key]; {
		case op.Key == "":
			return t, fmt.Errorf("writing op %d: its key is empty", i)
		case twice:
			return t, fmt.Errorf("writing key %q: it stands twice in one write", op.Key)
		case isOwn(op.Key):
			return t, fmt.Errorf("writing key %q: keys below %s are the engine's own", op.Key, own)
		case op.If < store.Any:
			return t, fmt.Errorf("writing key %q: condition %d is neither Any, Absent nor a revision", op.Key, op.If)
		case len(op.Value) > pack.MaxPlain:
			return t, fmt.Errorf("writing key %q: its value has %d bytes, at most %d are kept", op.Key, len(op.Value), pack.MaxPlain)
		}
		if i == 0 {
			t.key = op.Key
		}
		seen[op.Key] = struct{}{}
		if op.If != store.Any {
			t.conditions = append(t.conditions, clientv3.Compare(clientv3.ModRevision(key), "=", op.If)) // of an absent key it is 0
			t.asks = append(t.asks, clientv3.OpGet(key, clientv3.WithKeysOnly()))
			t.asked = append(t.asked, op)
		}
		switch {
		case op.Check:
		case op.Value == nil && op.If == store.Absent: // there is nothing to delete
		case op.Value == nil:
			t.idle = t.idle && op.If == store.Any
			t.absent = append(t.absent, clientv3.Compare(clientv3.CreateRevision(key), "=", 0))
			t.changes = append(t.changes, clientv3.OpDelete(key))
		default:
			t.idle = false
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

// in returns the transaction of a write in a slot, which newer, the key of newerKey, must
// not be there for. again: it was sent before, and is to
// set the slot in any case.
func (t *transaction) in(sl *slot, w *openWrite, newer string, again bool) (when []clientv3.Cmp, then, otherwise []clientv3.Op) {
	set := clientv3.OpPut(sl.key, w.number, clientv3.WithLease(w.lease))
	when = append(slices.Clip(t.conditions), clientv3.Compare(clientv3.ModRevision(sl.key), "=", sl.rev),
		clientv3.Compare(clientv3.CreateRevision(newer), "=", 0))
	then = append(slices.Clip(t.changes), set)
	if t.idle && !again { // what changes nothing moves no revision
		then = []clientv3.Op{clientv3.OpTxn(t.absent, nil, then)}
	}
	return when, then, append(slices.Clip(t.asks), clientv3.OpGet(sl.key), clientv3.OpGet(newer, clientv3.WithKeysOnly()))
}

// outdated reports whether a transaction did not succeed because a newer version has
// changed what is kept.
func (t *transaction) outdated(res *clientv3.TxnResponse) bool {
	return len(res.Responses[len(t.asks)+1].GetResponseRange().GetKvs()) > 0
}

// moved reports whether a transaction that was sent once, and has succeeded, has set its
// slot.
func (t *transaction) moved(res *clientv3.TxnResponse) bool {
	return !t.idle || !res.Responses[0].GetResponseTxn().GetSucceeded()
}

// standing is a slot's value and revision as an answer has them; 0: it does not exist.
func standing(kvs []*mvccpb.KeyValue) (string, int64) {
	if len(kvs) == 0 {
		return "", 0
	}
	return string(kvs[0].Value), kvs[0].ModRevision
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
	return fmt.Errorf("writing key %q: etcd says that a condition does not hold, and all do", t.key)
}
