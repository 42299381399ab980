package certfiles

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"strings"
	"time"

	"github.com/caddyserver/certmagic"
	acmez "github.com/mholt/acmez/v3/acme"

	"github.com/apoxy-dev/caddy-apoxy/internal/words"
)

// This file names keys of certmagic's layout of storage, so that Caddy's handshakes
// load the certificates that are obtained here, Caddy's servers answer the challenges
// that are begun here, and accounts are shared. The layout is internal to certmagic;
// the tests of this room, and layout_test.go above it, notice if it changes.

// Site is what one issuer has in storage for one hostname: the certificate with its
// key and metadata, and what an order under way needs.
type Site struct {
	Storage   certmagic.Storage
	IssuerKey string // certmagic's name of the issuer, see acme.Authority.Key
	Hostname  string
}

// At returns the Site of a hostname. storage may be nil where only keys are asked for.
func At(storage certmagic.Storage, issuerKey, hostname string) Site {
	return Site{storage, issuerKey, hostname}
}

func (s Site) place() place { return placeOf(s.IssuerKey, s.Hostname) }

// KeyFile is the key of storage at which the private key lies, and, in certificates
// that were stored here, chain and metadata with it. A handshake reads it first.
func (s Site) KeyFile() string { return s.place().key() }

// OrderKey is the key of storage at which the private key of an order under way is
// kept. certmagic does not know it.
func (s Site) OrderKey() string { return s.acmeKey("orders", ".key") }

// ChallengeKey is the key of storage at which certmagic looks for a challenge that
// another process has begun; here it is the scheduler that begins them.
func (s Site) ChallengeKey() string { return s.acmeKey("challenge_tokens", ".json") }

func (s Site) acmeKey(folder, ext string) string {
	safe := certmagic.StorageKeys.Safe
	return path.Join("acme", safe(s.IssuerKey), folder, safe(s.Hostname)+ext)
}

// Compromised reports whether certmagic has moved the private key away because its
// certificate was revoked for a compromised key.
func (s Site) Compromised(ctx context.Context) bool {
	return s.Storage.Exists(ctx, s.KeyFile()+compromisedSuffix)
}

// compromisedSuffix is what certmagic appends to the key of storage when it moves a
// compromised private key away.
const compromisedSuffix = ".compromised"

// Challenges are the challenges of type HTTP-01 and TLS-ALPN-01 of one issuer in
// storage. Every node's Caddy answers them.
type Challenges struct {
	Storage   certmagic.Storage
	IssuerKey string // certmagic's name of the issuer
}

func (c Challenges) key(hostname string) string {
	return At(c.Storage, c.IssuerKey, hostname).ChallengeKey()
}

// Put stores a challenge for a hostname, in place of any other for it, so that Caddy
// answers it.
func (c Challenges) Put(ctx context.Context, hostname string, chal acmez.Challenge) error {
	raw, err := json.Marshal(chal)
	if err != nil {
		return fmt.Errorf("encoding challenge: %w", err)
	}
	return c.Storage.Store(ctx, c.key(hostname), raw)
}

// Remove deletes the challenge for a hostname. It is no error if there is none.
func (c Challenges) Remove(ctx context.Context, hostname string) error {
	return DeleteKeys(ctx, c.Storage, []string{c.key(hostname)})
}

// issueLock is the lock under which certmagic obtains and renews a hostname.
func issueLock(hostname string) string { return "issue_cert_" + hostname }

// TryLock takes the lock of a hostname, under which certmagic obtains and renews its
// certificate. false: another process, or a handshake, holds it. A storage that
// cannot just try makes it wait until the lock is free or ctx ends.
func TryLock(ctx context.Context, st certmagic.Storage, hostname string) (bool, error) {
	if tl, ok := st.(certmagic.TryLocker); ok {
		return tl.TryLock(ctx, issueLock(hostname))
	}
	if err := st.Lock(ctx, issueLock(hostname)); err != nil {
		return false, err
	}
	return true, nil
}

// Unlock releases the lock of a hostname, even if ctx has ended.
func Unlock(ctx context.Context, st certmagic.Storage, hostname string) error {
	return st.Unlock(context.WithoutCancel(ctx), issueLock(hostname))
}

// LockLost reports whether a storage knows that a hostname's lock, which this process
// took, may be another's by now.
func LockLost(ctx context.Context, st certmagic.Storage, hostname string) bool {
	r, ok := st.(certmagic.LockLeaseRenewer)
	return ok && errors.Is(r.RenewLockLease(context.WithoutCancel(ctx), issueLock(hostname), time.Minute), ErrLockLost)
}

// NameOf is what a storage calls itself, or its Go type, for people to read.
func NameOf(st certmagic.Storage) string {
	st = Unwrap(st)
	if str, ok := st.(fmt.Stringer); ok {
		return words.Cut(str.String(), 150)
	}
	return fmt.Sprintf("%T", st)
}

// Subject is what only the holder of a lock may write: keys of storage with this element
// in their path, be it with an extension. Empty: the lock's name does not tell. It knows
// the locks of certificates, uploads and accounts, certmagic's and ours.
func Subject(lock string) string {
	for _, prefix := range []string{issueLock(""), uploadLock("")} {
		if hostname, ok := strings.CutPrefix(lock, prefix); ok {
			return certmagic.StorageKeys.Safe(hostname)
		}
	}
	if email, ok := strings.CutPrefix(lock, AccountLock("")+"_"); ok {
		return certmagic.StorageKeys.Safe(email)
	}
	return ""
}
