package certfiles

import (
	"context"
	"encoding/json"
	"fmt"
	"path"

	"github.com/caddyserver/certmagic"
	acmez "github.com/mholt/acmez/v3/acme"

	"github.com/apoxy-dev/caddy-apoxy/internal/words"
)

// This file writes certmagic's layout of storage, so that Caddy's handshakes
// load what the scheduler obtained, Caddy's servers answer the challenges it
// starts, and accounts are shared. The layout is internal to certmagic;
// layout_test.go holds it in place.

// ChallengeKey is where certmagic looks for a challenge that another process
// (here: the scheduler) started.
func ChallengeKey(issuerKey, hostname string) string {
	return path.Join("acme", certmagic.StorageKeys.Safe(issuerKey), "challenge_tokens",
		certmagic.StorageKeys.Safe(hostname)+".json")
}

// Challenges are an issuer's challenges in storage, of type HTTP-01 and TLS-ALPN-01,
// that every node's Caddy answers.
type Challenges struct {
	Storage   certmagic.Storage
	IssuerKey string
}

// Put has a challenge for a hostname answered, in place of any other.
func (c Challenges) Put(ctx context.Context, hostname string, chal acmez.Challenge) error {
	raw, err := json.Marshal(chal)
	if err != nil {
		return fmt.Errorf("encoding challenge: %w", err)
	}
	return c.Storage.Store(ctx, ChallengeKey(c.IssuerKey, hostname), raw)
}

// Remove ends that. No error if there is none.
func (c Challenges) Remove(ctx context.Context, hostname string) error {
	return DeleteKeys(ctx, c.Storage, []string{ChallengeKey(c.IssuerKey, hostname)})
}

// issueLock is the lock under which certmagic obtains and renews a hostname.
func issueLock(hostname string) string { return "issue_cert_" + hostname }

// TryLock takes a hostname's lock, under which certmagic obtains and renews. false:
// another process, or a handshake, has it.
func TryLock(ctx context.Context, st certmagic.Storage, hostname string) (bool, error) {
	if tl, ok := st.(certmagic.TryLocker); ok {
		return tl.TryLock(ctx, issueLock(hostname))
	}
	if err := st.Lock(ctx, issueLock(hostname)); err != nil {
		return false, err
	}
	return true, nil
}

// Unlock gives a hostname's lock back, whether or not ctx has ended.
func Unlock(ctx context.Context, st certmagic.Storage, hostname string) error {
	return st.Unlock(context.WithoutCancel(ctx), issueLock(hostname))
}

// OrderKey is where the key of an order under way is kept.
func OrderKey(issuerKey, hostname string) string {
	return path.Join("acme", certmagic.StorageKeys.Safe(issuerKey), "orders", certmagic.StorageKeys.Safe(hostname)+".key")
}

// compromisedSuffix ends the key under which certmagic puts a private key away
// that it learns is compromised.
const compromisedSuffix = ".compromised"

// Compromised reports whether certmagic has put a hostname's key away because it
// is compromised.
func Compromised(ctx context.Context, st certmagic.Storage, issuerKey, hostname string) bool {
	return st.Exists(ctx, certmagic.StorageKeys.SitePrivateKey(issuerKey, hostname)+compromisedSuffix)
}

// NameOf is what a storage calls itself.
func NameOf(st certmagic.Storage) string {
	st = Unwrap(st)
	if str, ok := st.(fmt.Stringer); ok {
		return words.Cut(str.String(), 150)
	}
	return fmt.Sprintf("%T", st)
}
