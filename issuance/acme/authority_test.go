package acme

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"testing"
	"time"

	"github.com/caddyserver/certmagic"
	acmez "github.com/mholt/acmez/v3/acme"
)

func TestAuthorityNames(t *testing.T) {
	le := Authority{}
	for name, want := range map[string]bool{"": true, "letsencrypt": true, "LetsEncrypt": true, "acme-v02.api.letsencrypt.org": true,
		"https://acme-v02.api.letsencrypt.org/directory": true, "acme-v02.api.letsencrypt.org-directory": true, "zerossl": false, "x": false} {
		if le.Named(name) != want {
			t.Errorf("%q: %v", name, !want)
		}
	}
	if b := le.OrderBudget(); b.Orders != 297 || b.Per != 3*time.Hour {
		t.Errorf("Let's Encrypt's budget is %v", b)
	}
	if b := (Authority{Directory: "https://ca.test/dir"}).OrderBudget(); b.Orders != 0 {
		t.Errorf("an unknown CA's budget is %v", b)
	}
}

// chainOf is a chain by the names of its issuers, from the leaf up.
func chainOf(t *testing.T, issuers ...string) (out acmez.Certificate) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range issuers {
		tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"a.example.com"}}
		der, err := x509.CreateCertificate(rand.Reader, tmpl, &x509.Certificate{Subject: pkix.Name{CommonName: name}}, &key.PublicKey, key)
		if err != nil {
			t.Fatal(err)
		}
		out.ChainPEM = append(out.ChainPEM, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...)
	}
	return out
}

func TestTheChainIsChosenAsPreferred(t *testing.T) {
	long, short := chainOf(t, "R1", "X1", "Old Root"), chainOf(t, "R1", "New Root")
	yes, no := true, false
	for name, tt := range map[string]struct {
		prefer certmagic.ChainPreference
		want   acmez.Certificate
	}{
		"the CA's first by default":           {certmagic.ChainPreference{}, long},
		"the smallest":                        {certmagic.ChainPreference{Smallest: &yes}, short},
		"the largest":                         {certmagic.ChainPreference{Smallest: &no}, long},
		"by the root":                         {certmagic.ChainPreference{RootCommonName: []string{"Nobody", "New Root"}}, short},
		"by any in it":                        {certmagic.ChainPreference{AnyCommonName: []string{"X1"}}, long},
		"a name in the middle is none's root": {certmagic.ChainPreference{RootCommonName: []string{"X1"}}, long},
	} {
		t.Run(name, func(t *testing.T) {
			if got := choose([]acmez.Certificate{long, short}, tt.prefer); string(got.ChainPEM) != string(tt.want.ChainPEM) {
				t.Error("another chain was chosen")
			}
		})
	}
}
