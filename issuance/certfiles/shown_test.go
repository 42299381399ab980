package certfiles

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddyserver/certmagic"
	"go.uber.org/zap"

	"github.com/apoxy-dev/caddy-apoxy/internal/certtest"
)

const (
	ownName  = "shop.example.com"
	wildName = "*.example.com"
	besides  = "other.example.com"
)

// shop is a shelf on which a wildcard covers a hostname with a certificate of its
// own, and the records say what own holds of the latter.
type shop struct {
	*shelf
	own atomic.Uint32 // a Shown
}

func newShop(t *testing.T) *shop {
	s := &shop{}
	s.shelf = newShelf(t, func(_ context.Context, hostname string) Shown {
		if hostname == ownName {
			return Shown(s.own.Load())
		}
		return ShowAny
	})
	s.put(t, wildName, 1)
	s.put(t, ownName, 2)
	return s
}

// put stores a certificate, as a renewal does.
func (s *shop) put(t *testing.T, hostname string, serial int64) {
	t.Helper()
	save(t, certtest.New(t, hostname, serial, time.Hour), s.st, ourCA, hostname)
	Evict(s.magic, hostname)
}

func (s *shop) says(own Shown) { s.own.Store(uint32(own)) }

func (s *shop) shows(t *testing.T, hostname string, want int64) {
	t.Helper()
	if got, err := certtest.Shake(s.magic, hostname); err != nil || got != want {
		t.Errorf("%s is shown certificate %d, want %d; %v", hostname, got, want, err)
	}
}

// In whatever order handshakes, renewals, evictions and changes of records come.
func TestEveryHandshakeIsShownWhatTheRecordsSay(t *testing.T) {
	s := newShop(t)
	for seed := range uint64(8) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 9))
			s.says(ShowOwn)
			s.put(t, ownName, 2)
			wild, own := int64(1), int64(2)
			for range 120 {
				switch r.IntN(7) {
				case 0:
					s.says(ShowOwn)
				case 1:
					s.says(HideOwn) // and nobody takes it out of memory
				case 2:
					Evict(s.magic, ownName)
				case 3:
					Evict(s.magic, wildName)
				case 4:
					own += 10
					s.put(t, ownName, own)
				case 5: // whoever brings them there
					_, _ = s.magic.CacheManagedCertificate(t.Context(), ownName)
				case 6:
					s.shows(t, besides, wild)
				}
				want := wild
				if Shown(s.own.Load()) == ShowOwn {
					want = own
				}
				if s.shows(t, ownName, want); t.Failed() {
					return
				}
			}
		})
	}
	s.untouched(t)
}

func TestHandshakesAtOnceAreEachShownTheirOwn(t *testing.T) {
	s := newShop(t)
	s.says(ShowOwn)
	for range 20 {
		Evict(s.magic, ownName)
		Evict(s.magic, wildName)
		var wg sync.WaitGroup
		for i := range 8 {
			wg.Go(func() {
				hostname, want := besides, int64(1)
				if i%2 == 0 {
					hostname, want = ownName, 2
				}
				s.shows(t, hostname, want)
			})
		}
		wg.Wait()
	}
	s.untouched(t)
}

// The names in a handshake are not always written as the records write them.
func TestTheNameOfAHandshakeIsFolded(t *testing.T) {
	s := newShop(t)
	s.says(ShowOwn)
	s.shows(t, besides, 1)
	s.shows(t, "Shop.Example.COM", 2)
}

// Without the records' word it is memory that decides: should this fail,
// certmagic has changed its order, and shown.go may have become needless.
func TestCertmagicPrefersAWildcardInMemoryToStorage(t *testing.T) {
	s := newShop(t)
	s.shows(t, besides, 1)
	s.shows(t, ownName, 1)
	Evict(s.magic, wildName)
	s.shows(t, ownName, 2)
	s.shows(t, besides, 1)
	s.shows(t, ownName, 2)
}

func TestAnOwnCertificateIsReadOnceAsOneFile(t *testing.T) {
	s := newShop(t)
	s.says(ShowOwn)
	s.shows(t, besides, 1)
	s.st.Took()
	for range 3 {
		s.shows(t, ownName, 2)
	}
	if got := s.st.Took(); len(got) != 1 {
		t.Errorf("read %q, want one file", got)
	}
	s.says(HideOwn)
	s.shows(t, ownName, 1)
	if got := s.st.Took(); len(got) != 0 {
		t.Errorf("to show the wildcard's again it reads %q", got)
	}
}

