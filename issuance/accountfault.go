package issuance

import (
	"context"
	"time"

	acmez "github.com/mholt/acmez/v3/acme"
	"go.uber.org/zap"

	"github.com/apoxy-dev/caddy-apoxy/issuance/acme"
)

// alone runs do, which uses the account of a CA, by itself until the CA has accepted
// it: who waited finds the hold.
func (ts *tools) alone(ctx context.Context, c *ca, do func() (accepted bool, err error)) error {
	return c.Alone(ctx, func() *acme.Failure { return ts.heldBack(c) }, func(f *acme.Failure) { ts.fault(ctx, c, f) }, do)
}

// heldBack is the failure of a request to a CA that is held as a whole; nil: it is
// not.
func (ts *tools) heldBack(c *ca) *acme.Failure {
	if h, held := ts.ledger.heldCA(c, ts.now()); held {
		return &acme.Failure{Class: acme.ClassLimited, Scope: acme.ScopeCA, Until: h.Until, Err: errHeld, Message: h.Reason}
	}
	return nil
}

// fault holds the account for a failure, once.
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

// accountPauses are those between looks whether a CA takes an account again.
var accountPauses = []time.Duration{time.Minute, 5 * time.Minute, 15 * time.Minute, 30 * time.Minute}

// fault holds a CA and account for a fault of that account.
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

// stops reports whether a hold is one for a CA as it is configured now.
func (h hold) stops(c *ca, now time.Time) bool {
	return h.Until.After(now) && (h.Account == "" || h.Account == c.identity)
}

// accountOf is the CA's account; a fault of it holds it.
func (ts *tools) accountOf(ctx context.Context, c *ca) (acmez.Account, error) {
	var acct acmez.Account
	err := ts.alone(ctx, c, func() (bool, error) {
		var err error
		acct, err = c.Account(ctx)
		return false, err
	})
	return acct, err
}

// limited keeps a CA's request to wait.
func (ts *tools) limited(ctx context.Context, c *ca, f *acme.Failure, hostname string) hold {
	h, err := ts.ledger.put(context.WithoutCancel(ctx), c, f.Scope, hostname, f.Until, f.Message, ts.now())
	if err != nil {
		ts.log.Error("keeping a certificate authority's request to wait failed", zap.Error(err))
	}
	ts.log.Warn("a certificate authority asked to wait", zap.String("ca", c.Key), zap.String("scope", string(f.Scope)),
		zap.String("hostname", hostname), zap.Time("until", h.Until), zap.String("reason", h.Reason))
	return h
}
