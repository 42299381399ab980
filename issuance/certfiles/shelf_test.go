package certfiles

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/caddyserver/certmagic"
	"go.uber.org/zap"

	"github.com/apoxy-dev/caddy-apoxy/internal/certtest"
)

// The issuers of a shelf, by their keys.
const (
	ourCA   = "ca.test-dir"
	otherCA = "other.test-dir"
)

// shelf is certmagic over a storage, with a Front before it.
type shelf struct {
	t     *testing.T
	dir   string
	magic *certmagic.Config
	st    *certtest.Storage
	front *Front
	known *memory
}

// newShelf installs a Front that shows what shows says; nil: it says nothing.
func newShelf(t *testing.T, shows func(context.Context, string) Shown) *shelf {
	dir := t.TempDir()
	s := &shelf{t: t, dir: dir, magic: certtest.Magic(t, dir), front: &Front{Shows: shows}, known: &memory{of: map[string]whereabout{}}}
	s.st = &certtest.Storage{FileStorage: s.magic.Storage.(*certmagic.FileStorage)}
	s.magic.Storage = s.st
	s.magic.Issuers = []certmagic.Issuer{idle(ourCA)}
	s.front.SetIndex(s.known)
	s.front.SetIssuers([]string{ourCA, otherCA})
	s.front.Install(s.magic, zap.NewNop())
	return s
}

// idle is an issuer that issues nothing, by its key.
type idle string

func (r idle) IssuerKey() string { return string(r) }
func (idle) Issue(context.Context, *x509.CertificateRequest) (*certmagic.IssuedCertificate, error) {
	return nil, certmagic.ErrNoRetry{Err: errors.New("it issues nothing")}
}

// whereabout is where a certificate is known to be.
type whereabout struct{ issuerKey, serial string }

// memory is an Index that knows what it is told.
type memory struct {
	mu      sync.Mutex
	of      map[string]whereabout
	uploads map[string]Upload
	busy    bool // another certificate is being obtained
	heard   []string
}

func (k *memory) Held(names []string) (issuerKey, stored, serial string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, name := range names {
		if at, ok := k.of[name]; ok && !k.busy {
			return at.issuerKey, name, at.serial
		}
	}
	return "", "", ""
}

func (k *memory) Uploaded(hostname string) (Upload, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	u, ok := k.uploads[hostname]
	return u, ok
}

func (k *memory) UploadMissing(u Upload) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.heard = append(k.heard, "missing "+u.Hostname)
	delete(k.uploads, u.Hostname)
}

func (k *memory) Missed(string) bool { return false }

func (k *memory) LookAgain(hostname string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.heard = append(k.heard, hostname)
}

func (k *memory) RevocationTold(certmagic.Certificate) bool { return false }

// index has the index know a certificate.
func (s *shelf) index(issuerKey, hostname string, m certtest.Certificate) {
	s.known.mu.Lock()
	defer s.known.mu.Unlock()
	s.known.of[hostname] = whereabout{issuerKey, fmt.Sprintf("%x", m.Serial)}
}

// forget has the index know nothing.
func (s *shelf) forget() {
	s.known.mu.Lock()
	defer s.known.mu.Unlock()
	clear(s.known.of)
	s.known.busy = false
}

// cold is shake with nothing in memory.
func (s *shelf) cold(t *testing.T, hostname string, want int64) {
	t.Helper()
	Evict(s.magic, hostname)
	if got, err := certtest.Shake(s.magic, hostname); err != nil || got != want {
		t.Errorf("a handshake for %s: %d, %v; want %d", hostname, got, err, want)
	}
}

// untouched reports what is kept for handshakes that are over.
func (s *shelf) untouched(t *testing.T) {
	t.Helper()
	s.front.trips.mu.Lock()
	defer s.front.trips.mu.Unlock()
	if n := len(s.front.trips.of); n != 0 {
		t.Errorf("something is kept for %d handshakes", n)
	}
}

// save stores a certificate as the scheduler does.
func save(t *testing.T, m certtest.Certificate, st certmagic.Storage, issuerKey, hostname string) {
	t.Helper()
	if err := At(st, issuerKey, hostname).Save(context.Background(), m.Key, m.Chain, Metadata{}); err != nil {
		t.Fatal(err)
	}
}
