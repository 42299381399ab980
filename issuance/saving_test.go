package issuance

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
)

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

func TestAKeyIsUsedAgainFromEitherForm(t *testing.T) {
	const host = "a.example.com"
	w := newWorld(t)
	w.magic.ReusePrivateKeys = true
	c := w.is.cas()[0]
	m := makeCertificate(t, host, 1, time.Hour)
	for name, store := range map[string]func(){
		"ours":        func() { m.save(t, c.storage(), c.key, host) },
		"three files": func() { m.saveStock(t, c.storage(), c.key, host) },
	} {
		store()
		key, err := c.newKey(t.Context(), host, "")
		if err != nil || !m.key.Equal(key) {
			t.Errorf("%s: %v, %v", name, key, err)
		}
	}
}
