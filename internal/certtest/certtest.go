// Package certtest has what tests of certificates in storage have in common: freshly
// signed certificates, a storage that notes what is read, certmagic over it, and
// real handshakes with it.
package certtest

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/caddyserver/certmagic"
	"go.uber.org/zap"
)

// Certificate is a certificate, freshly signed by itself, and its key.
type Certificate struct {
	Key    *ecdsa.PrivateKey
	KeyPEM []byte
	Chain  []byte
	Serial int64
}

// New makes one for hostname that began to be valid age ago.
func New(tb testing.TB, hostname string, serial int64, age time.Duration, responders ...string) Certificate {
	tb.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	return Sign(tb, key, hostname, serial, age, responders...)
}

func Sign(tb testing.TB, key *ecdsa.PrivateKey, hostname string, serial int64, age time.Duration, responders ...string) Certificate {
	tb.Helper()
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(serial), DNSNames: []string{hostname}, OCSPServer: responders,
		NotBefore: time.Now().Add(-age), NotAfter: time.Now().Add(6*24*time.Hour - age)}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		tb.Fatal(err)
	}
	keyPEM, err := certmagic.PEMEncodePrivateKey(key)
	if err != nil {
		tb.Fatal(err)
	}
	block := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	return Certificate{Key: key, KeyPEM: keyPEM, Serial: serial, Chain: append(bytes.Clone(block), block...)}
}

// Storage is Caddy's file storage, and notes what is read.
type Storage struct {
	*certmagic.FileStorage
	mu    sync.Mutex
	reads []string
	// Fail is asked before each write.
	Fail func(key string) error
	// Loaded is called after each Load.
	Loaded func(key string)
}

// Shake makes a real handshake with certmagic and returns the serial number of
// what it serves.
func Shake(magic *certmagic.Config, hostname string) (serial int64, err error) {
	server, client := net.Pipe()
	defer client.Close()
	go func() {
		defer server.Close()
		if tls.Server(server, magic.TLSConfig()).Handshake() == nil {
			_, _ = server.Read(make([]byte, 1)) // until the client has its part
		}
	}()
	conn := tls.Client(client, &tls.Config{ServerName: hostname, InsecureSkipVerify: true})
	if err := conn.Handshake(); err != nil {
		return 0, err
	}
	leaf := conn.ConnectionState().PeerCertificates[0]
	if err := leaf.VerifyHostname(hostname); err != nil {
		return 0, err
	}
	return leaf.SerialNumber.Int64(), nil
}

func Magic(t *testing.T, dir string) *certmagic.Config {
	var cfg *certmagic.Config
	cache := certmagic.NewCache(certmagic.CacheOptions{
		GetConfigForCert: func(certmagic.Certificate) (*certmagic.Config, error) { return cfg, nil }, Logger: zap.NewNop()})
	t.Cleanup(cache.Stop)
	cfg = certmagic.New(cache, certmagic.Config{Storage: &certmagic.FileStorage{Path: dir}, Logger: zap.NewNop(),
		OnDemand: &certmagic.OnDemandConfig{DecisionFunc: func(context.Context, string) error { return nil }}})
	return cfg
}

func (s *Storage) note(what, key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reads = append(s.reads, what+" "+key)
}

// Took returns what was read since the last call.
func (s *Storage) Took() (reads []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	reads, s.reads = s.reads, nil
	return reads
}

func (s *Storage) Load(ctx context.Context, key string) ([]byte, error) {
	s.note("load", key)
	value, err := s.FileStorage.Load(ctx, key)
	if s.Loaded != nil {
		s.Loaded(key)
	}
	return value, err
}

func (s *Storage) Exists(ctx context.Context, key string) bool {
	s.note("exists", key)
	return s.FileStorage.Exists(ctx, key)
}

func (s *Storage) List(ctx context.Context, key string, recursive bool) ([]string, error) {
	s.note("list", key)
	return s.FileStorage.List(ctx, key, recursive)
}

func (s *Storage) Stat(ctx context.Context, key string) (certmagic.KeyInfo, error) {
	s.note("stat", key)
	return s.FileStorage.Stat(ctx, key)
}

func (s *Storage) Store(ctx context.Context, key string, value []byte) error {
	if s.Fail != nil {
		if err := s.Fail(key); err != nil {
			return err
		}
	}
	return s.FileStorage.Store(ctx, key, value)
}

// SaveStock stores a certificate as stock Caddy does, in three files.
func SaveStock(t *testing.T, m Certificate, st certmagic.Storage, issuerKey, hostname string) {
	t.Helper()
	for key, value := range map[string][]byte{
		certmagic.StorageKeys.SitePrivateKey(issuerKey, hostname): m.KeyPEM,
		certmagic.StorageKeys.SiteCert(issuerKey, hostname):       m.Chain,
		certmagic.StorageKeys.SiteMeta(issuerKey, hostname):       []byte(`{"sans":["` + hostname + `"],"issuer_data":{}}`),
	} {
		if err := st.Store(context.Background(), key, value); err != nil {
			t.Fatal(err)
		}
	}
}
