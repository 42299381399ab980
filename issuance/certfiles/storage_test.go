package certfiles

import (
	"context"
	"crypto/tls"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/caddyserver/certmagic"

	"github.com/apoxy-dev/caddy-apoxy/internal/certtest"
)

func TestWhatAColdHandshakeReads(t *testing.T) {
	const host = "api.example.com"
	responder := httptest.NewServer(http.NotFoundHandler())
	defer responder.Close()
	w := newShelf(t, nil)
	st, key := w.st, ourCA
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
			if err := At(st, key, host).Delete(t.Context()); err != nil {
				t.Fatal(err)
			}
			m := certtest.New(t, host, 5, time.Hour, tt.responders...)
			if tt.stock {
				certtest.SaveStock(t, m, st, key, host)
			} else {
				save(t, m, st, key, host)
			}
			st.Took()
			w.cold(t, host, 5)
			if got := st.Took(); len(got) != tt.want {
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
			cfg, front := &certmagic.Config{Storage: inner}, &Front{}
			for range 4 { // as Caddy calls
				front.Install(cfg, nil)
			}
			if Unwrap(cfg.Storage) != inner {
				t.Errorf("wraps %v", Unwrap(cfg.Storage))
			}
			again := &Front{}
			again.Install(cfg, nil)
			if w := cfg.Storage.(wrapper); w.owner() != again || Unwrap(cfg.Storage) != inner {
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
	cfg, front := &certmagic.Config{Storage: &certmagic.FileStorage{Path: b.TempDir()}}, &Front{}
	front.SetIssuers([]string{ourCA})
	front.SetIndex(&memory{})
	front.Install(cfg, nil)
	m := certtest.New(b, host, 1, time.Hour)
	if err := At(cfg.Storage, ourCA, host).Save(b.Context(), m.Key, m.Chain, Metadata{}); err != nil {
		b.Fatal(err)
	}
	p := placeOf(ourCA, host)
	for name, st := range map[string]certmagic.Storage{"one": cfg.Storage, "three": Unwrap(cfg.Storage)} {
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
				_, _ = st.Load(ctx, "ocsp/"+host+stapleSuffix(m.Chain))
				cancel()
			}
		})
	}
}
