package issuance

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddyserver/certmagic"
	"go.uber.org/zap"

	"github.com/apoxy-dev/caddy-apoxy/ownership"
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

// index has the scheduler know a certificate.
func (w *world) index(issuerKey, hostname string, m made) {
	leaf, err := leafOf(m.chain)
	if err != nil {
		w.t.Fatal(err)
	}
	w.s.mu.Lock()
	defer w.s.mu.Unlock()
	e := &entry{hostname: hostname, index: -1}
	e.rec.setCertificate(issuerKey, "dns-01", Want{Hostname: hostname}, leaf)
	w.s.entries[hostname] = e
}

func (w *world) untouched(t *testing.T) {
	t.Helper()
	w.is.trips.mu.Lock()
	defer w.is.trips.mu.Unlock()
	if n := len(w.is.trips.of); n != 0 {
		t.Errorf("something is kept for %d handshakes", n)
	}
}

func TestAColdHandshakeReadsOneFile(t *testing.T) {
	const host = "api.example.com"
	w := newWorld(t)
	st := w.counted()
	w.dns.delegate(host)
	w.s.Want(Want{Hostname: host, UID: "u1", DNS01: true})
	w.until(host, "certified", func(o ownership.CertificateObservation) bool { return seen(o) && o.Work == ownership.WorkNone })
	st.took()
	w.cold(t, host, w.ca.serial)
	want := []string{"load " + certmagic.StorageKeys.SitePrivateKey(w.key(), host)}
	if got := st.took(); !slices.Equal(got, want) {
		t.Errorf("read %q, want %q", got, want)
	}
	if _, err := shake(w.magic, host); err != nil || len(st.took()) > 0 {
		t.Errorf("a warm handshake reads: %v", err)
	}
	w.untouched(t)
}

func TestWhatAColdHandshakeReads(t *testing.T) {
	const host = "api.example.com"
	responder := httptest.NewServer(http.NotFoundHandler())
	defer responder.Close()
	w := newWorld(t)
	st, key := w.counted(), w.key()
	for name, tt := range map[string]struct {
		responders []string
		stock      bool
		unstapled  bool // by configuration
		want       int
	}{
		"ours":                        {want: 1},
		"ours, a responder named":     {responders: []string{responder.URL}, want: 2}, // certmagic looks for the staple
		"ours, stapling off":          {unstapled: true, want: 1},
		"three files":                 {stock: true, want: 4}, // with the staple, which certmagic looks for with every certificate
		"three files, stapling off":   {stock: true, unstapled: true, want: 3},
		"three files, responder, off": {stock: true, unstapled: true, responders: []string{responder.URL}, want: 3},
	} {
		t.Run(name, func(t *testing.T) {
			w.magic.OCSP.DisableStapling = tt.unstapled
			if err := deleteCertificate(t.Context(), st, key, host); err != nil {
				t.Fatal(err)
			}
			m := makeCertificate(t, host, 5, time.Hour, tt.responders...)
			if tt.stock {
				m.saveStock(t, st, key, host)
			} else {
				m.save(t, st, key, host)
			}
			st.took()
			w.cold(t, host, 5)
			if got := st.took(); len(got) != tt.want {
				t.Errorf("read %q, want %d", got, tt.want)
			}
			w.untouched(t)
		})
	}
}

