package etcdstore

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/apoxy-dev/caddy-apoxy/store"
)

// Write implements store.Store. A write that etcd does not answer is sent again within
// the timeout, without being done twice. An error that wraps store.ErrUnavailable tells
// by UnavailableError.Unknown whether it may have been done all the same: etcd has got
// it, and answers nobody. Before any call succeeds again it is found out: in nearly all
// cases it was not done, and will not be. What was done is logged as a warning.
func (s *Store) Write(ctx context.Context, ops ...store.Op) (int64, error) {
	return s.write(ctx, clientv3.NoLease, ops)
}

// write is Write of keys that vanish with a lease, if it is not clientv3.NoLease.
func (s *Store) write(ctx context.Context, lease clientv3.LeaseID, ops []store.Op) (rev int64, err error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	if s.ctx.Err() != nil {
		return 0, store.ErrClosed
	}
	t, err := s.transaction(ops, lease)
	if err != nil {
		return 0, err
	}
	if len(t.changes) == 0 {
		rev, err = s.compare(ctx, &t)
	} else {
		rev, err = s.change(ctx, &t)
	}
	var conflict *store.ConflictError
	if err != nil && !errors.As(err, &conflict) {
		return 0, fmt.Errorf("writing key %q: %w", ops[0].Key, err)
	}
	return rev, err
}

// compare does a transaction of conditions alone.
func (s *Store) compare(ctx context.Context, t *transaction) (int64, error) {
	res, err := call(ctx, s, func(ctx context.Context) (*clientv3.TxnResponse, error) {
		return s.client.Txn(ctx).If(t.conditions...).Else(t.asks...).Commit()
	})
	switch {
	case err != nil:
		return 0, err
	case res.Succeeded:
		return res.Header.Revision, nil
	}
	return 0, t.conflict(res.Responses)
}

// retryPause is before a write is sent again that has failed at once.
const retryPause = 100 * time.Millisecond

// change does a transaction in a slot.
func (s *Store) change(ctx context.Context, t *transaction) (int64, error) {
	bounded, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	sl, err := s.take(bounded)
	if err != nil {
		return 0, s.late(ctx, err, false)
	}
	rev, err := s.send(bounded, sl, t)
	if err != nil {
		err = s.late(ctx, err, sl.open != nil)
	}
	if sl.open != nil {
		sl.open.told = errors.Is(err, store.ErrUnavailable)
	}
	s.release(sl, err)
	return rev, err
}

// late says the end of the time for a write as what it is. open: the write's outcome is
// not known.
func (s *Store) late(ctx context.Context, err error, open bool) error {
	down := &store.UnavailableError{Engine: s.health.engine, Reason: "it does not answer in time"}
	if !errors.As(err, &down) && (ctx.Err() != nil || !errors.Is(err, context.DeadlineExceeded)) {
		return err
	}
	return &store.UnavailableError{Engine: down.Engine, Reason: down.Reason, Unknown: down.Unknown || open}
}

// send sends a transaction until its outcome is known. Where that stays unknown, the
// slot has an open write.
func (s *Store) send(ctx context.Context, sl *slot, t *transaction) (int64, error) {
	lease, err := s.slotLease(ctx, 0)
	if err != nil {
		return 0, err
	}
	w := &openWrite{number: s.writers.number(), lease: lease, key: t.key}
	for range attempts {
		var res *clientv3.TxnResponse
		var sent bool
		res, sent, err = s.sendOnce(ctx, sl, t, w)
		switch {
		case err == nil && res.Succeeded:
			if sl.open != nil || t.moved(res) {
				sl.rev, sl.open = res.Header.Revision, nil
			}
			return res.Header.Revision, nil
		case err == nil && t.outdated(res):
			return s.refused(ctx, sl, s.newer())
		case err == nil:
			is, at := standing(res.Responses[len(t.asks)].GetResponseRange().GetKvs())
			switch {
			case is == w.number: // an earlier attempt has done it
				sl.rev, sl.open = at, nil
				return at, nil
			case at == sl.rev:
				return s.refused(ctx, sl, t.conflict(res.Responses))
			case sl.open != nil:
				sl.rev, sl.open = at, nil
				return 0, s.vanished()
			}
			sl.rev, err = at, s.vanished()
		case leaseGone(err) && sl.open == nil && w.lease == lease: // the slots' or the session's
			if w.lease, err = s.slotLease(ctx, lease); err != nil {
				return 0, err
			}
		case sent && s.unsure(err):
			sl.open = w
			select {
			case <-ctx.Done():
			case <-s.ctx.Done():
			case <-time.After(retryPause):
			}
		case sent:
			return s.refused(ctx, sl, err)
		default:
			return 0, err
		}
	}
	return 0, err
}

// sendOnce is one attempt of send. It reports whether anything was sent.
func (s *Store) sendOnce(ctx context.Context, sl *slot, t *transaction, w *openWrite) (*clientv3.TxnResponse, bool, error) {
	attempt := 0
	if sl.open != nil {
		attempt = 1
	}
	when, then, otherwise := t.in(sl, w, s.newerKey(), sl.open != nil)
	var sent atomic.Bool
	res, err := try(ctx, s, attempt, true, func(ctx context.Context) (*clientv3.TxnResponse, error) {
		sent.Store(true)
		return s.client.Txn(ctx).If(when...).Then(then...).Else(otherwise...).Commit()
	})
	return res, sent.Load(), err
}

// unsure reports whether an error of try leaves open if a write was done.
func (s *Store) unsure(err error) bool {
	var down *store.UnavailableError
	return errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) ||
		errors.Is(err, store.ErrClosed) || errors.As(err, &down) && down.Unknown
}

// refused is the end of a write that an attempt was refused of: no earlier one may be
// done after that.
func (s *Store) refused(ctx context.Context, sl *slot, why error) (int64, error) {
	if sl.open == nil {
		return 0, why
	}
	switch what, err := s.settle(ctx, sl); {
	case err != nil:
		return 0, s.health.judge(err, true)
	case what == done:
		return sl.rev, nil
	case what == untold:
		return 0, s.vanished()
	}
	return 0, why
}

// vanished is the error of a write whose slot has vanished.
func (s *Store) vanished() error {
	return &store.UnavailableError{Engine: s.health.engine, Reason: "what it keeps of writes under way has vanished", Unknown: true}
}
