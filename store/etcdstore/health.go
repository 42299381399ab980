package etcdstore

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/apoxy-dev/caddy-apoxy/store"
)

const (
	// probeTimeout bounds a question whether etcd is back, and probePause is between two.
	probeTimeout = time.Second
	probePause   = 250 * time.Millisecond
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

// found notes that etcd answers. It reports whether that is news.
func (h *health) found() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	news := h.down != nil
	h.down, h.probing = nil, false
	return news
}

// lose notes that etcd does not answer. It reports whether that is news.
func (h *health) lose(why *store.UnavailableError) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	news := h.down == nil
	h.down = &store.UnavailableError{Engine: why.Engine, Reason: why.Reason}
	return news
}

// attempts is how many members a question is put to, one after the other, within the
// timeout: one may be cut off and not known to be yet.
const attempts = 3

// call asks etcd within the timeout. It fails at once while etcd is known not to answer.
func (s *Store) call(ctx context.Context, ask func(context.Context) error) (err error) {
	for range attempts {
		err = s.try(ctx, s.timeout/attempts, false, ask)
		if !errors.Is(err, store.ErrUnavailable) || s.health.lost() != nil {
			return err
		}
	}
	return err
}

// callWrite is call of what changes something, and so is tried once.
func (s *Store) callWrite(ctx context.Context, ask func(context.Context) error) error {
	return s.try(ctx, s.timeout, true, ask)
}

func (s *Store) try(ctx context.Context, most time.Duration, writes bool, ask func(context.Context) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if s.ctx.Err() != nil {
		return store.ErrClosed
	}
	if err := s.health.lost(); err != nil {
		return err
	}
	bounded, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	err := ask(bounded)
	switch {
	case err == nil:
		return nil
	case s.ctx.Err() != nil:
		return store.ErrClosed
	case ctx.Err() != nil:
		return ctx.Err()
	}
	err = s.health.judge(err, writes)
	if errors.Is(err, store.ErrUnavailable) && s.health.suspect() {
		s.background(s.probe)
	}
	return err
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
	switch code := status.Code(err); {
	case errors.Is(err, context.DeadlineExceeded), code == codes.DeadlineExceeded:
		return unavailable("it does not answer in time", true)
	case code == codes.Unavailable, code == codes.ResourceExhausted, clientv3.IsConnCanceled(err):
		return unavailable(brief(err), true)
	}
	return err
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

// probe asks etcd again and again, until it answers or the store is closed.
func (s *Store) probe() {
	began := time.Now()
	for s.ctx.Err() == nil {
		err := s.anyAnswers()
		if err == nil {
			if s.health.found() {
				s.log.Info("etcd is available again", zap.String("engine", s.health.engine), zap.Duration("after", time.Since(began)))
			}
			return
		}
		var down *store.UnavailableError
		if !errors.As(s.health.judge(err, false), &down) {
			down = &store.UnavailableError{Engine: s.health.engine, Reason: brief(err)}
		}
		if s.health.lose(down) && s.ctx.Err() == nil {
			s.log.Error("etcd is not available; what needs it fails until it answers again", zap.String("engine", down.Engine), zap.String("reason", down.Reason))
		}
		select {
		case <-s.ctx.Done():
		case <-time.After(probePause):
		}
	}
}

// anyAnswers asks several members at once and returns nil once one answers for a quorum.
func (s *Store) anyAnswers() (err error) {
	ctx, cancel := context.WithTimeout(s.ctx, probeTimeout)
	defer cancel()
	answers := make(chan error, attempts)
	for range attempts {
		go func() {
			_, err := s.client.Get(ctx, s.prefix, clientv3.WithCountOnly())
			answers <- err
		}()
	}
	for range attempts {
		if err = <-answers; err == nil {
			return nil
		}
	}
	return err
}
