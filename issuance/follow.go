package issuance

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/apoxy-dev/caddy-apoxy/store"
)

// load reads ledger and index.
func (s *Scheduler) load(ctx context.Context) (int64, error) {
	if s.cfg.Store == nil {
		return 0, errors.New("running issuance: no store")
	}
	now := s.now()
	if err := s.ledger.load(ctx, now); err != nil {
		return 0, err
	}
	o := store.ListOptions{Limit: 10000}
	for {
		res, err := s.cfg.Store.List(ctx, indexPrefix, o)
		if err != nil {
			return 0, fmt.Errorf("reading index of certificates: %w", err)
		}
		o.Revision = res.Revision
		s.mu.Lock()
		for _, entry := range res.Entries {
			s.learn(entry.Key, entry.Value, entry.Revision, now)
		}
		if !res.More {
			s.loaded = true
			for _, e := range s.entries {
				s.place(e, now)
			}
			s.mu.Unlock()
			return res.Revision, nil
		}
		s.mu.Unlock()
		o.After = res.Entries[len(res.Entries)-1].Key
	}
}

// learn takes over a record of the store. s.mu must be held.
func (s *Scheduler) learn(key string, value []byte, revision int64, now time.Time) (changed string, replaced bool) {
	hostname, r, err := decodeRecord(key, value)
	if err != nil {
		s.log.Error("a record of the index cannot be read and is made anew", zap.Error(err))
		return "", false
	}
	e := s.entries[hostname]
	if e == nil {
		e = &entry{hostname: hostname, index: -1}
		s.entries[hostname] = e
	}
	if e.flight != nil || revision <= e.revision {
		return "", false
	}
	r.intern()
	replaced = e.rec.Serial != "" && e.rec.Serial != r.Serial
	e.rec, e.revision = r, revision
	e.looked = e.looked || r.has()
	return hostname, replaced
}

// keep writes a record to the store; without a certificate, an order or
// trouble there is none. It tries again for a while: what is not kept is only
// lost at a restart, and then found again in storage.
func (s *Scheduler) keep(ctx context.Context, hostname string, r *record) int64 {
	op := store.Op{Key: indexPrefix + hostname, If: store.Any}
	if !r.empty() {
		op.Value = r.marshal()
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	for {
		revision, err := s.cfg.Store.Write(ctx, op)
		if err == nil {
			return revision
		}
		if ctx.Err() != nil || errors.Is(err, store.ErrClosed) {
			s.log.Error("keeping the index of certificates failed", zap.String("hostname", hostname), zap.Error(err))
			return 0
		}
		select {
		case <-ctx.Done():
		case <-time.After(time.Second):
		}
	}
}

// follow applies what other nodes write to index and ledger.
func (s *Scheduler) follow(ctx context.Context, revision int64) {
	var wg sync.WaitGroup
	for _, prefix := range []string{indexPrefix, ledgerPrefix} {
		wg.Go(func() { s.followPrefix(ctx, prefix, revision) })
	}
	wg.Wait()
}

func (s *Scheduler) followPrefix(ctx context.Context, prefix string, after int64) {
	for ctx.Err() == nil {
		next, err := s.followOne(ctx, prefix, after)
		switch {
		case ctx.Err() != nil || errors.Is(err, store.ErrClosed):
			return
		case errors.Is(err, store.ErrExpired):
			if next, err = s.catchUp(ctx); err == nil {
				after = next
				continue
			}
		default:
			after = next
		}
		s.log.Warn("following the store failed and is tried again", zap.String("prefix", prefix), zap.Error(err))
		select {
		case <-ctx.Done():
		case <-time.After(time.Second):
		}
	}
}

// catchUp reads everything anew after the history was lost.
func (s *Scheduler) catchUp(ctx context.Context) (int64, error) { return s.load(ctx) }

func (s *Scheduler) followOne(ctx context.Context, prefix string, after int64) (int64, error) {
	w, err := s.cfg.Store.Watch(ctx, prefix, after)
	if err != nil {
		return after, err
	}
	defer w.Close()
	for {
		b, err := w.Next(ctx)
		if err != nil {
			return after, err
		}
		for _, ev := range b.Events {
			s.apply(ev)
		}
		after = b.Revision
	}
}

func (s *Scheduler) apply(ev store.Event) {
	now := s.now()
	if strings.HasPrefix(ev.Key, ledgerPrefix) {
		s.ledger.apply(ev.Key, ev.Value, ev.Revision, now)
		s.poke()
		return
	}
	s.mu.Lock()
	if ev.Value == nil { // only what is expired or unwanted is deleted
		if e := s.entries[strings.TrimPrefix(ev.Key, indexPrefix)]; e != nil && !e.wanted && e.flight == nil && ev.Revision > e.revision {
			s.unplace(e)
			delete(s.entries, e.hostname)
		}
		s.mu.Unlock()
		return
	}
	hostname, replaced := s.learn(ev.Key, ev.Value, ev.Revision, now)
	if e := s.entries[hostname]; e != nil && hostname != "" {
		s.place(e, now)
	}
	cas := s.cas()
	s.mu.Unlock()
	if hostname == "" {
		return
	}
	if replaced { // renewed by another node: this one must not serve the old any longer
		for _, c := range cas {
			evict(c.cfg, hostname)
		}
	}
	s.poke()
	s.cfg.OnChange(hostname)
}
