package issuance

import (
	"context"
	"crypto/tls"
	"net"
	"sync"
	"testing"

	"github.com/caddyserver/certmagic"
)

// countingStorage is Caddy's file storage, and notes what is read.
type countingStorage struct {
	*certmagic.FileStorage
	mu    sync.Mutex
	reads []string
	// fail is asked before each write.
	fail func(key string) error
	// loaded is called after each Load.
	loaded func(key string)
}

func (s *countingStorage) note(what, key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reads = append(s.reads, what+" "+key)
}

// took returns what was read since the last call.
func (s *countingStorage) took() (reads []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	reads, s.reads = s.reads, nil
	return reads
}

func (s *countingStorage) Load(ctx context.Context, key string) ([]byte, error) {
	s.note("load", key)
	value, err := s.FileStorage.Load(ctx, key)
	if s.loaded != nil {
		s.loaded(key)
	}
	return value, err
}

func (s *countingStorage) Exists(ctx context.Context, key string) bool {
	s.note("exists", key)
	return s.FileStorage.Exists(ctx, key)
}

func (s *countingStorage) List(ctx context.Context, key string, recursive bool) ([]string, error) {
	s.note("list", key)
	return s.FileStorage.List(ctx, key, recursive)
}

func (s *countingStorage) Stat(ctx context.Context, key string) (certmagic.KeyInfo, error) {
	s.note("stat", key)
	return s.FileStorage.Stat(ctx, key)
}

func (s *countingStorage) Store(ctx context.Context, key string, value []byte) error {
	if s.fail != nil {
		if err := s.fail(key); err != nil {
			return err
		}
	}
	return s.FileStorage.Store(ctx, key, value)
}

// counted has the world's certmagic use a countingStorage.
func (w *world) counted() *countingStorage {
	s := &countingStorage{FileStorage: bare(w.magic.Storage).(*certmagic.FileStorage)}
	w.magic.Storage = s
	w.is.wrap(w.magic, nil)
	return s
}

// key is certmagic's key for the world's first CA.
func (w *world) key() string { return Authority{Directory: w.ca.directory()}.Key() }

// shake makes a real handshake with certmagic and returns the serial number of
// what it serves.
func shake(magic *certmagic.Config, hostname string) (serial int64, err error) {
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

// cold is shake with nothing in memory.
func (w *world) cold(t *testing.T, hostname string, want int64) {
	t.Helper()
	evict(w.magic, hostname)
	if got, err := shake(w.magic, hostname); err != nil || got != want {
		t.Errorf("a handshake for %s: %d, %v; want %d", hostname, got, err, want)
	}
}

func (m made) save(t *testing.T, st certmagic.Storage, issuerKey, hostname string) {
	t.Helper()
	if err := saveCertificate(context.Background(), st, issuerKey, hostname, m.key, m.chain, metadata{}); err != nil {
		t.Fatal(err)
	}
}

// saveStock stores a certificate as stock Caddy does.
func (m made) saveStock(t *testing.T, st certmagic.Storage, issuerKey, hostname string) {
	t.Helper()
	p := placeOf(issuerKey, hostname)
	for ext, value := range map[string][]byte{extKey: m.keyPEM, extChain: m.chain, extMeta: []byte(`{"sans":["` + hostname + `"],"issuer_data":{}}`)} {
		if err := bare(st).Store(context.Background(), p.with(ext), value); err != nil {
			t.Fatal(err)
		}
	}
}

func (w *world) untouched(t *testing.T) {
	t.Helper()
	w.is.trips.mu.Lock()
	defer w.is.trips.mu.Unlock()
	if n := len(w.is.trips.of); n != 0 {
		t.Errorf("something is kept for %d handshakes", n)
	}
}
