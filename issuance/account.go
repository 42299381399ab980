package issuance

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/caddyserver/certmagic"
	acmez "github.com/mholt/acmez/v3/acme"
	"go.uber.org/zap"

	"github.com/apoxy-dev/caddy-apoxy/internal/words"
	"github.com/apoxy-dev/caddy-apoxy/issuance/certfiles"
)

// account returns the CA's account, from memory, from storage, or registered
// now. Registrations of one process and of a cluster wait for one another.
func (c *ca) account(ctx context.Context) (acmez.Account, error) {
	// The time runs for those who wait for one another, too.
	ctx, cancel := context.WithTimeout(ctx, directoryTimeout+callTimeout)
	defer cancel()
	c.accountMu.Lock()
	defer c.accountMu.Unlock()
	if c.acct.Status != "" {
		return c.acct, nil
	}
	if err := ctx.Err(); err != nil {
		return acmez.Account{}, fmt.Errorf("waiting for the account: %w", context.Cause(ctx))
	}
	email := c.email(ctx)
	acct, err := c.loadAccount(ctx, email)
	if err == nil && acct.Status != "" {
		c.use(acct)
		return acct, nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return acmez.Account{}, &failure{class: ClassOperator, err: err, message: "reading the account from storage failed: " + words.Cut(err.Error(), 200)}
	}
	if c.auth.AccountKeyPEM != "" {
		acct, err = c.lookUpAccount(ctx)
	} else {
		acct, err = c.register(ctx, email)
	}
	if err != nil {
		return acmez.Account{}, err
	}
	c.use(acct)
	return acct, nil
}

// use keeps an account in memory; the zero value: none. c.accountMu must be held.
func (c *ca) use(acct acmez.Account) {
	c.acct = acct
	c.url.Store(&acct.Location)
}

// location is the URL of the account, empty while none is in memory. It never waits.
func (c *ca) location() string {
	if l := c.url.Load(); l != nil {
		return *l
	}
	return ""
}

// forgetAccount drops an account that the CA no longer has, so that the next
// use registers a new one.
func (c *ca) forgetAccount(ctx context.Context, gone acmez.Account) error {
	c.accountMu.Lock()
	defer c.accountMu.Unlock()
	if c.acct.Location != gone.Location {
		return nil // someone else has replaced it already
	}
	c.use(acmez.Account{})
	if c.auth.AccountKeyPEM != "" {
		return errors.New("the account of the configured key does not exist at the certificate authority")
	}
	return certfiles.DeleteAccount(ctx, c.storage(), c.key, gone)
}

// email is the configured address or, as certmagic does, that of the account
// used last with this CA.
func (c *ca) email(ctx context.Context) string {
	if e := strings.ToLower(strings.TrimSpace(c.auth.Email)); e != "" {
		return e
	}
	if e := strings.ToLower(strings.TrimSpace(certmagic.DefaultACME.Email)); e != "" {
		return e
	}
	return certfiles.LatestEmail(ctx, c.storage(), c.key)
}

func (c *ca) loadAccount(ctx context.Context, email string) (acmez.Account, error) {
	acct, keyPEM, err := certfiles.LoadAccount(ctx, c.storage(), c.key, email)
	if keyPEM != nil && c.auth.AccountKeyPEM != "" && !bytes.Equal(bytes.TrimSpace(keyPEM), bytes.TrimSpace([]byte(c.auth.AccountKeyPEM))) {
		return acct, fs.ErrNotExist // another account of the same address
	}
	return acct, err
}

// lookUpAccount finds the account of the configured key at the CA.
func (c *ca) lookUpAccount(ctx context.Context) (acmez.Account, error) {
	key, err := certmagic.PEMDecodePrivateKey([]byte(c.auth.AccountKeyPEM))
	if err != nil {
		return acmez.Account{}, &failure{class: ClassOperator, err: err, account: true, message: "account_key is not a private key in PEM: " + words.Cut(err.Error(), 200),
			mend: "The operator sets `account_key` to one and reloads"}
	}
	asked, cancel, err := c.within(ctx)
	if err != nil {
		return acmez.Account{}, err
	}
	defer cancel()
	acct, err := c.client.GetAccount(asked, acmez.Account{PrivateKey: key})
	if err != nil {
		return acct, fmt.Errorf("looking up account: %w", err)
	}
	if acct.Status != acmez.StatusValid {
		return acct, acmez.Problem{Type: acmez.ProblemTypeUnauthorized, Status: 403, Detail: "the account is " + words.Cut(acct.Status, 40)}
	}
	return acct, certfiles.SaveAccount(context.WithoutCancel(ctx), c.storage(), c.key, acct)
}

func (c *ca) register(ctx context.Context, email string) (acmez.Account, error) {
	lock := certfiles.AccountLock(email)
	if err := c.storage().Lock(ctx, lock); err != nil {
		return acmez.Account{}, fmt.Errorf("locking account registration: %w", err)
	}
	defer func() {
		if err := c.storage().Unlock(context.WithoutCancel(ctx), lock); err != nil {
			c.log.Error("unlocking account registration", zap.Error(err))
		}
	}()
	if acct, err := c.loadAccount(ctx, email); err == nil && acct.Status != "" {
		return acct, nil
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return acmez.Account{}, fmt.Errorf("generating account key: %w", err)
	}
	acct := acmez.Account{PrivateKey: key, TermsOfServiceAgreed: true}
	if email != "" {
		acct.Contact = []string{"mailto:" + email}
	}
	asked, cancel, err := c.within(ctx)
	if err != nil {
		return acct, err
	}
	defer cancel()
	eab, err := c.binding(asked, email)
	if err != nil {
		return acct, err
	}
	if eab != nil {
		if err := acct.SetExternalAccountBinding(asked, c.client, *eab); err != nil {
			return acct, &failure{class: ClassOperator, err: err, account: true, message: "binding the external account (eab) failed: " + words.Cut(err.Error(), 200),
				mend: c.mend("eab", acmez.Problem{})}
		}
	}
	acct, err = c.client.NewAccount(asked, acct)
	if err != nil {
		return acct, fmt.Errorf("registering account: %w", err)
	}
	c.log.Info("account registered", zap.String("ca", c.key), zap.Strings("contact", acct.Contact))
	return acct, certfiles.SaveAccount(context.WithoutCancel(ctx), c.storage(), c.key, acct)
}