// certmagic asks every CA and takes the newest; the index spares the misses.
func TestSeveralCAsCostOneReadToo(t *testing.T) {
	w := newWorld(t)
	st, first := w.counted(), w.key()
	second := w.second()
	secondKey := Authority{Directory: second.directory()}.Key()
	other := &certmagic.ACMEIssuer{CA: second.directory()}
	one, two := w.magic.Issuers, []certmagic.Issuer{w.magic.Issuers[0], other}
	at := func(key, host string) string { return "load " + certmagic.StorageKeys.SitePrivateKey(key, host) }
	young, old := makeCertificate(t, "a.example.com", 2, time.Hour), makeCertificate(t, "a.example.com", 1, 2*time.Hour)
	wild := makeCertificate(t, "*.example.com", 3, time.Hour)
	for name, tt := range map[string]struct {
		issuers []certmagic.Issuer
		store   func(t *testing.T)
		host    string
		serial  int64
		want    []string
	}{
		"the first has it": {two, func(t *testing.T) {
			young.save(t, st, first, "a.example.com")
			w.index(first, "a.example.com", young)
		}, "a.example.com", 2, []string{at(first, "a.example.com")}},
		"the second has it": {two, func(t *testing.T) {
			young.save(t, st, secondKey, "a.example.com")
			w.index(secondKey, "a.example.com", young)
		}, "a.example.com", 2, []string{at(secondKey, "a.example.com")}},
		"both have it": {two, func(t *testing.T) {
			old.save(t, st, first, "a.example.com")
			young.save(t, st, secondKey, "a.example.com")
			w.index(secondKey, "a.example.com", young)
		}, "a.example.com", 2, []string{at(secondKey, "a.example.com")}},
		"the index does not know": {two, func(t *testing.T) {
			young.save(t, st, secondKey, "a.example.com")
		}, "a.example.com", 2, []string{at(first, "a.example.com"), at(secondKey, "a.example.com")}},
		"the index is wrong": {two, func(t *testing.T) {
			young.save(t, st, first, "a.example.com")
			w.index(secondKey, "a.example.com", young)
		}, "a.example.com", 2, []string{at(secondKey, "a.example.com"), at(first, "a.example.com"), at(secondKey, "a.example.com")}},
		"the next one is being obtained": {two, func(t *testing.T) {
			old.save(t, st, first, "a.example.com")
			w.index(first, "a.example.com", old)
			w.s.mu.Lock()
			w.s.entries["a.example.com"].flight = &flight{order: true}
			w.s.mu.Unlock()
			young.save(t, st, secondKey, "a.example.com")
		}, "a.example.com", 2, []string{at(first, "a.example.com"), at(secondKey, "a.example.com")}},
		"the CA that the index knows is not this policy's": {one, func(t *testing.T) {
			old.save(t, st, first, "a.example.com")
			young.save(t, st, secondKey, "a.example.com")
			w.index(secondKey, "a.example.com", young)
		}, "a.example.com", 1, []string{at(first, "a.example.com")}},
		"a wildcard's": {two, func(t *testing.T) {
			wild.save(t, st, secondKey, "*.example.com")
			w.index(secondKey, "*.example.com", wild)
		}, "www.example.com", 3, []string{at(secondKey, "*.example.com")}},
		"a wildcard's, but it is lost": {one, func(t *testing.T) {
			young.save(t, st, first, "a.example.com")
			w.index(first, "*.example.com", wild)
		}, "a.example.com", 2, []string{at(first, "*.example.com"), at(first, "a.example.com")}},
	} {
		t.Run(name, func(t *testing.T) {
			w.magic.Issuers = tt.issuers
			for _, host := range []string{"a.example.com", "*.example.com"} {
				w.s.mu.Lock()
				delete(w.s.entries, host)
				w.s.mu.Unlock()
				for _, key := range []string{first, secondKey} {
					if err := deleteCertificate(t.Context(), st, key, host); err != nil {
						t.Fatal(err)
					}
				}
				evict(w.magic, host)
			}
			tt.store(t)
			st.took()
			w.cold(t, tt.host, tt.serial)
			if got := st.took(); !slices.Equal(got, tt.want) {
				t.Errorf("read %q, want %q", got, tt.want)
			}
			w.untouched(t)
		})
	}
}

