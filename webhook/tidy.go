package webhook

import (
	"context"
	"errors"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/apoxy-dev/caddy-apoxy/store"
)

// tidyNowAndThen gives up, and forgets, what is too old.
func (s *Sender) tidyNowAndThen(ctx context.Context) {
	tick := time.NewTicker(tidyEvery)
	defer tick.Stop()
	for {
		s.tidy(ctx)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (s *Sender) tidy(ctx context.Context) {
	now := s.cfg.Now()
	configured := map[string]bool{}
	for _, e := range s.cfg.Endpoints() {
		configured[e.key()] = true
	}
	givenUp, forget, full := map[string][]*item{}, []store.Op(nil), false
	s.mu.Lock()
	for key, l := range s.lines {
		old, older := l.stale(now)
		for _, it := range old {
			l.giveUp(it, now)
		}
		givenUp[key] = old
		for _, it := range append(older, l.surplus()...) {
			l.remove(it)
			forget = append(forget, store.Op{Key: queueKey(key, it.id), If: store.Any})
		}
		if !configured[key] && len(l.items) == 0 && l.flights == 0 {
			delete(s.lines, key)
			forget = append(forget, store.Op{Key: statePrefix + key, If: store.Any})
		}
		full = full || l.waiting >= MaxWaiting
	}
	s.measure()
	s.mu.Unlock()
	if !full {
		s.full.Store(false)
	}
	for key, items := range givenUp {
		if len(items) > 0 {
			count(countGivenUp, len(items))
			s.log.Error("webhook deliveries were given up; `caddy apoxy webhook replay` queues them again",
				zap.Int("deliveries", len(items)), zap.Duration("after", keepFor))
		}
		s.keepGivenUp(ctx, key, items)
	}
	for ops := range slices.Chunk(forget, writeOps) {
		if err := s.write(ctx, ops...); err != nil {
			return // they are found again at the next start
		}
	}
}

// keepGivenUp stores that entries are kept for replay alone.
func (s *Sender) keepGivenUp(ctx context.Context, endpoint string, items []*item) {
	for _, it := range items {
		s.mu.Lock()
		at, why, queued := it.givenUp, it.reason, it.queued
		s.mu.Unlock()
		if at.IsZero() {
			continue
		}
		if err := s.rewrite(ctx, queueKey(endpoint, it.id), func(n *entry) {
			if n.Queued.Equal(queued) { // else it was queued again meanwhile
				n.GivenUp, n.Reason = at, why
			}
		}); err != nil && !errors.Is(err, store.ErrNotFound) {
			return // they are given up again after a restart
		}
	}
}

// rewrite changes a stored entry. Errors: store.ErrNotFound among others.
func (s *Sender) rewrite(ctx context.Context, key string, change func(*entry)) error {
	return s.rewriteWithin(ctx, key, 5, change)
}

func (s *Sender) rewriteWithin(ctx context.Context, key string, tries int, change func(*entry)) error {
	err := s.patiently(ctx, func() error {
		kv, _, err := s.cfg.Store.Get(ctx, key)
		if err != nil {
			return err
		}
		_, _, n, err := decodeEntry(key[len(queuePrefix):], kv.Value)
		if err != nil {
			return err
		}
		change(&n)
		_, err = s.cfg.Store.Write(ctx, store.Op{Key: key, Value: encode(n), If: kv.Revision})
		return err
	})
	if conflict := (*store.ConflictError)(nil); errors.As(err, &conflict) && tries > 1 {
		return s.rewriteWithin(ctx, key, tries-1, change)
	}
	return err
}
