package etcdstore

import (
	"context"
	"errors"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/apoxy-dev/caddy-apoxy/store"
)

const (
	// attempts is how often a question is put within the timeout: a member may be cut
	// off and not known to be yet. The first goes to one member, and each later one to
	// as many at once.
	attempts = 3
	// probeTimeout bounds a question whether etcd is back, and probePause is between two.
	probeTimeout = time.Second
	probePause   = 250 * time.Millisecond
)

// call asks etcd what may be asked twice, within the timeout. It fails at once while
// etcd is known not to answer.
func call[T any](ctx context.Context, s *Store, ask func(context.Context) (T, error)) (answer T, err error) {
	for i := range attempts {
		answer, err = try(ctx, s, i, false, ask)
		if !errors.Is(err, store.ErrUnavailable) || s.health.lost() != nil {
			break
		}
	}
	return answer, err
}

// try is one attempt of call, the first is 0, or, with writes, of what changes something.
func try[T any](ctx context.Context, s *Store, attempt int, writes bool, ask func(context.Context) (T, error)) (answer T, err error) {
	if err := ctx.Err(); err != nil {
		return answer, err
	}
	if s.ctx.Err() != nil {
		return answer, store.ErrClosed
	}
	if err := s.health.lost(); err != nil {
		return answer, err
	}
	bounded, cancel := context.WithTimeout(ctx, s.timeout/attempts)
	defer cancel()
	if attempt == 0 {
		answer, err = ask(bounded)
	} else {
		answer, err = first(bounded, s, ask)
	}
	switch {
	case err == nil:
		return answer, nil
	case s.ctx.Err() != nil:
		return answer, store.ErrClosed
	case ctx.Err() != nil:
		return answer, ctx.Err()
	}
	err = s.health.judge(err, writes)
	if errors.Is(err, store.ErrUnavailable) && s.health.suspect() {
		s.background(s.probe)
	}
	return answer, err
}

// first asks several members at once and returns the first answer that leaves nothing
// open.
func first[T any](ctx context.Context, s *Store, ask func(context.Context) (T, error)) (answer T, err error) {
	type result struct {
		answer T
		err    error
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	results := make(chan result, attempts)
	for range attempts {
		go func() {
			answer, err := ask(ctx)
			results <- result{answer, err}
		}()
	}
	for range attempts {
		r := <-results
		if answer, err = r.answer, r.err; err == nil || !s.health.unsure(err) {
			break
		}
	}
	return answer, err
}

// probe asks etcd again and again, until it answers and the outcome of every write is
// known, or the store is closed.
func (s *Store) probe() {
	began := time.Now()
	for s.ctx.Err() == nil {
		err := s.answers()
		if err == nil {
			err = s.settleAll()
		}
		if err == nil {
			noted, news := s.health.found()
			if !noted {
				continue
			}
			if news {
				s.log.Info("etcd is available again", zap.String("engine", s.health.engine), zap.Duration("after", time.Since(began)))
			}
			return
		}
		s.lose(err)
		select {
		case <-s.ctx.Done():
		case <-time.After(probePause):
		}
	}
}

// answers returns nil if a member answers for a quorum.
func (s *Store) answers() error {
	ctx, cancel := context.WithTimeout(s.ctx, probeTimeout)
	defer cancel()
	_, err := first(ctx, s, func(ctx context.Context) (*clientv3.GetResponse, error) {
		return s.client.Get(ctx, s.prefix, clientv3.WithCountOnly())
	})
	return err
}

// lose notes, and logs once, that etcd does not answer.
func (s *Store) lose(err error) {
	var down *store.UnavailableError
	if !errors.As(err, &down) && !errors.As(s.health.judge(err, false), &down) {
		down = &store.UnavailableError{Engine: s.health.engine, Reason: brief(err)}
	}
	if s.health.lose(down) && s.ctx.Err() == nil {
		s.log.Error("etcd is not available; what needs it fails until it answers again", zap.String("engine", down.Engine), zap.String("reason", down.Reason))
	}
}
