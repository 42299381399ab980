package certfiles

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	mrand "math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/apoxy-dev/caddy-apoxy/internal/certtest"
)

const victim = "victim.example.com"

// brought is a certificate that a customer has, and its key.
type brought struct {
	leaf *x509.Certificate
	key  *ecdsa.PrivateKey
}

func bring(t *testing.T, serial int64, names ...string) brought {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: names[len(names)-1]}, DNSNames: names,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(100 * 24 * time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return brought{leaf, key}
}

// ownShop is a shop to whose records customers bring certificates.
type ownShop struct {
	*shop
}

func newOwnShop(t *testing.T) *ownShop {
	s := &ownShop{shop: &shop{}}
	s.shelf = newShelf(t, func(ctx context.Context, hostname string) Shown {
		if by := s.front.Uploads(ctx, hostname); by != "" && by != hostname {
			return HideOwn // no verified record has the name itself
		}
		return ShowAny
	})
	s.known.uploads = map[string]Upload{}
	s.front.Uploads = func(_ context.Context, hostname string) string {
		s.known.mu.Lock()
		defer s.known.mu.Unlock()
		for _, name := range []string{hostname, wildcardOver(hostname)} {
			if _, ok := s.known.uploads[name]; ok {
				return name
			}
		}
		return ""
	}
	s.front.manage(s.magic)
	return s
}

// upload has a certificate kept for the record of a hostname; the zero value: none.
func (s *ownShop) upload(t *testing.T, hostname string, b brought) Upload {
	t.Helper()
	if b.leaf == nil {
		s.known.mu.Lock()
		delete(s.known.uploads, hostname)
		s.known.mu.Unlock()
		return Upload{}
	}
	chain := []*x509.Certificate{b.leaf}
	u := Upload{Hostname: hostname, UID: "uid-" + hostname, Sum: SumOf(chain)}
	if err := SaveUpload(t.Context(), s.st, u, chain, b.key); err != nil {
		t.Fatal(err)
	}
	s.known.mu.Lock()
	s.known.uploads[hostname] = u
	s.known.mu.Unlock()
	return u
}

// Whatever names customers' certificates hold, and in whatever order uploads, removals,
// evictions and handshakes come: each hostname is shown its own upload, else that of the
// wildcard above, else what was obtained.
func TestUploadsAreShownForTheirOwnRecordsAlone(t *testing.T) {
	s := newOwnShop(t)
	for i, name := range []string{ownName, victim, wildName} {
		s.put(t, name, int64(i+1))
	}
	obtained := map[string]int64{ownName: 1, victim: 2, wildName: 3}
	have := []brought{ // each is for all the others, too
		bring(t, 11, ownName, victim, wildName), bring(t, 12, ownName, victim, wildName), bring(t, 13, wildName),
		{}, // none
	}
	for seed := range uint64(6) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			r := mrand.New(mrand.NewPCG(seed, 4))
			want := map[string]int64{}
			for _, name := range []string{ownName, victim, wildName} {
				s.upload(t, name, brought{})
			}
			for range 80 {
				name := []string{ownName, victim, wildName}[r.IntN(3)]
				switch r.IntN(3) {
				case 0:
					b := have[r.IntN(len(have))]
					s.upload(t, name, b)
					if delete(want, name); b.leaf != nil {
						want[name] = b.leaf.SerialNumber.Int64()
					}
				case 1:
					Evict(s.magic, name)
				}
				asked := []string{ownName, victim, besides}[r.IntN(3)]
				switch own, wild := want[asked], want[wildName]; {
				case own != 0:
					s.shows(t, asked, own)
				case wild != 0:
					s.shows(t, asked, wild)
				default:
					got, err := certtest.Shake(s.magic, asked)
					if err != nil || got != obtained[asked] && got != obtained[wildName] {
						t.Fatalf("%s is shown %d, %v: nobody uploaded that for it", asked, got, err)
					}
				}
				if t.Failed() {
					t.FailNow()
				}
			}
		})
	}
}

