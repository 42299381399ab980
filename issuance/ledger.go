package issuance

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/apoxy-dev/caddy-apoxy/issuance/acme"
	"github.com/apoxy-dev/caddy-apoxy/store"
)

// The keys of the ledger in the store: ledger/hold/CA/ACCOUNT/SCOPE[/NAME] is a hold,
// ledger/budget/CA/ACCOUNT a bucket, metKey a meeting.
const (
	LedgerPrefix = "ledger/"
	holdPrefix   = LedgerPrefix + "hold/"
	budgetPrefix = LedgerPrefix + "budget/"
)

// ledger remembers which CAs asked to wait and how many orders were placed, in memory and
// in the store, which the nodes of a cluster share.
type ledger struct {
	store store.Store

	taking sync.Mutex // held while an order is spent: one at a time
	mu     sync.Mutex
	holds  map[string]hold   // by key below holdPrefix
	spent  map[string]bucket // by CA/ACCOUNT (acme.CA.LedgerKey)
	stored map[string]int64  // by CA/ACCOUNT: revision of the bucket in the store
	fails  map[string]int    // by CA/ACCOUNT: how often in a row it did not answer

	meeting meeting // the last time that a CA reached the edge
}

func newLedger(st store.Store) *ledger {
	return &ledger{store: st, holds: map[string]hold{}, spent: map[string]bucket{}, stored: map[string]int64{}, fails: map[string]int{}}
}

// bucket returns the bucket of a CA's budget. l.mu must be held.
func (l *ledger) bucket(c *ca, now time.Time) bucket {
	k := l.spent[c.LedgerKey()].under(c.Auth.OrderBudget(), now)
	l.spent[c.LedgerKey()] = k
	return k
}

// free is when the budget allows the next order: now or later.
func (l *ledger) free(c *ca, now time.Time) time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.bucket(c, now).free(c.Auth.OrderBudget(), now)
}

// room is how many orders the budget allows now.
func (l *ledger) room(c *ca, now time.Time) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.bucket(c, now).room(c.Auth.OrderBudget(), now)
}

// forecast is how long an order with so many ahead of it waits for the budget.
func (l *ledger) forecast(c *ca, now time.Time, ahead int) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.bucket(c, now).forecast(c.Auth.OrderBudget(), now, ahead)
}

// take spends one order. It counts once the store has it, because the nodes of a cluster
// share the budget. false: the budget is used up.
func (l *ledger) take(ctx context.Context, c *ca, now time.Time) (bool, error) {
	if c.Auth.OrderBudget().Orders <= 0 {
		return true, nil
	}
	key := c.LedgerKey()
	l.taking.Lock()
	defer l.taking.Unlock()
	for range 10 {
		l.mu.Lock()
		before := l.bucket(c, now)
		after, ok := before.take(c.Auth.OrderBudget(), now)
		rev := l.stored[key]
		l.spent[key] = after
		l.mu.Unlock()
		if !ok {
			return false, nil
		}
		at, err := l.store.Write(ctx, store.Op{Key: budgetPrefix + key, Value: after.marshal(), If: rev})
		if err == nil {
			l.mu.Lock()
			l.stored[key] = max(l.stored[key], at)
			l.mu.Unlock()
			return true, nil
		}
		var conflict *store.ConflictError
		if !errors.As(err, &conflict) {
			return false, fmt.Errorf("keeping spent orders: %w", err)
		}
		e, _, err := l.store.Get(ctx, budgetPrefix+key)
		switch {
		case errors.Is(err, store.ErrNotFound):
			l.replace(key, store.Absent, bucket{})
		case err != nil && !errors.Is(err, store.ErrDamaged):
			return false, fmt.Errorf("reading spent orders: %w", err)
		case err != nil || CheckLedger(e.Key, e.Value) != nil: // what cannot be read is written over
			l.replace(key, e.Revision, before)
		default:
			l.replace(key, store.Absent, bucket{})
			l.apply(e.Key, e.Value, e.Revision, now)
		}
	}
	return false, errors.New("keeping spent orders: too many others write them at once")
}

// replace sets a bucket in memory, and the revision at which the store has it.
func (l *ledger) replace(key string, revision int64, left bucket) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stored[key], l.spent[key] = revision, left
}

// CheckLedger says why the value at a key of the ledger cannot be read; nil: it can.
func CheckLedger(key string, value []byte) error {
	switch {
	case strings.HasPrefix(key, holdPrefix):
		return json.Unmarshal(value, new(hold))
	case key == metKey:
		return json.Unmarshal(value, new(meeting))
	case strings.HasPrefix(key, budgetPrefix):
		_, err := decodeBucket(value)
		return err
	}
	return nil // a key of another version
}

// apply takes over the value that the store has at a key of the ledger; nil: it has none.
func (l *ledger) apply(key string, value []byte, revision int64, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if key == metKey {
		l.applyMet(value)
		return
	}
	if k, ok := strings.CutPrefix(key, holdPrefix); ok {
		var h hold
		readable := value != nil && json.Unmarshal(value, &h) == nil
		switch old := l.holds[k]; {
		case value != nil && !readable:
			// It cannot be read, so the one in memory stays.
		case readable && old.Until.After(now) && old.Until.After(h.Until):
			// The one in memory lasts longer: it is newer, or the CA does not answer.
		case !readable || now.Sub(h.Until) > 24*time.Hour || h.Until.Sub(now) > 2*acme.LongestHold:
			delete(l.holds, k)
		default:
			l.holds[k] = h
		}
		return
	}
	k, ok := strings.CutPrefix(key, budgetPrefix)
	if !ok || value == nil || revision <= l.stored[k] {
		return
	}
	left, err := decodeBucket(value)
	if err != nil {
		left = l.spent[k] // the next order writes over it; otherwise none could be taken any more
	}
	l.spent[k], l.stored[k] = left, revision
}

// load reads the ledger from the store and deletes holds that are long over.
func (l *ledger) load(ctx context.Context, now time.Time) error {
	res, err := l.store.List(ctx, LedgerPrefix, store.ListOptions{})
	if err != nil {
		return fmt.Errorf("reading ledger: %w", err)
	}
	return l.learn(ctx, res.KeyValues, now)
}

// learn takes over entries of the ledger and deletes holds that are long over.
func (l *ledger) learn(ctx context.Context, entries []store.KeyValue, now time.Time) error {
	for _, e := range entries {
		if e.Err == nil {
			if err := CheckLedger(e.Key, e.Value); err != nil {
				store.Report(l.store, e.Key, e.Revision, err)
			}
			l.apply(e.Key, e.Value, e.Revision, now)
		}
		if k, ok := strings.CutPrefix(e.Key, holdPrefix); ok && l.past(k) {
			if _, err := l.store.Write(ctx, store.Op{Key: e.Key, If: e.Revision}); err != nil && ctx.Err() != nil {
				return fmt.Errorf("tidying ledger: %w", err)
			}
		}
	}
	return nil
}

// tidyHourly deletes holds that are long over, every hour until the context ends.
func (l *ledger) tidyHourly(ctx context.Context, now func() time.Time, log *zap.Logger) {
	tick := time.NewTicker(time.Hour)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if err := l.load(ctx, now()); err != nil && ctx.Err() == nil {
			log.Error("deleting holds of certificate authorities that are over failed and is tried again in an hour", zap.Error(err))
		}
	}
}

// past reports whether apply did not keep a hold.
func (l *ledger) past(k string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, ok := l.holds[k]
	return !ok
}
