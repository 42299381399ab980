package etcdstore

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/apoxy-dev/caddy-apoxy/store"
)

const (
	// shortestLease is the shortest time to live of a session: with its defaults etcd
	// grants no shorter one.
	shortestLease = 2 * time.Second
	// keepAlives is how many keep-alives are sent within a time to live. Where one is
	// not answered by the next, that goes to another member, and both are waited for: a
	// member may be cut off, and all may be slow.
	keepAlives = 6
)

// session is a store.Session: a lease of etcd that is kept alive.
type session struct {
	store *Store
	lease clientv3.LeaseID
	ttl   time.Duration
	ctx   context.Context // ends with the session
	end   context.CancelFunc

	until atomic.Pointer[time.Time] // read by every query for a challenge
	mu    sync.Mutex                // held while until changes
}

var _ store.Sessions = (*Store)(nil)

// Begin implements store.Sessions. The time to live is rounded up to whole seconds, and
// to two at least.
func (s *Store) Begin(ctx context.Context, ttl time.Duration) (store.Session, error) {
	return s.begin(ctx, ttl)
}

func (s *Store) begin(ctx context.Context, ttl time.Duration) (*session, error) {
	ttl = max(shortestLease, ttl+time.Second-1).Truncate(time.Second)
	n, err := call(ctx, s, func(ctx context.Context) (*session, error) {
		sent := time.Now()
		lease, err := s.client.Grant(ctx, int64(ttl/time.Second))
		if err != nil {
			return nil, err
		}
		granted := time.Duration(lease.TTL) * time.Second // it may be more than was asked for
		n := &session{store: s, lease: lease.ID, ttl: granted}
		until := sent.Add(granted)
		n.until.Store(&until)
		return n, nil
	})
	if err != nil {
		return nil, fmt.Errorf("beginning a session: %w", err)
	}
	n.ctx, n.end = context.WithCancel(s.ctx)
	if !s.background(n.keep) {
		n.end()
		return nil, fmt.Errorf("beginning a session: %w", store.ErrClosed)
	}
	return n, nil
}

// End implements store.Sessions.
func (s *Store) End(ctx context.Context, id string) error {
	lease, err := strconv.ParseInt(id, 16, 64)
	if err != nil {
		return fmt.Errorf("ending session %.40q: expected the hexadecimal number of a lease", id)
	}
	_, err = call(ctx, s, func(ctx context.Context) (*clientv3.LeaseRevokeResponse, error) {
		return s.client.Revoke(ctx, clientv3.LeaseID(lease))
	})
	if err != nil && !leaseGone(err) {
		return fmt.Errorf("ending session %s: %w", id, err)
	}
	return nil
}

// ID implements store.Session: the lease, as etcdctl shows it.
func (n *session) ID() string { return fmt.Sprintf("%016x", int64(n.lease)) }

// Until implements store.Session: when the keep-alive was sent that was answered last,
// and the time to live after that. Etcd counts from when it came.
func (n *session) Until() time.Time {
	return *n.until.Load()
}

// Ended implements store.Session.
func (n *session) Ended() <-chan struct{} { return n.ctx.Done() }

// Close implements store.Session.
func (n *session) Close(ctx context.Context) error {
	n.finish()
	return n.store.End(ctx, n.ID())
}

// Write implements store.Session.
func (n *session) Write(ctx context.Context, ops ...store.Op) (int64, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	switch {
	case n.store.ctx.Err() != nil:
		return 0, store.ErrClosed
	case n.ctx.Err() != nil, !time.Now().Before(n.Until()):
		return 0, store.ErrSessionEnded
	}
	rev, err := n.store.write(ctx, n.lease, ops)
	if leaseGone(err) {
		n.finish()
		return 0, fmt.Errorf("writing key %q: %w", ops[0].Key, store.ErrSessionEnded)
	}
	return rev, err
}

// keep keeps the lease alive, and ends the session once that has not come about in time.
func (n *session) keep() {
	defer n.finish()
	ticks := time.NewTicker(n.ttl / keepAlives)
	defer ticks.Stop()
	line := n.line()
	for n.ctx.Err() == nil && time.Now().Before(n.Until()) {
		last := time.NewTimer(time.Until(n.Until()))
		select {
		case <-n.ctx.Done():
		case <-last.C:
		case <-ticks.C:
			select {
			case line <- struct{}{}:
			default: // it still waits for an answer, or has broken: another member is asked beside
				close(line)
				line = n.line()
			}
		}
		last.Stop()
	}
	close(line)
}

// line opens a line to one member. It carries a keep-alive now and one for each value
// that is sent, and takes none while it waits for an answer, a time to live at most. It
// ends when the channel is closed or it breaks.
func (n *session) line() chan<- struct{} {
	asks := make(chan struct{})
	n.store.background(func() {
		ctx, cancel := context.WithCancel(n.ctx)
		defer cancel()
		bound := time.AfterFunc(n.ttl, cancel)
		stream, err := etcdserverpb.NewLeaseClient(n.store.client.ActiveConnection()).LeaseKeepAlive(ctx)
		for err == nil {
			if err = n.renew(stream); err != nil {
				return
			}
			bound.Stop()
			select {
			case _, open := <-asks:
				if !open {
					return
				}
			case <-ctx.Done():
				return
			}
			bound.Reset(n.ttl)
		}
	})
	return asks
}

// renew sends one keep-alive and waits for its answer.
func (n *session) renew(stream etcdserverpb.Lease_LeaseKeepAliveClient) error {
	sent := time.Now()
	if err := stream.Send(&etcdserverpb.LeaseKeepAliveRequest{ID: int64(n.lease)}); err != nil {
		return err
	}
	answer, err := stream.Recv()
	switch {
	case err != nil && !leaseGone(rpctypes.Error(err)):
		return err
	case err != nil, answer.TTL <= 0: // this is how etcd says that it is gone
		n.finish()
		return rpctypes.ErrLeaseNotFound
	}
	n.extend(sent.Add(time.Duration(answer.TTL) * time.Second))
	return nil
}

// extend moves Until on, unless it is past: others may have seen the end then.
func (n *session) extend(until time.Time) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if now := n.Until(); n.ctx.Err() == nil && time.Now().Before(now) && until.After(now) {
		n.until.Store(&until)
	}
}

// finish ends the session on our side.
func (n *session) finish() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if now := time.Now(); n.Until().After(now) {
		n.until.Store(&now)
	}
	n.end()
}

// leaseGone reports whether etcd says that it knows no such lease.
func leaseGone(err error) bool {
	return errors.Is(err, rpctypes.ErrLeaseNotFound)
}
