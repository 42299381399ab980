package etcdstore

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/apoxy-dev/caddy-apoxy/store"
)

// reconnects bounds how soon a member that came back is connected to again.
var reconnects = grpc.ConnectParams{
	Backoff:           backoff.Config{BaseDelay: 100 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: 2 * time.Second},
	MinConnectTimeout: 2 * time.Second,
}

// health is whether etcd answers.
type health struct {
	engine string

	mu      sync.Mutex
	down    *store.UnavailableError // nil: it does, as far as is known
	probing bool
	open    []*slot // whose writes' outcomes are not known
}

// lost returns why etcd does not answer; nil: as far as is known it does.
func (h *health) lost() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.down == nil {
		return nil
	}
	return h.down
}

// suspect reports whether it must be found out if etcd answers: nobody does so yet.
func (h *health) suspect() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	before := h.probing
	h.probing = true
	return !before
}

// leave takes over a slot whose write's outcome is to be found out. It reports whether
// nobody does so yet.
func (h *health) leave(sl *slot) bool {
	h.mu.Lock()
	h.open = append(h.open, sl)
	h.mu.Unlock()
	return h.suspect()
}

// left hands over the slots of leave.
func (h *health) left() (open []*slot) {
	h.mu.Lock()
	defer h.mu.Unlock()
	open, h.open = h.open, nil
	return open
}

// found notes that etcd answers, if no slot was left meanwhile. It reports whether it
// noted so, and whether that is news.
func (h *health) found() (noted, news bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.open) > 0 {
		return false, false
	}
	news = h.down != nil
	h.down, h.probing = nil, false
	return true, news
}

// lose notes that etcd does not answer. It reports whether that is news.
func (h *health) lose(why *store.UnavailableError) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	news := h.down == nil
	h.down = &store.UnavailableError{Engine: why.Engine, Reason: why.Reason}
	return news
}

// judge says an error of etcd's client in our terms.
func (h *health) judge(err error, writes bool) error {
	unavailable := func(reason string, unknown bool) error {
		return &store.UnavailableError{Engine: h.engine, Reason: reason, Unknown: unknown && writes}
	}
	switch server := rpctypes.Error(err); {
	case errors.Is(server, rpctypes.ErrCompacted):
		return store.ErrExpired
	case errors.Is(server, rpctypes.ErrFutureRev):
		return store.ErrFutureRevision
	case errors.Is(server, rpctypes.ErrNoSpace):
		return unavailable("its database has reached the quota (--quota-backend-bytes): compact and defragment it, then disarm the alarm with `etcdctl alarm disarm`", false)
	case errors.Is(server, rpctypes.ErrNoLeader), errors.Is(server, rpctypes.ErrNotLeader), errors.Is(server, rpctypes.ErrLeaderChanged):
		return unavailable("its members have no leader: a majority of them must run and reach each other", true)
	case errors.Is(server, rpctypes.ErrAuthFailed), errors.Is(server, rpctypes.ErrUserEmpty), errors.Is(server, rpctypes.ErrPermissionDenied):
		return unavailable("it refuses the user: "+server.Error()+": the user needs its password and the permission readwrite below the prefix", false)
	}
	code := status.Code(err)
	if e := (rpctypes.EtcdError{}); errors.As(err, &e) {
		code = e.Code()
	}
	switch {
	case errors.Is(err, context.DeadlineExceeded), code == codes.DeadlineExceeded:
		return unavailable("it does not answer in time", true)
	case code == codes.Unavailable, code == codes.ResourceExhausted, clientv3.IsConnCanceled(err):
		return unavailable(brief(err), true)
	}
	return err
}

// unsure reports whether an error of etcd's client leaves open what has become of the
// call: another member may tell.
func (h *health) unsure(err error) bool {
	var down *store.UnavailableError
	return errors.As(h.judge(err, true), &down) && down.Unknown
}

// brief is an error's text, bounded.
func brief(err error) string {
	text := err.Error()
	if s, ok := status.FromError(err); ok {
		text = s.Message()
	}
	text = strings.Join(strings.Fields(text), " ")
	return text[:min(len(text), 300)]
}
