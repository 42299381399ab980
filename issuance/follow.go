package issuance

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/apoxy-dev/caddy-apoxy/store"
)

// loadAtLast is load, tried again for as long as the store cannot be read.
func (s *Scheduler) loadAtLast(ctx context.Context) (int64, error) {
	for {
		revision, err := s.load(ctx)
		if err == nil || ctx.Err() != nil || errors.Is(err, store.ErrClosed) {
			return revision, err
		}
		s.log.Error("reading the index of certificates failed and is tried again; until then none is obtained", zap.Error(err))
		select {
		case <-ctx.Done():
		case <-time.After(time.Second):
		}
	}
}

// load reads ledger and index.
func (s *Scheduler) load(ctx context.Context) (int64, error) {
	now := s.now()
	if err := s.ledger.load(ctx, now); err != nil {
		return 0, err
	}
	o, n := store.ListOptions{Limit: loadPage}, 0
	for {
		res, err := s.cfg.Store.List(ctx, IndexPrefix, o)
		if err != nil {
			return 0, fmt.Errorf("reading index of certificates: %w", err)
		}
		for page := range slices.Chunk(res.Entries, batch) {
			s.learnAll(page, now)
		}
		n += len(res.Entries)
		if !res.More {
			s.complete(n)
			return res.Revision, nil
		}
		o.Revision = res.Revision
		o.After = res.Entries[len(res.Entries)-1].Key
	}
}

// complete notes that the index, of so many hostnames, has been read.
func (s *Scheduler) complete(hostnames int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.loaded {
		s.loaded, s.indexed = true, hostnames
		close(s.known)
	}
}

// loadPage is how many records of the index are read at once.
const loadPage = 10_000

// learnAll takes over a batch of the store's records.
func (s *Scheduler) learnAll(page []store.Entry, now time.Time) {
	var changed []learnt
	for _, l := range s.decode(page) {
		s.mu.Lock()
		if s.learn(&l, now) && s.loaded { // else it all is new
			changed = append(changed, l)
		}
		s.mu.Unlock()
	}
	s.tell(changed)
}

// learnt is a record of the store.
type learnt struct {
	hostname string
	rec      record
	revision int64
	replaced bool // it took the place of another certificate
}

// decode reads records; those that cannot be read are left out, and made anew
// in time.
func (s *Scheduler) decode(page []store.Entry) []learnt {
	out := make([]learnt, 0, len(page))
	for _, se := range page {
		hostname, r, err := "", record{}, se.Err
		if err == nil {
			hostname, r, err = decodeRecord(se.Key, se.Value)
		}
		if err != nil {
			if !store.Report(s.cfg.Store, se.Key, se.Revision, err) {
				s.log.Error("a record of the index cannot be read and is made anew", zap.Error(err))
			}
			continue
		}
		out = append(out, learnt{hostname: hostname, rec: r, revision: se.Revision})
	}
	return out
}

// learn takes over a record of the store; false: it is no news. s.mu must be
// held.
func (s *Scheduler) learn(l *learnt, now time.Time) bool {
	e := s.entries[l.hostname]
	if e == nil {
		e = s.add(strings.Clone(l.hostname)) // without the key around it
		e.since = now.UnixNano()
	}
	if l.revision <= e.revision {
		return false
	}
	if e.flight != nil {
		missed := *l
		e.flight.missed = &missed
		return false
	}
	before := e.serialNumber()
	l.replaced = before != "" && before != l.rec.Serial
	e.revision = l.revision
	e.looked = e.looked || l.rec.has()
	e.set(e.want(), l.rec)
	s.place(e, now)
	s.stir(e)
	return true
}

// tell spreads what was learnt while others already knew of the hostnames.
func (s *Scheduler) tell(changed []learnt) {
	for _, l := range changed {
		if l.replaced { // renewed by another node: this one must not serve the old any longer
			s.mu.Lock()
			cas := s.cas()
			s.mu.Unlock()
			for _, c := range cas {
				evict(c.cfg, l.hostname)
			}
		}
		s.cfg.OnChange(l.hostname)
	}
}

// keep writes a record to the store; without a certificate, an order or
// trouble there is none. It tries again for a while: what is not kept is only
// lost at a restart, and then found again in storage.
func (s *Scheduler) keep(ctx context.Context, hostname string, r *record) int64 {
	op := store.Op{Key: IndexPrefix + hostname, If: store.Any}
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
	for _, prefix := range []string{IndexPrefix, LedgerPrefix} {
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
		case errors.Is(err, store.ErrExpired), errors.Is(err, store.ErrFutureRevision):
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
	if strings.HasPrefix(ev.Key, LedgerPrefix) {
		if ev.Err == nil {
			s.ledger.apply(ev.Key, ev.Value, ev.Revision, now)
		}
		s.poke()
		return
	}
	if ev.Value == nil && ev.Err == nil {
		s.unlearn(strings.TrimPrefix(ev.Key, IndexPrefix), ev.Revision, now)
		return
	}
	s.learnAll([]store.Entry{{Key: ev.Key, Value: ev.Value, Revision: ev.Revision, Err: ev.Err}}, now)
}

// unlearn takes over that the store has no record of a hostname any more: what
// nobody wants has expired, or another node has had a certificate revoked.
func (s *Scheduler) unlearn(hostname string, revision int64, now time.Time) {
	s.mu.Lock()
	e := s.entries[hostname]
	if e == nil || e.flight != nil || revision <= e.revision {
		s.mu.Unlock()
		return
	}
	if !e.wanted {
		s.unplace(e)
		delete(s.entries, hostname)
		delete(s.doubts, hostname)
		s.mu.Unlock()
		return
	}
	l := learnt{hostname: e.hostname, rec: record{Trouble: e.trouble()}, revision: revision}
	news := e.has() && s.learn(&l, now)
	s.mu.Unlock()
	if news {
		s.tell([]learnt{l})
	}
}
