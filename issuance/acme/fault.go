package acme

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	acmez "github.com/mholt/acmez/v3/acme"

	"github.com/apoxy-dev/caddy-apoxy/internal/words"
	"github.com/apoxy-dev/caddy-apoxy/issuance/certfiles"
)

// This file tells faults of our account at a CA from failures of a hostname. The
// account may be deactivated or unknown, may have to agree to new terms, or cannot be
// bound to an external account. That stops every hostname at the CA, so the caller
// holds the account: it asks the CA with one request at a time, after pauses, whether
// it takes the account again. A changed issuer line ends the hold.

// accountFault returns which fault of the account a problem tells of: "unknown",
// "terms", "eab" or "refused"; empty: none. A problem that names the hostname is about
// that one and not about the account.
func accountFault(p acmez.Problem, hostname string) string {
	switch p.Type {
	case acmez.ProblemTypeAccountDoesNotExist:
		return "unknown"
	case acmez.ProblemTypeUserActionRequired:
		return "terms"
	case acmez.ProblemTypeExternalAccountRequired:
		return "eab"
	case acmez.ProblemTypeUnauthorized:
		_, authz := p.Resource.(acmez.Authorization)
		bare := strings.TrimPrefix(hostname, "*.")
		if authz || bare != "" && strings.Contains(strings.ToLower(p.Detail), bare) || len(p.Subproblems) > 0 {
			return ""
		}
		return "refused"
	}
	return ""
}

// faulty makes a Failure of the account out of an error; nil: the account is not at
// fault. registering: the error is from registering the account, so any refusal is a
// fault of it; otherwise it is from an order with the account.
func (c *CA) faulty(err error, acct acmez.Account, hostname string, registering bool) *Failure {
	var f *Failure
	var p acmez.Problem
	kind, says := "", ""
	switch {
	case errors.As(err, &f):
		if !f.Account {
			return nil
		}
		return f
	case !errors.As(err, &p):
		return nil
	default:
		kind, says = accountFault(p, hostname), strings.TrimRight(words.Cut(saidOf(p), 120), ". ") // a sentence follows it
		if kind == "" && registering && p.Status >= 400 && p.Status < 500 && p.Status != 429 &&
			p.Type != acmez.ProblemTypeRateLimited && p.Type != acmez.ProblemTypeBadNonce {
			kind = "refused"
		}
	}
	if kind == "" {
		return nil
	}
	return &Failure{Class: ClassOperator, Account: true, Err: err,
		Message: fmt.Sprintf("%s does not accept %s: it says %q", c.Auth.Host(), c.whose(acct), says), Mend: c.mend(kind, p)}
}

// FaultLater is faulty for an error that came after the order was placed. There a CA
// answers "unauthorized" for other reasons, too, so that counts only if its text
// speaks of the account.
func (c *CA) FaultLater(err error, hostname string) *Failure {
	var p acmez.Problem
	if !errors.As(err, &p) || p.Type == acmez.ProblemTypeUnauthorized && !strings.Contains(strings.ToLower(p.Detail), "account") {
		return nil
	}
	c.accountMu.Lock()
	acct := c.acct
	c.accountMu.Unlock()
	return c.faulty(err, acct, hostname, false)
}

// saidOf is what a CA says in a problem: its text, else its type.
func saidOf(p acmez.Problem) string {
	return cmp.Or(p.Detail, strings.TrimPrefix(p.Type, acmez.ProblemTypeNamespace))
}

// whose names an account for a message: new or ours, its email address, its URL.
func (c *CA) whose(acct acmez.Account) string {
	who := "our account"
	if acct.Location == "" {
		who = "a new account"
	}
	if email := cmp.Or(c.Auth.Email, certfiles.ContactOf(acct)); email != "" {
		who += " of " + words.Cut(email, 80)
	}
	if acct.Location != "" {
		who += " (" + words.Cut(acct.Location, 120) + ")"
	}
	return who
}

// mend says what the operator does about an account with a fault of this kind.
func (c *CA) mend(kind string, p acmez.Problem) string {
	fresh := "sets another `email`, which registers a new account"
	switch {
	case c.Auth.AccountKeyPEM != "":
		fresh = "sets the `account_key` of an account that is valid"
	case c.Auth.ExternalAccount != nil:
		fresh = "sets another `email` with fresh `eab` credentials, which registers a new account"
	}
	switch {
	case kind == "terms" && p.Instance != "":
		return "The operator agrees to the new terms at " + words.Cut(p.Instance, 120) + ", or " + fresh + " in its issuer block, and reloads"
	case kind == "terms":
		return "The operator agrees to the new terms with that authority, or " + fresh + " in its issuer block, and reloads"
	case kind == "eab", kind == "refused" && c.Auth.ExternalAccount != nil:
		return "The operator gets fresh credentials from that authority, which takes them once, sets them as `eab KEY_ID MAC_KEY` in its issuer block, and reloads"
	}
	return "The operator " + fresh + " in its issuer block, and reloads"
}

// Identity is a digest of what an issuer line says about the account. A fault is kept
// under it, so that it does not count against another account.
func (a Authority) Identity() string {
	h := sha256.New()
	for _, part := range []string{a.Key(), strings.ToLower(a.Email), a.AccountKeyPEM} {
		fmt.Fprintf(h, "%q\n", part)
	}
	if e := a.ExternalAccount; e != nil {
		fmt.Fprintf(h, "%q %q\n", e.KeyID, e.MACKey)
	}
	return hex.EncodeToString(h.Sum(nil)[:8])
}

// Alone runs do, which uses the account and reports whether the CA has accepted it.
// As long as the CA has not, one do runs at a time, so that a fault of the account
// costs one request and not one for each hostname: before each, held is asked, whose
// Failure ends the wait; after a fault, keep is called before the next do runs.
func (c *CA) Alone(ctx context.Context, held func() *Failure, keep func(*Failure), do func() (accepted bool, err error)) error {
	if !c.accepted.Load() {
		select {
		case c.turn <- struct{}{}:
			defer func() { <-c.turn }()
		case <-ctx.Done():
			return fmt.Errorf("waiting for the account: %w", context.Cause(ctx))
		}
		if f := held(); f != nil {
			return f
		}
	}
	accepted, err := do()
	var f *Failure
	switch {
	case errors.As(err, &f) && f.Account:
		c.accepted.Store(false)
		keep(f)
	case accepted:
		c.accepted.Store(true)
	}
	return err
}

// Account returns the CA's account from memory or from storage, or registers one. If
// the account is at fault the error is a *Failure with Account set.
func (c *CA) Account(ctx context.Context) (acmez.Account, error) {
	acct, err := c.account(ctx)
	if f := c.faulty(err, acmez.Account{}, "", true); f != nil {
		err = f
	}
	return acct, err
}
