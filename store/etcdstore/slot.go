package etcdstore

import (
	"context"
	"crypto/rand"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/apoxy-dev/caddy-apoxy/store"
)

const (
	// writesAtOnce bounds the writes under way: each has a slot of its own.
	writesAtOnce = 64
	// slotsLast is how long slots outlive their process, and so how long it may be cut
	// off and still find out what has become of its writes.
	slotsLast = time.Hour
)

// slot is a key of etcd that one write at a time sets together with its own keys, to a
// number that no other write has, and on the condition that nobody else has set it
// meanwhile. So a write may be sent again without being done twice; from the slot it is
// seen whether it was done; and once the slot is set to something else, a write that is
// still on its way somewhere fails.
type slot struct {
	key string
	rev int64 // at which it stands; 0: it does not
	// open is the write that was sent and whose outcome is not known. Nil: there is none.
	open *openWrite
}

// openWrite is a write whose outcome is not known.
type openWrite struct {
	number string
	lease  clientv3.LeaseID // that the slot is set in
	key    string           // the first that it writes
	told   bool             // the writer was told that it failed
}

// writers is what the writes of a store share.
type writers struct {
	dir   string     // what the slots' keys begin with
	free  chan *slot // those that no write has
	count atomic.Int64

	mu    sync.Mutex
	lease *session // that slots are set in, so that they vanish after the process
}

func (w *writers) init(prefix string) {
	w.dir = prefix + own + "writers/" + rand.Text() + "/"
	w.free = make(chan *slot, writesAtOnce)
	for range writesAtOnce {
		w.free <- w.slot()
	}
}

// slot returns a new slot.
func (w *writers) slot() *slot { return &slot{key: w.dir + w.number()} }

// number returns one that no slot, and no write of this process, has had.
func (w *writers) number() string { return strconv.FormatInt(w.count.Add(1), 36) }

// slotLease returns the lease that slots are set in. stale is one that etcd does not
// know any more.
func (s *Store) slotLease(ctx context.Context, stale clientv3.LeaseID) (clientv3.LeaseID, error) {
	w := &s.writers
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.lease != nil && w.lease.lease == stale {
		w.lease.finish()
	}
	if w.lease == nil || w.lease.ctx.Err() != nil {
		n, err := s.begin(ctx, slotsLast)
		if err != nil {
			return 0, err
		}
		w.lease = n
	}
	return w.lease.lease, nil
}

// take returns a slot that no other write has.
func (s *Store) take(ctx context.Context) (*slot, error) {
	if err := s.health.lost(); err != nil {
		return nil, err
	}
	select {
	case sl := <-s.writers.free:
		return sl, nil
	case <-s.ctx.Done():
		return nil, store.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// release gives a slot back. One with an open write is given back once its outcome is
// known; until then all calls fail, if its writer was told that it failed, and so see
// nothing of it.
func (s *Store) release(sl *slot, err error) {
	if sl.open == nil {
		s.writers.free <- sl
		return
	}
	if sl.open.told {
		s.lose(err)
	}
	if s.health.leave(sl) {
		s.background(s.probe)
	}
}

// outcome is what has become of a write.
type outcome int

const (
	never  outcome = iota // it was not done and will not be
	done                  // it was done, at the slot's revision
	untold                // it will not be done any more; whether it was cannot be told
)

// settle finds out what has become of a slot's open write, and sees to it that it does
// not happen after that. With an error it is open still.
func (s *Store) settle(ctx context.Context, sl *slot) (outcome, error) {
	w := sl.open
	fence := "-" + w.number
	stands := clientv3.Compare(clientv3.ModRevision(sl.key), "=", sl.rev)
	set, get := clientv3.OpPut(sl.key, fence, clientv3.WithLease(w.lease)), clientv3.OpGet(sl.key)
	res, err := first(ctx, s, func(ctx context.Context) (*clientv3.TxnResponse, error) {
		return s.client.Txn(ctx).If(stands).Then(set).Else(get).Commit()
	})
	switch {
	case leaseGone(err): // and the write cannot be done without it either
		sl.rev, sl.open = 0, nil
		return untold, nil
	case err != nil:
		return untold, err
	}
	sl.open = nil
	if res.Succeeded {
		sl.rev = res.Header.Revision
		return never, nil
	}
	var is string
	if is, sl.rev = standing(res.Responses[0].GetResponseRange().GetKvs()); is == w.number {
		return done, nil
	} else if is == fence { // of an earlier settle, whose answer was lost
		return never, nil
	}
	return untold, nil // it has vanished
}

// settleAll settles the writes that are left open.
func (s *Store) settleAll() error {
	open := s.health.left()
	for len(open) > 0 && s.ctx.Err() == nil {
		sl := open[0]
		ctx, cancel := context.WithTimeout(s.ctx, probeTimeout)
		w := *sl.open
		what, err := s.settle(ctx, sl)
		cancel()
		switch {
		case s.ctx.Err() != nil:
			return s.ctx.Err()
		case err != nil && s.health.unsure(err):
			for _, sl := range open {
				s.health.leave(sl)
			}
			return err
		case err != nil: // etcd takes no writes of ours: the slot is given up
			sl, what = s.writers.slot(), untold
		}
		s.report(w, sl.rev, what)
		s.writers.free <- sl
		open = open[1:]
	}
	return s.ctx.Err()
}

// report logs what has become of a write that was answered as failed, if it was done.
func (s *Store) report(w openWrite, rev int64, what outcome) {
	if !w.told || what == never {
		return
	}
	message := "etcd has done a write after all that was answered as failed: its answer was lost"
	if what == untold {
		message, rev = "a write was answered as failed, and whether etcd has done it cannot be told", 0
	}
	s.log.Warn(message, zap.String("engine", s.health.engine), zap.String("key", w.key), zap.Int64("revision", rev))
}