// What the record of a name lost while its certificate was read does not stay.
func TestARecordThatFallsWhileItsCertificateIsRead(t *testing.T) {
	s := newShop(t)
	s.says(ShowOwn)
	s.st.Loaded = func(string) { s.says(HideOwn) }
	s.shows(t, besides, 1)
	s.says(ShowOwn)
	s.shows(t, ownName, 1)
	if certs := cacheOf(s.magic).AllMatchingCertificates(ownName); len(certs) != 1 || certs[0].Names[0] != wildName {
		t.Errorf("in memory are %d certificates, want the wildcard's alone", len(certs))
	}
}

func TestTheWildcardStandsInForWhatCannotBeRead(t *testing.T) {
	s := newShop(t)
	s.says(ShowOwn)
	if err := At(s.st, ourCA, ownName).Delete(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.shows(t, besides, 1)
	s.st.Took()
	s.shows(t, ownName, 1)
	if len(s.st.Took()) == 0 {
		t.Error("its own certificate was not looked for")
	}
	s.shows(t, ownName, 1)
	if got := s.st.Took(); len(got) > 0 {
		t.Errorf("what could not be read a moment ago is read again: %q", got)
	}
	// One of other names would be read at each handshake.
	s.front.owns = owns{}
	save(t, certtest.New(t, "elsewhere.test", 3, time.Hour), s.st, ourCA, ownName)
	s.shows(t, ownName, 1)
	s.st.Took()
	s.shows(t, ownName, 1)
	if got := s.st.Took(); len(got) > 0 {
		t.Errorf("a certificate of other names is read again: %q", got)
	}
}

// A wildcard whose record is not verified lends its certificate to nobody.
func TestStorageHidesAWildcardWithoutARecord(t *testing.T) {
	w := newShelf(t, func(_ context.Context, hostname string) Shown {
		if hostname == wildName {
			return HideOwn
		}
		return ShowAny
	})
	st := w.st
	m := certtest.New(t, wildName, 1, time.Hour)
	save(t, m, st, ourCA, wildName)
	w.index(ourCA, wildName, m)
	if serial, err := certtest.Shake(w.magic, ownName); err == nil {
		t.Errorf("%s is shown certificate %d of a wildcard that has no record", ownName, serial)
	}
	w.untouched(t)
}

// An old certificate of the exact name, in storage and in the index, costs the
// hostname that the wildcard serves nothing.
func TestAHiddenCertificateIsNotEvenRead(t *testing.T) {
	s := newShop(t)
	s.says(HideOwn)
	for hostname, serial := range map[string]int64{wildName: 1, ownName: 2} {
		m := certtest.New(t, hostname, serial, time.Hour)
		save(t, m, s.st, ourCA, hostname)
		s.index(ourCA, hostname, m)
	}
	s.st.Took()
	s.shows(t, ownName, 1)
	want := "load " + placeOf(ourCA, wildName).key()
	if got := s.st.Took(); len(got) != 1 || got[0] != want {
		t.Errorf("read %q, want %q", got, want)
	}
	s.untouched(t)
}

// The index may learn of a certificate later than the records.
func TestAnOwnCertificateThatTheIndexDoesNotKnowYetIsShown(t *testing.T) {
	s := newShop(t)
	m := certtest.New(t, wildName, 1, time.Hour)
	save(t, m, s.st, ourCA, wildName)
	s.index(ourCA, wildName, m)
	s.says(ShowOwn)
	s.shows(t, besides, 1)
	s.shows(t, ownName, 2)
}

// The shape of certmagic's events, and that whoever listens goes on hearing them.
func TestEventsGoOnToWhoListens(t *testing.T) {
	for _, listens := range []bool{true, false} {
		magic := certtest.Magic(t, t.TempDir())
		magic.Issuers = []certmagic.Issuer{idle(ourCA)}
		var heard []string
		magic.OnEvent = func(_ context.Context, event string, data map[string]any) error {
			heard = append(heard, event+" "+serverName(data))
			if serverName(data) == "refused.example.com" {
				return errors.New("refused")
			}
			return nil
		}
		magic.ShouldEmitFunc = func(string) bool { return listens }
		asked := []string(nil)
		front := &Front{Shows: func(_ context.Context, hostname string) Shown { asked = append(asked, hostname); return ShowAny }}
		for range 3 { // as Caddy calls
			front.Install(magic, nil)
		}
		save(t, certtest.New(t, "api.example.com", 1, time.Hour), magic.Storage, ourCA, "api.example.com")
		if _, err := magic.CacheManagedCertificate(t.Context(), "api.example.com"); err != nil {
			t.Fatal(err)
		}
		asked = nil
		hello := &tls.ClientHelloInfo{ServerName: "API.example.com"}
		if _, err := magic.GetCertificate(hello); err != nil {
			t.Fatal(err)
		}
		if len(asked) != 1 || asked[0] != "api.example.com" {
			t.Errorf("asked for %q, want the handshake's name once", asked)
		}
		want := []string{eventCached + " "}
		if listens {
			want = append(want, eventHello+" api.example.com")
		}
		if fmt.Sprint(heard) != fmt.Sprint(want) {
			t.Errorf("listening %v: heard %q, want %q", listens, heard, want)
		}
		hello.ServerName = "refused.example.com"
		if _, err := raise(magic, hello); listens == (err == nil) {
			t.Errorf("listening %v: a handler that aborts the handshake: %v", listens, err)
		}
	}
}

// raise raises the event of a handshake as certmagic does.
func raise(cfg *certmagic.Config, hello *tls.ClientHelloInfo) (bool, error) {
	type payload struct{ ServerName string }
	err := cfg.OnEvent(context.Background(), eventHello, map[string]any{"client_hello": payload{hello.ServerName}})
	return err != nil, err
}

func TestOwnCertificatesAreReadOnceAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var o owns
		var reads atomic.Int64
		release, failure := make(chan struct{}), error(nil)
		read := func(context.Context) error {
			reads.Add(1)
			<-release
			return failure
		}
		gone, leave := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		for i := range 10 {
			wg.Go(func() {
				if i == 0 {
					o.do(gone, ownName, read)
				} else {
					o.do(t.Context(), ownName, read)
				}
			})
		}
		synctest.Wait()
		leave() // the one who leaves ends nothing for the others
		synctest.Wait()
		close(release)
		wg.Wait()
		if n := reads.Load(); n != 1 || len(o.of) != 0 {
			t.Errorf("%d reads for ten handshakes, want 1; %d are remembered, want none", n, len(o.of))
		}

		failure = errors.New("no")
		for range 3 {
			o.do(t.Context(), ownName, read)
		}
		if n := reads.Load(); n != 2 {
			t.Errorf("%d reads, want one more and then a pause", n)
		}
		time.Sleep(ownPause)
		o.do(t.Context(), ownName, read)
		if n := reads.Load(); n != 3 {
			t.Errorf("%d reads after the pause, want one more", n)
		}

		// A storage that does not answer holds a handshake for so long, once.
		release = make(chan struct{})
		time.Sleep(ownPause)
		for i, want := range []time.Duration{ownTimeout, 0} {
			began := time.Now()
			o.do(t.Context(), ownName, read)
			if took := time.Since(began); took != want {
				t.Errorf("handshake %d waited %s for a storage that does not answer, want %s", i, took, want)
			}
		}
		close(release)
	})
}

func TestFailuresAreRememberedInBounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var o owns
		fail := func(context.Context) error { return errors.New("no") }
		for i := range maxOwnFailures + 100 {
			o.do(t.Context(), fmt.Sprint(i), fail)
		}
		if n := len(o.of); n > maxOwnFailures {
			t.Errorf("%d failures are remembered, want %d at most", n, maxOwnFailures)
		}
		time.Sleep(ownPause)
		for range 2 {
			o.do(t.Context(), ownName, fail)
		}
		if o.of[ownName] == nil {
			t.Error("old failures leave no room for new ones")
		}
	})
}

// BenchmarkArrange is what a handshake costs more, beside the same look-up in
// memory without it.
func BenchmarkArrange(b *testing.B) {
	cache := certmagic.NewCache(certmagic.CacheOptions{Logger: zap.NewNop(),
		GetConfigForCert: func(certmagic.Certificate) (*certmagic.Config, error) { return nil, nil }})
	defer cache.Stop()
	bare := certmagic.New(cache, certmagic.Config{Logger: zap.NewNop(), OnDemand: &certmagic.OnDemandConfig{}})
	for i, hostname := range []string{wildName, ownName} {
		m := certtest.New(b, hostname, int64(i), time.Hour)
		if _, err := bare.CacheUnmanagedCertificatePEMBytes(b.Context(), m.Chain, m.KeyPEM, nil); err != nil {
			b.Fatal(err)
		}
	}
	for name, c := range map[string]struct {
		hostname string
		shown    Shown
	}{
		"no wildcard": {ownName, ShowAny}, "own, in memory": {ownName, ShowOwn}, "the wildcard's": {besides, HideOwn},
	} {
		cfg, front := *bare, &Front{Shows: func(context.Context, string) Shown { return c.shown }}
		front.listen(&cfg, zap.NewNop())
		hello := &tls.ClientHelloInfo{ServerName: c.hostname}
		var data map[string]any
		spy := *bare
		spy.OnEvent = func(_ context.Context, _ string, d map[string]any) error { data = d; return nil }
		_, _ = spy.GetCertificate(hello)
		b.Run("handler/"+name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				_ = cfg.OnEvent(b.Context(), eventHello, data)
			}
		})
		for with, cfg := range map[string]*certmagic.Config{"look-up with/": &cfg, "look-up without/": bare} {
			b.Run(with+name, func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					if _, err := cfg.GetCertificate(hello); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
