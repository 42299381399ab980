package acme

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

// account returns the CA's account from memory or from storage, or registers one. One
// caller in the process, and one process in a cluster, does so at a time.
func (c *CA) account(ctx context.Context) (acmez.Account, error) {
	// The timeout includes the wait for the mutex.
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
		return acmez.Account{}, Failed(ClassOperator, "reading the account from storage failed", err)
	}
	if c.Auth.AccountKeyPEM != "" {
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

// use keeps an account in memory; the zero value means none. c.accountMu must be held.
func (c *CA) use(acct acmez.Account) {
	c.acct = acct
	c.url.Store(&acct.Location)
}

// Location is the URL of the account in memory, empty if there is none. It asks
// neither storage nor the CA.
func (c *CA) Location() string {
	if l := c.url.Load(); l != nil {
		return *l
	}
	return ""
}

// forgetAccount deletes an account that the CA does not have any more, so that the
// next use registers another. A configured account_key cannot be replaced so: that is
// an error.
func (c *CA) forgetAccount(ctx context.Context, gone acmez.Account) error {
	c.accountMu.Lock()
	defer c.accountMu.Unlock()
	if c.acct.Location != gone.Location {
		return nil // another flow has replaced it already
	}
	c.use(acmez.Account{})
	if c.Auth.AccountKeyPEM != "" {
		return errors.New("the account of the configured key does not exist at the certificate authority")
	}
	return certfiles.DeleteAccount(ctx, c.Storage(), c.Key, gone)
}

// email is the configured address or, as in certmagic, that of the account that was
// stored last for this CA.
func (c *CA) email(ctx context.Context) string {
	if e := strings.ToLower(strings.TrimSpace(c.Auth.Email)); e != "" {
		return e
	}
	if e := strings.ToLower(strings.TrimSpace(certmagic.DefaultACME.Email)); e != "" {
		return e
	}
	return certfiles.LatestEmail(ctx, c.Storage(), c.Key)
}

// loadAccount reads the account of an address from storage. fs.ErrNotExist: there is
// none, or its key is not the configured one.
func (c *CA) loadAccount(ctx context.Context, email string) (acmez.Account, error) {
	acct, keyPEM, err := certfiles.LoadAccount(ctx, c.Storage(), c.Key, email)
	if keyPEM != nil && c.Auth.AccountKeyPEM != "" && !bytes.Equal(bytes.TrimSpace(keyPEM), bytes.TrimSpace([]byte(c.Auth.AccountKeyPEM))) {
		return acct, fs.ErrNotExist // another account of the same address
	}
	return acct, err
}

// lookUpAccount asks the CA for the account of the configured key and stores it.
func (c *CA) lookUpAccount(ctx context.Context) (acmez.Account, error) {
	key, err := certmagic.PEMDecodePrivateKey([]byte(c.Auth.AccountKeyPEM))
	if err != nil {
		return acmez.Account{}, accountFailed("account_key is not a private key in PEM", err, "The operator sets `account_key` to one and reloads")
	}
	acct, err := call(ctx, c, "looking up account", func(ctx context.Context) (acmez.Account, error) {
		return c.Client.GetAccount(ctx, acmez.Account{PrivateKey: key})
	})
	if err != nil {
		return acct, err
	}
	if acct.Status != acmez.StatusValid {
		return acct, acmez.Problem{Type: acmez.ProblemTypeUnauthorized, Status: 403, Detail: "the account is " + words.Cut(acct.Status, 40)}
	}
	return acct, certfiles.SaveAccount(context.WithoutCancel(ctx), c.Storage(), c.Key, acct)
}

// register registers an account with a new key and stores it, unless another process
// has done so while this one waited for the lock.
func (c *CA) register(ctx context.Context, email string) (acmez.Account, error) {
	lock := certfiles.AccountLock(email)
	if err := c.Storage().Lock(ctx, lock); err != nil {
		return acmez.Account{}, fmt.Errorf("locking account registration: %w", err)
	}
	defer func() {
		if err := c.Storage().Unlock(context.WithoutCancel(ctx), lock); err != nil {
			c.log.Error("unlocking account registration failed", zap.Error(err))
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
		if err := acct.SetExternalAccountBinding(asked, c.Client, *eab); err != nil {
			return acct, accountFailed("binding the external account (eab) failed", err, c.mend("eab", acmez.Problem{}))
		}
	}
	acct, err = c.Client.NewAccount(asked, acct)
	if err != nil {
		return acct, fmt.Errorf("registering account: %w", err)
	}
	c.log.Info("account registered", zap.String("ca", c.Key), zap.Strings("contact", acct.Contact))
	return acct, certfiles.SaveAccount(context.WithoutCancel(ctx), c.Storage(), c.Key, acct)
}
