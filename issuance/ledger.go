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

	"github.com/apoxy-dev/caddy-apoxy/internal/words"
	"github.com/apoxy-dev/caddy-apoxy/issuance/acme"
	"github.com/apoxy-dev/caddy-apoxy/store"
)

// The ledger's keys: ledger/hold/CA/ACCOUNT/SCOPE[/NAME] until when something
// must be left alone, ledger/budget/CA/ACCOUNT what was ordered lately.
const (
	LedgerPrefix = "ledger/"
	holdPrefix   = LedgerPrefix + "hold/"
	budgetPrefix = LedgerPrefix + "budget/"
)

// hold is a CA's request to wait.
type hold struct {
	Until  time.Time `json:"until"`
	Reason string    `json:"reason"`
	// Mend says who must act and how, empty if nobody needs to.
	Mend string `json:"mend,omitempty"`
	// Account is the identity of the account that is at fault; empty: the CA asked.
	Account string `json:"account,omitempty"`
	// Count is how many holds without a time to come came in a row.
	Count int `json:"count,omitempty"`
	// down: the CA did not ask, it does not answer. Kept in memory only.
	down bool
}

// ledger remembers what CAs asked for and what was ordered, in memory and in
// the store.
type ledger struct {
	store store.Store

	taking sync.Mutex // one order is spent at a time
	mu     sync.Mutex
	holds  map[string]hold   // by key below holdPrefix
	spent  map[string]bucket // by CA/ACCOUNT
	stored map[string]int64  // revision of each bucket
	fails  map[string]int    // by CA/ACCOUNT: times in a row that it did not answer

	meeting meeting // that a CA reached the edge
}

func newLedger(st store.Store) *ledger {
	return &ledger{store: st, holds: map[string]hold{}, spent: map[string]bucket{}, stored: map[string]int64{}, fails: map[string]int{}}
}

func holdKey(c *ca, s acme.Scope, hostname string) string {
	switch s {
	case acme.ScopeName:
		return c.LedgerKey() + "/name/" + hostname
	case acme.ScopeDomain:
		return c.LedgerKey() + "/domain/" + acme.RegisteredDomain(hostname)
	case acme.ScopeAccount:
		return c.LedgerKey() + "/account"
	}
	return c.LedgerKey() + "/ca"
}

// held returns the hold that stops a hostname at a CA; false if none does.
func (l *ledger) held(c *ca, hostname string, now time.Time) (hold, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var worst hold
	if len(l.holds) == 0 {
		return worst, false
	}
	for _, s := range []acme.Scope{acme.ScopeCA, acme.ScopeAccount, acme.ScopeDomain, acme.ScopeName} {
		if h, ok := l.holds[holdKey(c, s, hostname)]; ok && h.stops(c, now) && h.Until.After(worst.Until) {
			worst = h
		}
	}
	return worst, !worst.Until.IsZero()
}

// heldCA is held for the scope of the whole CA alone.
func (l *ledger) heldCA(c *ca, now time.Time) (hold, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range []acme.Scope{acme.ScopeCA, acme.ScopeAccount} {
		if h, ok := l.holds[holdKey(c, s, "")]; ok && h.stops(c, now) {
			return h, true
		}
	}
	return hold{}, false
}

// rowEnds is how long after a hold the next one is the first of another row.
const rowEnds = time.Hour

// put holds a scope until a time; without one the pauses grow from ten minutes.
// A time that has come already would be no pause at all: those grow from five
// seconds.
func (l *ledger) put(ctx context.Context, c *ca, s acme.Scope, hostname string, until time.Time, reason string, now time.Time) (hold, error) {
	key := holdKey(c, s, hostname)
	l.mu.Lock()
	h := hold{Until: until, Reason: words.Cut(reason, 400)}
	if !until.After(now) {
		pauses := acme.ClassPassing
		if until.IsZero() {
			pauses = acme.ClassLimited
		}
		if old := l.holds[key]; now.Sub(old.Until) < rowEnds {
			h.Count = old.Count
		}
		h.Count++
		h.Until = now.Add(backoff(pauses, h.Count, 0))
	}
	if old := l.holds[key]; old.Until.After(h.Until) && !old.down { // who asks is not down
		h = old
	}
	l.holds[key] = h
	l.mu.Unlock()
	return h, l.keepHold(ctx, key, h)
}