// Two records share one certificate: neither is without while the other's comes or goes.
func TestASharedCertificateIsShownWithoutAGap(t *testing.T) {
	s := newOwnShop(t)
	both := bring(t, 21, ownName, victim)
	s.upload(t, ownName, both)
	s.shows(t, ownName, 21)
	stop, ended := make(chan struct{}), make(chan error, 1)
	go func() {
		for {
			select {
			case <-stop:
				ended <- nil
				return
			default:
			}
			if got, err := certtest.Shake(s.magic, ownName); err != nil || got != 21 {
				ended <- fmt.Errorf("shown %d, %w", got, err)
				return
			}
		}
	}()
	for range 50 {
		s.upload(t, victim, both)
		s.shows(t, victim, 21)
		s.upload(t, victim, brought{})
		if _, err := certtest.Shake(s.magic, victim); err == nil {
			t.Fatal("a hostname without an upload is shown its neighbour's")
		}
	}
	close(stop)
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
}

// What lies there damaged, or for another record, is as good as missing; the certificate
// that was obtained is shown then.
func TestAnUploadThatIsNotWhatWasStoredIsMissing(t *testing.T) {
	for name, change := range map[string]func(raw []byte, other []byte) []byte{
		"deleted":   nil,
		"cut":       func(raw, _ []byte) []byte { return raw[:len(raw)/2] },
		"exchanged": func(_, other []byte) []byte { return other },
		"empty":     func(_, _ []byte) []byte { return nil },
	} {
		t.Run(name, func(t *testing.T) {
			s := newOwnShop(t)
			s.put(t, ownName, 1)
			u := s.upload(t, ownName, bring(t, 31, ownName))
			other := s.upload(t, victim, bring(t, 32, victim, ownName))
			file := func(u Upload) string { return filepath.Join(s.dir, filepath.FromSlash(u.Key())) }
			raw, err := os.ReadFile(file(u))
			if err != nil {
				t.Fatal(err)
			}
			foreign, err := os.ReadFile(file(other))
			if err != nil {
				t.Fatal(err)
			}
			if change == nil {
				err = os.Remove(file(u))
			} else {
				err = os.WriteFile(file(u), change(raw, foreign), 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
			if _, err := LoadUpload(t.Context(), s.st, u); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("loads with %v", err)
			}
			_, _ = certtest.Shake(s.magic, ownName) // finds out
			s.shows(t, ownName, 1)
			if len(s.known.heard) == 0 || s.known.heard[0] != "missing "+ownName {
				t.Errorf("the index heard %q", s.known.heard)
			}
		})
	}
}

func TestUploadsLieInFilesThatOthersCannotRead(t *testing.T) {
	s := newOwnShop(t)
	u := s.upload(t, wildName, bring(t, 41, wildName))
	info, err := os.Stat(filepath.Join(s.dir, filepath.FromSlash(u.Key())))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("%v, %v", info.Mode(), err)
	}
	next := s.upload(t, wildName, bring(t, 42, wildName))
	if err := DropUploads(t.Context(), s.st, wildName, next); err != nil {
		t.Fatal(err)
	}
	if s.st.Exists(t.Context(), u.Key()) || !s.st.Exists(t.Context(), next.Key()) {
		t.Error("the wrong one was deleted")
	}
	if err := DropUploads(t.Context(), s.st, wildName); err != nil || s.st.Exists(t.Context(), next.Key()) {
		t.Errorf("not deleted: %v", err)
	}
	if err := DropUploads(t.Context(), s.st, "none.example.com"); err != nil {
		t.Errorf("deleting nothing: %v", err)
	}
}

// certmagic never drops what it does not manage, so the shelf bounds it.
func TestTheShelfIsBounded(t *testing.T) {
	s := newOwnShop(t)
	sh := shelfOf(s.magic)
	b := bring(t, 51, wildName)
	pair := tls.Certificate{Certificate: [][]byte{b.leaf.Raw}, PrivateKey: b.key, Leaf: b.leaf}
	sh.mu.Lock()
	for i := range maxShelf {
		name := fmt.Sprintf("h%d.example.com", i)
		sh.of[name] = &shelved{sum: name, cert: pair, names: []string{name}}
		sh.chains[name] = sh.of[name]
	}
	sh.mu.Unlock()
	if err := sh.put(t.Context(), s.magic, ownName, SumOf([]*x509.Certificate{b.leaf}), pair); err != nil {
		t.Fatal(err)
	}
	if n := len(sh.of); n > maxShelf || sh.get(ownName) == nil {
		t.Errorf("holds %d hostnames, the new one %v", n, sh.get(ownName) != nil)
	}
}
