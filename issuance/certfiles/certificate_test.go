package certfiles

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddyserver/certmagic"

	"github.com/apoxy-dev/caddy-apoxy/internal/certtest"
)

// A certificate that lies beside another one than the index has was stored by
// someone else, who reused the key file as it was.
func TestACertificateOfStockCaddyWithOurKeyFileIsServed(t *testing.T) {
	const host = "a.example.com"
	w := newShelf(t, nil)
	st, key := w.st, ourCA
	ours := certtest.New(t, host, 1, 2*time.Hour)
	save(t, ours, st, key, host)
	theirs := certtest.Sign(t, ours.Key, host, 2, time.Hour)
	if err := st.Store(t.Context(), certmagic.StorageKeys.SiteCert(key, host), theirs.Chain); err != nil {
		t.Fatal(err)
	}
	found, err := At(w.magic.Storage, key, host).Load(t.Context())
	if err != nil || found.Leaf.SerialNumber.Int64() != 2 {
		t.Fatalf("found %v, %v", found.Leaf, err)
	}
	w.index(key, host, theirs) // as adopt does
	w.cold(t, host, 2)
}

func TestARenewalBetweenTheReadsOfAHandshakeMixesNothing(t *testing.T) {
	const host = "a.example.com"
	w := newShelf(t, nil)
	st, key := w.st, ourCA
	before, after := certtest.New(t, host, 1, 2*time.Hour), certtest.New(t, host, 2, time.Hour)
	for name, stored := range map[string]func(){
		"of ours":        func() { save(t, before, st, key, host) },
		"of three files": func() { certtest.SaveStock(t, before, st, key, host) },
	} {
		t.Run(name, func(t *testing.T) {
			stored()
			once := sync.OnceFunc(func() { save(t, after, st.FileStorage, key, host) })
			st.Loaded = func(k string) {
				if strings.HasSuffix(k, extKey) {
					once()
				}
			}
			Evict(w.magic, host)
			serial, err := certtest.Shake(w.magic, host)
			st.Loaded = nil
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
	w := newShelf(t, nil)
	key := ourCA
	st := w.st
	host := func(i int) string { return fmt.Sprintf("h%d.example.com", i) }
	for i := range names {
		save(t, certtest.New(t, host(i), 1, 100*time.Hour), st, key, host(i))
	}
	var wg, renewing sync.WaitGroup
	done := make(chan struct{})
	for i := range names {
		renewing.Go(func() {
			for r := range rounds {
				save(t, certtest.New(t, host(i), int64(r+2), time.Duration(90-r)*time.Hour), st, key, host(i))
				Evict(w.magic, host(i))
			}
		})
		for range 4 { // some for the same name, some for others
			wg.Go(func() {
				for last := int64(0); ; {
					got, err := certtest.Shake(w.magic, host(i))
					if err != nil {
						t.Errorf("%s: %v", host(i), err)
						return
					}
					last = max(last, got)
					select {
					case <-done:
						return
					default:
						Evict(w.magic, host(i))
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
	w := newShelf(t, nil)
	st, key := w.st, ourCA
	before, after := certtest.New(t, host, 1, 2*time.Hour), certtest.New(t, host, 2, time.Hour)
	crash := errors.New("the lights go out")
	for _, old := range []string{"none", "ours", "three files"} {
		for writes := range 5 {
			t.Run(fmt.Sprintf("%s, after %d", old, writes), func(t *testing.T) {
				if err := At(st, key, host).Delete(t.Context()); err != nil {
					t.Fatal(err)
				}
				switch old {
				case "ours":
					save(t, before, st, key, host)
				case "three files":
					certtest.SaveStock(t, before, st, key, host)
				}
				n := 0
				st.Fail = func(string) error {
					if n++; n > writes {
						return crash
					}
					return nil
				}
				err := At(st, key, host).Save(t.Context(), after.Key, after.Chain, Metadata{})
				st.Fail = nil
				found, lookErr := At(st, key, host).Load(t.Context())
				switch {
				case err == nil:
					if lookErr != nil || found.Leaf.SerialNumber.Int64() != 2 {
						t.Errorf("found %v, %v", found.Leaf, lookErr)
					}
					w.cold(t, host, 2)
				case !errors.Is(err, crash):
					t.Error(err)
				case old == "none":
					if !errors.Is(lookErr, fs.ErrNotExist) {
						t.Errorf("found %v, %v", found.Leaf, lookErr)
					}
				default:
					if lookErr != nil || found.Leaf.SerialNumber.Int64() != 1 {
						t.Errorf("found %v, %v", found.Leaf, lookErr)
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
	w := newShelf(t, nil)
	save(t, certtest.New(t, host, 9, time.Hour), w.magic.Storage, ourCA, host)
	stock := certtest.Magic(t, w.dir)
	stock.Issuers = []certmagic.Issuer{&certmagic.ACMEIssuer{CA: "https://ca.test/dir"}}
	if got, err := certtest.Shake(stock, host); err != nil || got != 9 {
		t.Errorf("served %d, %v", got, err)
	}
	for _, ext := range []string{extKey, extChain, extMeta} {
		fi, err := os.Stat(filepath.Join(w.dir, placeOf(ourCA, host).with(ext)))
		if err != nil || fi.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", ext, fi, err)
		}
	}
}

// What certmagic stores after a handshake's own order is made whole as well.
func TestWhatCertmagicStoresIsMadeWhole(t *testing.T) {
	const host = "api.example.com"
	w := newShelf(t, nil)
	st := w.st
	m := certtest.New(t, host, 4, time.Hour)
	for _, kv := range []struct {
		ext   string
		value []byte
	}{{extKey, m.KeyPEM}, {extChain, m.Chain}, {extMeta, []byte(`{"sans":["api.example.com"]}`)}} {
		if err := w.magic.Storage.Store(t.Context(), placeOf(ourCA, host).with(kv.ext), kv.value); err != nil {
			t.Fatal(err)
		}
	}
	st.Took()
	w.cold(t, host, 4)
	if got := st.Took(); len(got) != 1 {
		t.Errorf("read %q", got)
	}
	// Whoever reads the key, such as to use it again, gets the key.
	key, err := w.magic.Storage.Load(t.Context(), certmagic.StorageKeys.SitePrivateKey(ourCA, host))
	if err != nil || !bytes.Equal(key, m.KeyPEM) {
		t.Errorf("the key is %s, %v", key, err)
	}
}