// A certificate that lies beside another one than the index has was stored by
// someone else, who reused the key file as it was.
func TestACertificateOfStockCaddyWithOurKeyFileIsServed(t *testing.T) {
	const host = "a.example.com"
	w := newWorld(t)
	st, key := w.counted(), w.key()
	ours := makeCertificate(t, host, 1, 2*time.Hour)
	ours.save(t, st, key, host)
	theirs := signCertificate(t, ours.key, host, 2, time.Hour)
	if err := st.Store(t.Context(), certmagic.StorageKeys.SiteCert(key, host), theirs.chain); err != nil {
		t.Fatal(err)
	}
	found, err := loadCertificate(t.Context(), w.magic.Storage, key, host)
	if err != nil || found.leaf.SerialNumber.Int64() != 2 {
		t.Fatalf("found %v, %v", found.leaf, err)
	}
	w.index(key, host, theirs) // as adopt does
	w.cold(t, host, 2)
}

func TestARenewalBetweenTheReadsOfAHandshakeMixesNothing(t *testing.T) {
	const host = "a.example.com"
	w := newWorld(t)
	st, key := w.counted(), w.key()
	before, after := makeCertificate(t, host, 1, 2*time.Hour), makeCertificate(t, host, 2, time.Hour)
	for name, stored := range map[string]func(){
		"of ours":        func() { before.save(t, st, key, host) },
		"of three files": func() { before.saveStock(t, st, key, host) },
	} {
		t.Run(name, func(t *testing.T) {
			stored()
			once := sync.OnceFunc(func() { after.save(t, st.FileStorage, key, host) })
			st.loaded = func(k string) {
				if strings.HasSuffix(k, extKey) {
					once()
				}
			}
			evict(w.magic, host)
			serial, err := shake(w.magic, host)
			st.loaded = nil
			if name == "of ours" && (err != nil || serial != 1) {
				t.Errorf("served %d, %v", serial, err)
			}
			if err == nil && serial != 1 && serial != 2 {
				t.Errorf("served %d", serial)
			}
			w.cold(t, host, 2)
			w.untouched(t)
		})
	}
}

func TestManyHandshakesDuringRenewals(t *testing.T) {
	const names, rounds = 8, 12
	w := newWorld(t)
	key := w.key()
	st := w.counted()
	host := func(i int) string { return fmt.Sprintf("h%d.example.com", i) }
	for i := range names {
		makeCertificate(t, host(i), 1, 100*time.Hour).save(t, st, key, host(i))
	}
	var wg, renewing sync.WaitGroup
	done := make(chan struct{})
	for i := range names {
		renewing.Go(func() {
			for r := range rounds {
				makeCertificate(t, host(i), int64(r+2), time.Duration(90-r)*time.Hour).save(t, st, key, host(i))
				evict(w.magic, host(i))
			}
		})
		for range 4 { // some for the same name, some for others
			wg.Go(func() {
				for last := int64(0); ; {
					got, err := shake(w.magic, host(i))
					if err != nil {
						t.Errorf("%s: %v", host(i), err)
						return
					}
					last = max(last, got)
					select {
					case <-done:
						return
					default:
						evict(w.magic, host(i))
					}
				}
			})
		}
	}
	renewing.Wait()
	close(done)
	wg.Wait()
	for i := range names {
		w.cold(t, host(i), rounds+1)
	}
	w.untouched(t)
}

// Wherever a crash interrupts it, either certificate is whole.
func TestACrashWhileStoringLeavesOneCertificateWhole(t *testing.T) {
	const host = "a.example.com"
	w := newWorld(t)
	st, key := w.counted(), w.key()
	before, after := makeCertificate(t, host, 1, 2*time.Hour), makeCertificate(t, host, 2, time.Hour)
	crash := errors.New("the lights go out")
	for _, old := range []string{"none", "ours", "three files"} {
		for writes := range 5 {
			t.Run(fmt.Sprintf("%s, after %d", old, writes), func(t *testing.T) {
				if err := deleteCertificate(t.Context(), st, key, host); err != nil {
					t.Fatal(err)
				}
				switch old {
				case "ours":
					before.save(t, st, key, host)
				case "three files":
					before.saveStock(t, st, key, host)
				}
				n := 0
				st.fail = func(string) error {
					if n++; n > writes {
						return crash
					}
					return nil
				}
				err := saveCertificate(t.Context(), st, key, host, after.key, after.chain, metadata{})
				st.fail = nil
				found, lookErr := loadCertificate(t.Context(), st, key, host)
				switch {
				case err == nil:
					if lookErr != nil || found.leaf.SerialNumber.Int64() != 2 {
						t.Errorf("found %v, %v", found.leaf, lookErr)
					}
					w.cold(t, host, 2)
				case !errors.Is(err, crash):
					t.Error(err)
				case old == "none":
					if !errors.Is(lookErr, fs.ErrNotExist) {
						t.Errorf("found %v, %v", found.leaf, lookErr)
					}
				default:
					if lookErr != nil || found.leaf.SerialNumber.Int64() != 1 {
						t.Errorf("found %v, %v", found.leaf, lookErr)
					}
					w.cold(t, host, 1)
				}
			})
		}
	}
}

