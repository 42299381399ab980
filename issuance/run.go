package issuance

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// Run loads the index and works until the context ends. In-flight work is
// cancelled with it; orders that were placed are taken up again by the next Run.
func (s *Scheduler) Run(ctx context.Context) error {
	if s.cfg.Store == nil {
		return errors.New("running issuance: no store")
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	followed := make(chan error, 1)
	wg.Go(func() { followed <- s.follow(ctx) })
	select {
	case <-s.entries.known:
	case err := <-followed: // the context ended, or the store was closed, before all was read
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	if s.cfg.Ready != nil {
		select {
		case <-s.cfg.Ready:
		case <-ctx.Done():
			return nil
		}
	}
	wg.Go(func() { s.ledger.tidyHourly(ctx, s.now, s.log) })
	wg.Go(func() { s.countExpiries(ctx) })

	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		if mount := s.audits.due(); mount != "" {
			wg.Go(func() { s.audit(ctx, mount) })
		}
		for _, t := range s.entries.takeUp(ctx) {
			wg.Go(func() { s.do(t) })
		}
		timer.Reset(s.entries.pause())
		select {
		case <-ctx.Done():
			return nil
		case <-s.entries.wake:
		case <-timer.C:
		}
	}
}

// do works on what was taken up.
func (s *Scheduler) do(t taken) {
	defer t.flight.cancel()
	j := s.job(t)
	if !t.unchanged {
		s.cfg.OnChange(j.hostname)
	}
	s.land(t, j.run(t.ctx))
	j.landed(t.ctx)
}

// land keeps the result of work, puts the entry back and tells others.
func (s *Scheduler) land(t taken, l landing) {
	hostname, revision := t.flight.entry.hostname, int64(0)
	if s.cfg.Term() != t.term { // another node may have done it again: what that keeps counts
		order := l.rec.Order // that is at the CA, whoever goes on with it
		l = landing{rec: t.rec, again: liveAgain, over: true}
		l.rec.Order = order
	}
	if l.save {
		revision = s.keep(t.ctx, t.term, hostname, &l.rec)
		s.inventory.forget(hostname)
	}
	if missed := s.entries.land(t.flight, l, revision, t.ctx.Err() != nil); missed != nil {
		s.tell(missed)
	} else if !l.unchanged {
		s.cfg.OnChange(hostname)
	}
}

// Indexed returns how many hostnames the index held at the start, once it has
// been read.
func (s *Scheduler) Indexed(ctx context.Context) (int, error) {
	select {
	case <-s.entries.known:
		return s.entries.indexed, nil
	case <-ctx.Done():
		return 0, fmt.Errorf("waiting for the index of certificates: %w", ctx.Err())
	}
}
