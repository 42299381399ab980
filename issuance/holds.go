package issuance

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	acmez "github.com/mholt/acmez/v3/acme"
	"go.uber.org/zap"

	"github.com/apoxy-dev/caddy-apoxy/internal/words"
	"github.com/apoxy-dev/caddy-apoxy/issuance/acme"
	"github.com/apoxy-dev/caddy-apoxy/store"
)

// alone is acme.CA.Alone with the ledger: a fault of the account becomes a hold, which
// the next do finds.
func (ts *tools) alone(ctx context.Context, c *ca, do func() (accepted bool, err error)) error {
	return c.Alone(ctx, func() *acme.Failure { return ts.heldBack(c) }, func(f *acme.Failure) { ts.fault(ctx, c, f) }, do)
}

// heldBack is the Failure of a request to a CA that is held as a whole; nil: it is not.
func (ts *tools) heldBack(c *ca) *acme.Failure {
	if h, held := ts.ledger.heldCA(c, ts.now()); held {
		return limitedUntil(h)
	}
	return nil
}

// limitedUntil is the Failure of a request that a hold stops.
func limitedUntil(h hold) *acme.Failure {
	return &acme.Failure{Class: acme.ClassLimited, Scope: acme.ScopeCA, Until: h.Until, Err: errHeld, Message: h.Reason}
}

// fault notes a fault of the account as a hold, once for each Failure.
func (ts *tools) fault(ctx context.Context, c *ca, f *acme.Failure) {
	if f.Kept {
		return
	}
	f.Kept = true
	h, err := ts.ledger.fault(context.WithoutCancel(ctx), c, f, ts.now())
	if err != nil {
		ts.log.Error("keeping the fault of an account failed", zap.Error(err))
	}
	ts.log.Error("a certificate authority does not accept the account", zap.String("ca", c.Key), zap.Time("until", h.Until),
		zap.String("reason", h.Reason), zap.String("mend", h.Mend), zap.Error(f.Err))
}

// accountPauses are the pauses before a CA is asked whether it accepts an account again.
var accountPauses = []time.Duration{time.Minute, 5 * time.Minute, 15 * time.Minute, 30 * time.Minute}

// fault holds the account of a CA because of a fault, longer with each in a row.
func (l *ledger) fault(ctx context.Context, c *ca, f *acme.Failure, now time.Time) (hold, error) {
	key := holdKey(c, acme.ScopeAccount, "")
	l.mu.Lock()
	h := hold{Reason: f.Message, Mend: f.Mend, Account: c.identity, Count: 1}
	if old := l.holds[key]; old.Account == h.Account && now.Sub(old.Until) < rowEnds {
		h.Count += old.Count
	}
	h.Until = now.Add(accountPauses[min(h.Count, len(accountPauses))-1])
	l.holds[key] = h
	l.mu.Unlock()
	return h, l.keepHold(ctx, key, h)
}

// stops reports whether a hold is not over and, if it is for a fault of the account, the
// CA is still configured with that account.
func (h hold) stops(c *ca, now time.Time) bool {
	return h.Until.After(now) && (h.Account == "" || h.Account == c.identity)
}

// accountOf returns the CA's account. A fault of it becomes a hold.
func (ts *tools) accountOf(ctx context.Context, c *ca) (acmez.Account, error) {
	var acct acmez.Account
	err := ts.alone(ctx, c, func() (bool, error) {
		var err error
		acct, err = c.Account(ctx)
		return false, err
	})
	return acct, err
}

// limited notes as a hold that a CA asked to wait.
func (ts *tools) limited(ctx context.Context, c *ca, f *acme.Failure, hostname string) hold {
	h, err := ts.ledger.put(context.WithoutCancel(ctx), c, f.Scope, hostname, f.Until, f.Message, ts.now())
	if err != nil {
		ts.log.Error("keeping a certificate authority's request to wait failed", zap.Error(err))
	}
	ts.log.Warn("a certificate authority asked to wait", zap.String("ca", c.Key), zap.String("scope", string(f.Scope)),
		zap.String("hostname", hostname), zap.Time("until", h.Until), zap.String("reason", h.Reason))
	return h
}

// hold stops requests to a CA, or for some hostnames there, until a time.
type hold struct {
	Until  time.Time `json:"until"`
	Reason string    `json:"reason"`
	// Mend says who must act and how; empty: nobody needs to.
	Mend string `json:"mend,omitempty"`
	// Account is the identity of the account that is at fault (acme.Authority.Identity);
	// empty: the CA asked to wait.
	Account string `json:"account,omitempty"`
	// Count is how many holds in a row had no time of the CA's; their pauses grow.
	Count int `json:"count,omitempty"`
	// down reports that the CA does not answer. Such a hold is in memory only.
	down bool
}

// holdKey is the key of a hold of a scope, below holdPrefix.
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

// held returns the longest hold that stops a hostname at a CA; false if none does.
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

// heldCA returns the hold that stops everything at a CA; false if none does.
func (l *ledger) heldCA(c *ca, now time.Time) (hold, bool) { return l.held(c, "", now) }

// rowEnds is how long after the end of a hold another one still counts as in a row.
const rowEnds = time.Hour

// put holds a scope until a time. The zero time means that the CA named none: the pauses
// then grow from ten minutes. If the time is past, they grow from five seconds.
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
	if old := l.holds[key]; old.Until.After(h.Until) && !old.down { // a CA that asks to wait does answer
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

// downAfter is after how many failures in a row a CA that does not answer is held.
const downAfter = 5

// answered notes whether a CA answered. Once it did not downAfter times in a row it is
// held, longer with each failure, so that a long queue does not keep asking it.
func (l *ledger) answered(c *ca, ok bool, message string, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	key := c.LedgerKey()
	if ok {
		delete(l.fails, key)
		return
	}
	if l.holds[holdKey(c, acme.ScopeCA, "")].Until.After(now) {
		return // the order was under way when the hold began
	}
	l.fails[key]++
	n := l.fails[key] - downAfter + 1
	if n <= 0 {
		return
	}
	l.holds[holdKey(c, acme.ScopeCA, "")] = hold{
		Until: now.Add(min(backoff(acme.ClassPassing, n, 0), 10*time.Minute)), Reason: words.Cut(message, 400), down: true}
}
