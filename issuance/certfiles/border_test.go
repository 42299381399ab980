package certfiles

import (
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/caddyserver/certmagic"
	acmez "github.com/mholt/acmez/v3/acme"

	"github.com/apoxy-dev/caddy-apoxy/internal/certtest"
)

func TestAnAccountIsStoredReadAndDeleted(t *testing.T) {
	for _, email := range []string{"Ops@example.net", ""} {
		st := &certmagic.FileStorage{Path: t.TempDir()}
		key := certtest.New(t, "x", 1, 0)
		acct := acmez.Account{Status: acmez.StatusValid, Location: "https://ca.test/account/1", PrivateKey: key.Key}
		if email != "" {
			acct.Contact = []string{"mailto:" + email}
		}
		if _, _, err := LoadAccount(t.Context(), st, ourCA, email); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%q: before: %v", email, err)
		}
		if err := SaveAccount(t.Context(), st, ourCA, acct); err != nil {
			t.Fatal(err)
		}
		got, keyPEM, err := LoadAccount(t.Context(), st, ourCA, email)
		if err != nil || got.Location != acct.Location || got.Status != acct.Status || ContactOf(got) != email || !key.Key.Equal(got.PrivateKey) || string(keyPEM) != string(key.KeyPEM) {
			t.Errorf("%q: %+v, %v", email, got, err)
		}
		if err := DeleteAccount(t.Context(), st, ourCA, acct); err != nil {
			t.Error(err)
		}
		if _, _, err := LoadAccount(t.Context(), st, ourCA, email); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%q: after: %v", email, err)
		}
	}
}

func TestTheLatestAccountIsTheOneStoredLast(t *testing.T) {
	st := &certmagic.FileStorage{Path: t.TempDir()}
	if got := LatestEmail(t.Context(), st, ourCA); got != "" {
		t.Errorf("without an account: %q", got)
	}
	key := certtest.New(t, "x", 1, 0).Key
	for i, email := range []string{"new@example.net", "old@example.net", ""} {
		acct := acmez.Account{Status: acmez.StatusValid, PrivateKey: key}
		if email != "" {
			acct.Contact = []string{"mailto:" + email}
		}
		if err := SaveAccount(t.Context(), st, ourCA, acct); err != nil {
			t.Fatal(err)
		}
		reg, _ := accountKeys(ourCA, email)
		at := time.Now().Add(-time.Duration(i) * time.Hour)
		if err := os.Chtimes(filepath.Join(st.Path, filepath.Dir(reg)), at, at); err != nil {
			t.Fatal(err)
		}
	}
	if got := LatestEmail(t.Context(), st, ourCA); got != "new@example.net" {
		t.Errorf("%q", got)
	}
	reg, _ := accountKeys(ourCA, "")
	if err := os.Chtimes(filepath.Join(st.Path, filepath.Dir(reg)), time.Now(), time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	if got := LatestEmail(t.Context(), st, ourCA); got != "" {
		t.Errorf("the latest has no address: %q", got)
	}
}

func TestAChallengeIsStoredWhereCertmagicLooksForIt(t *testing.T) {
	const host = "*.example.com"
	st := &certmagic.FileStorage{Path: t.TempDir()}
	c := Challenges{st, ourCA}
	for _, token := range []string{"one", "another"} { // which takes the place of the first
		if err := c.Put(t.Context(), host, acmez.Challenge{Type: acmez.ChallengeTypeHTTP01, Token: token}); err != nil {
			t.Fatal(err)
		}
	}
	raw, err := st.Load(t.Context(), "acme/"+ourCA+"/challenge_tokens/wildcard_.example.com.json")
	var got certmagic.Challenge
	if err != nil || json.Unmarshal(raw, &got) != nil || got.Token != "another" || got.Type != acmez.ChallengeTypeHTTP01 {
		t.Errorf("%q, %v", raw, err)
	}
	for range 2 { // none is no error
		if err := c.Remove(t.Context(), host); err != nil {
			t.Error(err)
		}
	}
	if st.Exists(t.Context(), At(st, ourCA, host).ChallengeKey()) {
		t.Error("it is still there")
	}
}

func TestAHostnameIsLockedOnce(t *testing.T) {
	const host = "api.example.com"
	st := &certmagic.FileStorage{Path: t.TempDir()}
	for _, want := range []bool{true, false} {
		if ok, err := TryLock(t.Context(), st, host); ok != want || err != nil {
			t.Errorf("%v, %v; want %v", ok, err, want)
		}
	}
	if err := Unlock(t.Context(), st, host); err != nil {
		t.Fatal(err)
	}
	if ok, err := TryLock(t.Context(), st, host); !ok || err != nil {
		t.Errorf("after Unlock: %v, %v", ok, err)
	}
}

func TestTheIssuerIsFoundInTheChain(t *testing.T) {
	key := certtest.New(t, "x", 1, 0).Key // of all: who signed is told by signature and constraints
	ca := func(name string) *x509.Certificate {
		return &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true}
	}
	issue := func(tmpl, parent *x509.Certificate) []byte {
		der, err := x509.CreateCertificate(rand.Reader, tmpl, parent, &key.PublicKey, key)
		if err != nil {
			t.Fatal(err)
		}
		return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	}
	root := issue(ca("Root"), ca("Root"))
	issuer := issue(ca("Issuer"), ca("Root"))
	leaf := issue(&x509.Certificate{SerialNumber: big.NewInt(2), DNSNames: []string{"api.example.com"}}, ca("Issuer"))
	stranger := certtest.New(t, "stranger.test", 3, 0).Chain
	if l, i := leafAndIssuer(slices.Concat(leaf, issuer, root)); l == nil || l.SerialNumber.Int64() != 2 || i == nil || i.Subject.CommonName != "Issuer" {
		t.Errorf("%v, %v", l, i)
	}
	for name, chain := range map[string][]byte{"none": nil, "no PEM": []byte("no PEM"), "the leaf alone": leaf, "a stranger": slices.Concat(leaf, stranger)} {
		if _, i := leafAndIssuer(chain); i != nil {
			t.Errorf("%s: found %v", name, i.Subject)
		}
	}
}
