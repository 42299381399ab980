package issuance

import (
	"context"
	"crypto/tls"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"time"

	"github.com/caddyserver/certmagic"
	"go.uber.org/zap"

	"github.com/apoxy-dev/caddy-apoxy/ownership"
)

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