// Stock Caddy, which knows nothing of us, loads and serves what we store.
func TestStockCertmagicServesWhatIsStored(t *testing.T) {
	const host = "a.example.com"
	w := newWorld(t)
	makeCertificate(t, host, 9, time.Hour).save(t, w.magic.Storage, w.key(), host)
	stock := newMagic(t, filepath.Join(w.dir, "storage"))
	stock.Issuers = []certmagic.Issuer{&certmagic.ACMEIssuer{CA: w.ca.directory()}}
	if got, err := shake(stock, host); err != nil || got != 9 {
		t.Errorf("served %d, %v", got, err)
	}
	for _, ext := range []string{extKey, extChain, extMeta} {
		fi, err := os.Stat(filepath.Join(w.dir, "storage", placeOf(w.key(), host).with(ext)))
		if err != nil || fi.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", ext, fi, err)
		}
	}
}

// What certmagic stores after a handshake's own order is made whole as well.
func TestWhatCertmagicStoresIsMadeWhole(t *testing.T) {
	const host = "api.example.com"
	w := newWorld(t)
	st := w.counted()
	m := makeCertificate(t, host, 4, time.Hour)
	for _, kv := range []struct {
		ext   string
		value []byte
	}{{extKey, m.keyPEM}, {extChain, m.chain}, {extMeta, []byte(`{"sans":["api.example.com"]}`)}} {
		if err := w.magic.Storage.Store(t.Context(), placeOf(w.key(), host).with(kv.ext), kv.value); err != nil {
			t.Fatal(err)
		}
	}
	st.took()
	w.cold(t, host, 4)
	if got := st.took(); len(got) != 1 {
		t.Errorf("read %q", got)
	}
	// Whoever reads the key, such as to use it again, gets the key.
	key, err := w.magic.Storage.Load(t.Context(), certmagic.StorageKeys.SitePrivateKey(w.key(), host))
	if err != nil || !bytes.Equal(key, m.keyPEM) {
		t.Errorf("the key is %s, %v", key, err)
	}
}

func TestOtherKeysOfStorageAreLeftAlone(t *testing.T) {
	w := newWorld(t)
	st := w.counted()
	m := makeCertificate(t, "a.example.com", 4, time.Hour)
	whole, err := joinBundle(m.keyPEM, m.chain, []byte("{}"))
	if err != nil {
		t.Fatal(err)
	}
	hello := &tls.ClientHelloInfo{}
	ctx := context.WithValue(t.Context(), certmagic.ClientHelloInfoCtxKey, hello)
	prefix := certmagic.StorageKeys.CertsPrefix(w.key())
	for _, key := range []string{
		"certificates/elsewhere/a.example.com/a.example.com.key", prefix + "/a.example.com/b.example.com.key",
		prefix + "/a.example.com/a.example.com.key.compromised", prefix + "/a.example.com.key", prefix + "x/a/a.key", "acme/a.key",
	} {
		if err := w.magic.Storage.Store(ctx, key, whole); err != nil {
			t.Fatal(err)
		}
		if got, err := w.magic.Storage.Load(ctx, key); err != nil || !bytes.Equal(got, whole) {
			t.Errorf("%s: %q, %v", key, got, err)
		}
	}
	if got := st.took(); len(got) != 6 {
		t.Errorf("read %q", got)
	}
	w.untouched(t)
}

