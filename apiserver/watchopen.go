package apiserver

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/apoxy-dev/caddy-apoxy/store"
)

// watchLife: a watch that names no end lasts between one and two of these, at
// random, so that watches begun together do not end together; as in Kubernetes.
const watchLife = 30 * time.Minute

// admitWatch takes one of the places that there are for watches and returns
// what frees it.
func (c *call) admitWatch() (release func(), err error) {
	if c.r.Method != http.MethodGet {
		return nil, c.notAllowed("GET")
	}
	if c.s.closed.Err() != nil {
		e := apierrors.NewServiceUnavailable("the server is stopping: resume the watch in a moment")
		e.ErrStatus.Details = &metav1.StatusDetails{RetryAfterSeconds: 1}
		return nil, e
	}
	select {
	case c.s.watches <- struct{}{}:
		return func() { <-c.s.watches }, nil
	default:
		return nil, apierrors.NewTooManyRequests(fmt.Sprintf("%d watches are open, which is the limit", cap(c.s.watches)), 1)
	}
}

// watchContext ends when the client goes away, the time is up, or the server
// is closed or shut down.
func (c *call) watchContext(o listOptions) (context.Context, context.CancelFunc) {
	life := watchLife + rand.N(watchLife)
	if t := o.TimeoutSeconds; t != nil && *t > 0 {
		life = time.Duration(min(*t, int64(24*time.Hour/time.Second))) * time.Second
	}
	ctx, cancel := context.WithTimeout(c.r.Context(), life)
	stops := []func() bool{context.AfterFunc(c.s.closed, cancel)}
	if down := c.s.shutdowns.context(c.r); down != nil {
		stops = append(stops, context.AfterFunc(down, cancel))
	}
	return ctx, func() {
		cancel()
		for _, stop := range stops {
			stop()
		}
	}
}

// openWatch returns a watcher and, if the watch is to begin with the present
// state, the listing that the watcher continues without gap or overlap.
func (s *Server) openWatch(ctx context.Context, o listOptions) (store.Watcher, *listing, error) {
	wantsInitial := o.revision == 0
	if o.SendInitialEvents != nil {
		wantsInitial = *o.SendInitialEvents
	}
	if !wantsInitial {
		from := o.revision
		if from == 0 {
			var err error
			if from, err = s.present(ctx); err != nil {
				return nil, nil, err
			}
		}
		w, err := s.watchAfter(ctx, from)
		return w, nil, err
	}
	for {
		all := o
		all.Limit, all.Continue, all.token = 0, "", nil
		l, err := s.list(ctx, all)
		if err != nil {
			return nil, nil, err
		}
		w, err := s.watchAfter(ctx, l.revision)
		if err != nil || l.revision > 0 {
			return w, l, err
		}
		// To the store 0 means now, so a first write between the two calls
		// would be lost: make sure that there was none.
		rev, err := s.present(ctx)
		if err == nil && rev == 0 {
			return w, l, nil
		}
		w.Close()
		if err != nil {
			return nil, nil, err
		}
	}
}

func (s *Server) watchAfter(ctx context.Context, rev int64) (store.Watcher, error) {
	w, err := s.cfg.Store.Watch(ctx, recordPrefix, rev)
	if err != nil {
		return nil, fmt.Errorf("watching records after revision %d: %w", rev, err)
	}
	return w, nil
}

// present is the store's revision now.
func (s *Server) present(ctx context.Context) (int64, error) {
	_, rev, err := s.cfg.Store.Get(ctx, recordPrefix)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return 0, fmt.Errorf("reading the present revision: %w", err)
	}
	return rev, nil
}

// reached refuses a revision that the store has not come to.
func (s *Server) reached(ctx context.Context, rev int64) error {
	now, err := s.present(ctx)
	if err == nil && now < rev {
		return errFuture(fmt.Sprintf("%d, current: %d", rev, now))
	}
	return err
}
