package issuance

import (
	"testing"

	"github.com/caddyserver/certmagic"

	"github.com/apoxy-dev/caddy-apoxy/internal/certtest"
	"github.com/apoxy-dev/caddy-apoxy/issuance/acme"
	"github.com/apoxy-dev/caddy-apoxy/issuance/certfiles"
)

// counted has the world's certmagic use a countingStorage.
func (w *world) counted() *certtest.Storage {
	s := &certtest.Storage{FileStorage: certfiles.Unwrap(w.magic.Storage).(*certmagic.FileStorage)}
	w.magic.Storage = s
	w.is.front.Install(w.magic, nil)
	return s
}

// key is certmagic's key for the world's first CA.
func (w *world) key() string { return acme.Authority{Directory: w.ca.Directory()}.Key() }

// cold is shake with nothing in memory.
func (w *world) cold(t *testing.T, hostname string, want int64) {
	t.Helper()
	certfiles.Evict(w.magic, hostname)
	if got, err := certtest.Shake(w.magic, hostname); err != nil || got != want {
		t.Errorf("a handshake for %s: %d, %v; want %d", hostname, got, err, want)
	}
}

// saved stores a certificate as the scheduler does.
func saved(t *testing.T, m certtest.Certificate, st certmagic.Storage, issuerKey, hostname string) {
	t.Helper()
	if err := certfiles.At(st, issuerKey, hostname).Save(t.Context(), m.Key, m.Chain, certfiles.Metadata{}); err != nil {
		t.Fatal(err)
	}
}