// keepHold writes a hold to the store.
func (l *ledger) keepHold(ctx context.Context, key string, h hold) error {
	value, err := json.Marshal(h)
	if err != nil {
		return fmt.Errorf("encoding hold: %w", err)
	}
	if _, err := l.store.Write(ctx, store.Op{Key: holdPrefix + key, Value: value, If: store.Any}); err != nil {
		return fmt.Errorf("keeping hold %s: %w", key, err)
	}
	return nil
}

// downAfter is how many hostnames in a row must find a CA out of order before
// all others leave it alone for a while.
const downAfter = 5

// answered notes whether a CA answered properly. Once it did not several times
// in a row it is held, longer with each time, so that a queue does not hammer
// it; the first hostname to try after that decides for all.
func (l *ledger) answered(c *ca, ok bool, message string, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	key := c.LedgerKey()
	if ok {
		delete(l.fails, key)
		return
	}
	if l.holds[holdKey(c, acme.ScopeCA, "")].Until.After(now) {
		return // an order that was under way already tells nothing new
	}
	l.fails[key]++
	n := l.fails[key] - downAfter + 1
	if n <= 0 {
		return
	}
	l.holds[holdKey(c, acme.ScopeCA, "")] = hold{
		Until: now.Add(min(backoff(acme.ClassPassing, n, 0), 10*time.Minute)), Reason: words.Cut(message, 400), down: true}
}

// bucket returns what is left of the budget of a CA. l.mu must be held.
func (l *ledger) bucket(c *ca, now time.Time) bucket {
	k := l.spent[c.LedgerKey()].under(c.Auth.OrderBudget(), now)
	l.spent[c.LedgerKey()] = k
	return k
}

// free is when the budget allows the next order, at the earliest now.
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

// forecast is how long the order behind so many others waits for the budget.
func (l *ledger) forecast(c *ca, now time.Time, ahead int) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.bucket(c, now).forecast(c.Auth.OrderBudget(), now, ahead)
}

// take spends one order, in the store first: the nodes of a cluster share the
// budget. false: it is used up.
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
		case errors.Is(err, store.ErrDamaged):
			l.replace(key, e.Revision, before)
		case err != nil:
			return false, fmt.Errorf("reading spent orders: %w", err)
		case CheckLedger(e.Key, e.Value) != nil:
			l.replace(key, e.Revision, before)
		default:
			l.replace(key, store.Absent, bucket{})
			l.apply(e.Key, e.Value, e.Revision, now)
		}
	}
	return false, errors.New("keeping spent orders: too many others write them at once")
}

// replace has what is left of a budget, and the revision at which the store
// says so, take the place of what memory holds.
func (l *ledger) replace(key string, revision int64, left bucket) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stored[key], l.spent[key] = revision, left
}

// CheckLedger says why the value at a key of the ledger is none; nil: it is one.
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
	return nil // of another version
}

// apply takes over what the store holds at a key of the ledger.
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
			// What was known of it holds.
		case readable && old.Until.After(now) && old.Until.After(h.Until):
			// What is stored is of before, or the CA is down besides.
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
		left = l.spent[k] // the next order writes over what cannot be read: else none could be taken ever again
	}
	l.spent[k], l.stored[k] = left, revision
}

// load reads the ledger from the store and deletes what is long past.
func (l *ledger) load(ctx context.Context, now time.Time) error {
	res, err := l.store.List(ctx, LedgerPrefix, store.ListOptions{})
	if err != nil {
		return fmt.Errorf("reading ledger: %w", err)
	}
	return l.learn(ctx, res.Entries, now)
}

// learn takes over what is stored of the ledger and deletes what is long past.
func (l *ledger) learn(ctx context.Context, entries []store.Entry, now time.Time) error {
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

// tidyHourly deletes what is long past until the context ends.
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
			log.Error("tidying what certificate authorities asked for failed and is tried again in an hour", zap.Error(err))
		}
	}
}

func (l *ledger) past(k string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, ok := l.holds[k]
	return !ok
}