// leasing adds what certmagic asks storages for.
type leasing struct{ certmagic.Storage }

func (leasing) RenewLockLease(context.Context, string, time.Duration) error { return nil }

type leasingAndTrying struct{ *certmagic.FileStorage }

func (leasingAndTrying) RenewLockLease(context.Context, string, time.Duration) error { return nil }

func TestTheWrappedStorageIsWhatItWas(t *testing.T) {
	files := &certmagic.FileStorage{Path: t.TempDir()}
	for name, inner := range map[string]certmagic.Storage{
		"files": files, "plain": struct{ certmagic.Storage }{files}, "leases": leasing{files}, "both": leasingAndTrying{files},
	} {
		t.Run(name, func(t *testing.T) {
			cfg, is := &certmagic.Config{Storage: inner}, &Issuers{}
			for range 4 { // as Caddy calls
				is.Set("one", Authority{Directory: "https://ca.test/dir"}, cfg, zap.NewNop())
				is.Set("two", Authority{Directory: "https://other.test/dir"}, cfg, nil)
			}
			if bare(cfg.Storage) != inner {
				t.Errorf("wraps %v", bare(cfg.Storage))
			}
			again := &Issuers{}
			again.Set("one", Authority{}, cfg, nil)
			if w := cfg.Storage.(wrapper); w.owner() != again || bare(cfg.Storage) != inner {
				t.Error("another configuration's issuers are not those of the wrapper")
			}
			_, had := inner.(certmagic.TryLocker)
			tl, has := cfg.Storage.(certmagic.TryLocker)
			if had != has {
				t.Errorf("TryLocker: %v, was %v", has, had)
			}
			if has {
				if ok, err := tl.TryLock(t.Context(), "x"); !ok || err != nil {
					t.Error(ok, err)
				}
				if ok, err := tl.TryLock(t.Context(), "x"); ok || err != nil {
					t.Error(ok, err)
				}
				if err := tl.Unlock(t.Context(), "x"); err != nil {
					t.Error(err)
				}
			}
			_, had = inner.(certmagic.LockLeaseRenewer)
			if _, has := cfg.Storage.(certmagic.LockLeaseRenewer); had != has {
				t.Errorf("LockLeaseRenewer: %v, was %v", has, had)
			}
			if s, ok := inner.(fmt.Stringer); ok && fmt.Sprint(cfg.Storage) != s.String() {
				t.Errorf("is called %v, was %v", cfg.Storage, s)
			}
		})
	}
}

// BenchmarkLoad reads what certmagic reads for a handshake, from files.
func BenchmarkLoad(b *testing.B) {
	const host = "a.example.com"
	cfg, is := &certmagic.Config{Storage: &certmagic.FileStorage{Path: b.TempDir()}}, &Issuers{}
	authority := Authority{Directory: "https://ca.test/dir"}
	is.Set("one", authority, cfg, nil)
	s := New(Config{})
	s.SetIssuers(is)
	m := makeCertificate(b, host, 1, time.Hour)
	if err := saveCertificate(b.Context(), cfg.Storage, authority.Key(), host, m.key, m.chain, metadata{}); err != nil {
		b.Fatal(err)
	}
	p := placeOf(authority.Key(), host)
	for name, st := range map[string]certmagic.Storage{"one": cfg.Storage, "three": bare(cfg.Storage)} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				ctx, cancel := context.WithCancel(b.Context())
				ctx = context.WithValue(ctx, certmagic.ClientHelloInfoCtxKey, &tls.ClientHelloInfo{})
				for _, ext := range []string{extKey, extChain, extMeta} {
					if _, err := st.Load(ctx, p.with(ext)); err != nil {
						b.Fatal(err)
					}
				}
				_, _ = st.Load(ctx, "ocsp/"+host+stapleSuffix(m.chain))
				cancel()
			}
		})
	}
}
