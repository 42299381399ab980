package ownchain

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"
)

var now = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// made is a certificate and its key.
type made struct {
	cert *x509.Certificate
	key  crypto.Signer
}

func (m made) pem() string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: m.cert.Raw}))
}

func (m made) keyPEM(t *testing.T) string {
	der, err := x509.MarshalPKCS8PrivateKey(m.key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

func newKey(t *testing.T) crypto.Signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

var serial = int64(100)

// sign makes a certificate by another, nil: by itself.
func sign(t *testing.T, by *made, key crypto.Signer, change func(*x509.Certificate)) made {
	t.Helper()
	serial++
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: "leaf"}, DNSNames: []string{"shop.example.com"},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(90 * 24 * time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, KeyUsage: x509.KeyUsageDigitalSignature, BasicConstraintsValid: true,
	}
	if change != nil {
		change(tmpl)
	}
	parent, signer := tmpl, key
	if by != nil {
		parent, signer = by.cert, by.key
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, parent, key.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return made{cert, key}
}

func authority(name string) func(*x509.Certificate) {
	return func(c *x509.Certificate) {
		c.Subject.CommonName, c.DNSNames, c.IsCA, c.ExtKeyUsage = name, nil, true, nil
		c.KeyUsage, c.NotAfter = x509.KeyUsageCertSign, now.Add(1000*24*time.Hour)
	}
}

// pki is a public root with two authorities below it, and a private one.
type pki struct {
	root, upper, lower, private made
	roots                       *x509.CertPool
}

func newPKI(t *testing.T) pki {
	p := pki{root: sign(t, nil, newKey(t), authority("Root")), private: sign(t, nil, newKey(t), authority("Private Root")), roots: x509.NewCertPool()}
	p.upper = sign(t, &p.root, newKey(t), authority("Upper"))
	p.lower = sign(t, &p.upper, newKey(t), func(c *x509.Certificate) {
		authority("Lower")(c)
		c.IssuingCertificateURL = []string{"http://ca.test/upper.crt"}
	})
	p.roots.AddCert(p.root.cert)
	return p
}

func names(chain []*x509.Certificate) (out []string) {
	for _, c := range chain {
		out = append(out, c.Subject.CommonName)
	}
	return out
}

func TestTheChainIsServedInOrderWithoutItsRoot(t *testing.T) {
	p := newPKI(t)
	leaf := sign(t, &p.lower, newKey(t), nil)
	stranger := sign(t, nil, newKey(t), authority("Stranger"))
	own := sign(t, &p.private, newKey(t), nil)
	self := sign(t, nil, newKey(t), nil)
	for _, c := range []struct {
		name      string
		leaf      made
		sent      []made
		untrusted bool
		want      string
		trusted   bool
	}{
		{"as it should be", leaf, []made{leaf, p.lower, p.upper}, false, "leaf Lower Upper", true},
		{"in disorder, with the root, and some twice", leaf, []made{p.root, p.upper, leaf, p.lower, leaf, p.upper}, false, "leaf Lower Upper", true},
		{"with what belongs to nobody", leaf, []made{stranger, leaf, p.upper, p.lower}, false, "leaf Lower Upper", true},
		{"of an unknown root", own, []made{own, p.private}, true, "leaf", false},
		{"of an unknown root that is not there", own, []made{own}, true, "leaf", false},
		{"signed by itself", self, []made{self}, true, "leaf", false},
		{"trusted although it need not be", leaf, []made{p.upper, p.lower, leaf}, true, "leaf Lower Upper", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			var text string
			for _, m := range c.sent {
				text += m.pem()
			}
			got, err := Check(Input{Certificates: []byte(text), Key: []byte(c.leaf.keyPEM(t)), Hostname: "shop.example.com", Untrusted: c.untrusted, Roots: p.roots, Now: now})
			if err != nil {
				t.Fatal(err)
			}
			if s := strings.Join(names(got.Certificates), " "); s != c.want || got.Trusted != c.trusted {
				t.Errorf("serves %s, trusted %v, want %s, %v", s, got.Trusted, c.want, c.trusted)
			}
		})
	}
}

func TestWhatIsRefusedIsSaidWithItsMend(t *testing.T) {
	p := newPKI(t)
	leaf := sign(t, &p.lower, newKey(t), nil)
	with := func(change func(*x509.Certificate)) made { return sign(t, &p.lower, newKey(t), change) }
	of := func(key crypto.Signer) made { return sign(t, &p.lower, key, nil) }
	small, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	p224, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	private := sign(t, &p.private, newKey(t), nil)
	asked := sign(t, &p.private, newKey(t), func(c *x509.Certificate) { c.OCSPServer = []string{"http://169.254.169.254/"} })
	late := sign(t, &p.root, newKey(t), func(c *x509.Certificate) { authority("Late")(c); c.NotAfter = now.Add(-time.Hour) })
	under := sign(t, &late, newKey(t), nil)
	legacy := &pem.Block{Type: "RSA PRIVATE KEY", Headers: map[string]string{"Proc-Type": "4,ENCRYPTED", "DEK-Info": "AES-256-CBC,00"}, Bytes: []byte("x")}
	for _, c := range []struct {
		name      string
		m         made
		key       string // in place of its own
		untrusted bool
		hostname  string
		field     string
		want      []string
	}{
		{"the key of another", leaf, p.root.keyPEM(t), false, "", FieldKey, []string{"fits none", "requested"}},
		{"no key", leaf, "hello", false, "", FieldKey, []string{"-----BEGIN PRIVATE KEY-----"}},
		{"two keys", leaf, leaf.keyPEM(t) + p.root.keyPEM(t), false, "", FieldKey, []string{"more than one"}},
		{"an encrypted key", leaf, "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n", false, "", FieldKey, []string{"encrypted", "openssl pkey"}},
		{"one encrypted the old way", leaf, string(pem.EncodeToMemory(legacy)), false, "", FieldKey, []string{"encrypted", "openssl pkey"}},
		{"a huge key", leaf, string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: make([]byte, 6000)})), false, "", FieldKey, []string{"6000 bytes", "at most"}},
		{"a damaged key", leaf, string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: []byte("secret")})), false, "", FieldKey, []string{"damaged"}},
		{"RSA with 1024 bits", made{leaf.cert, small}, "", false, "", FieldKey, []string{"RSA with 1024 bits", "2048"}},
		{"P-224", of(p224), "", false, "", FieldKey, []string{"P-224", "P-256"}},
		{"another hostname", leaf, "", false, "other.example.com", FieldCertificate, []string{`"shop.example.com"`, "expected one for other.example.com"}},
		{"a wildcard's hostname", leaf, "", false, "*.example.com", FieldCertificate, []string{"expected one for *.example.com"}},
		{"no name but the common one", with(func(c *x509.Certificate) { c.DNSNames, c.Subject.CommonName = nil, "shop.example.com" }), "", false, "", FieldCertificate, []string{"no DNS name", "common name"}},
		{"an expired one", with(func(c *x509.Certificate) { c.NotAfter = now.Add(-time.Minute) }), "", false, "", FieldCertificate, []string{"expired at 2026-03-01T11:59:00Z", "renewed"}},
		{"one of tomorrow", with(func(c *x509.Certificate) { c.NotBefore = now.Add(24 * time.Hour) }), "", false, "", FieldCertificate, []string{"valid from 2026-03-02"}},
		{"an authority's", with(func(c *x509.Certificate) { c.IsCA, c.KeyUsage = true, x509.KeyUsageCertSign }), "", false, "", FieldCertificate, []string{"authority's", "CA:FALSE"}},
		{"a client's", with(func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} }), "", false, "", FieldCertificate, []string{"not for servers", "serverAuth"}},
		{"one that may not sign", with(func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageKeyEncipherment }), "", false, "", FieldCertificate, []string{"digitalSignature"}},
		{"an unknown root", private, "", false, "", FieldCertificate, []string{`"Private Root"`, "--untrusted", "?untrusted=true"}},
		{"an unknown root that would have us ask anybody", asked, "", true, "", FieldCertificate, []string{"169.254.169.254", "issued without"}},
		{"an expired authority above it", under, "", true, "", FieldCertificate, []string{`"Late" expired`}},
		{"too much", made{leaf.cert, leaf.key}, strings.Repeat("x", MaxBytes), false, "", FieldCertificate, []string{"bytes with the key", "at most 65536"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			key, hostname := c.key, c.hostname
			if key == "" {
				key = c.m.keyPEM(t)
			}
			if hostname == "" {
				hostname = "shop.example.com"
			}
			text := c.m.pem() + p.lower.pem() + p.upper.pem()
			switch c.m {
			case private, asked:
				text = c.m.pem() + p.private.pem()
			case under:
				text = c.m.pem() + late.pem()
			}
			_, err := Check(Input{Certificates: []byte(text), Key: []byte(key), Hostname: hostname, Untrusted: c.untrusted, Roots: p.roots, Now: now})
			r := (*Refusal)(nil)
			if !errors.As(err, &r) || r.Field != c.field {
				t.Fatalf("got %v, want a refusal of %s", err, c.field)
			}
			for _, w := range c.want {
				if !strings.Contains(r.Error(), w) {
					t.Errorf("%q does not say %q", r, w)
				}
			}
		})
	}
}

func TestAMissingIntermediateIsNamed(t *testing.T) {
	p := newPKI(t)
	leaf := sign(t, &p.lower, newKey(t), nil)
	for sent, want := range map[string]string{
		leaf.pem():                 `the chain ends at "leaf": expected the certificate of its issuer "Lower" after it`,
		leaf.pem() + p.lower.pem(): `its issuer "Upper" after it; it is at "http://ca.test/upper.crt"`,
	} {
		_, err := Check(Input{Certificates: []byte(sent), Key: []byte(leaf.keyPEM(t)), Hostname: "shop.example.com", Roots: p.roots, Now: now})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

// Two authorities of one name that certify each other must not keep the climb going.
func TestALoopOfAuthoritiesEnds(t *testing.T) {
	a := sign(t, nil, newKey(t), authority("A"))
	b := sign(t, &a, newKey(t), authority("B"))
	again := sign(t, &b, a.key, authority("A"))
	leaf := sign(t, &again, newKey(t), nil)
	got, err := Check(Input{Certificates: []byte(leaf.pem() + again.pem() + b.pem()), Key: []byte(leaf.keyPEM(t)), Hostname: "shop.example.com", Untrusted: true, Roots: x509.NewCertPool(), Now: now})
	if err != nil || !slices.Equal(names(got.Certificates), []string{"leaf", "A", "B"}) {
		t.Errorf("got %v, %v", names(got.Certificates), err)
	}
}

func TestGoodKeysOfEveryKind(t *testing.T) {
	p := newPKI(t)
	strong, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range []crypto.Signer{strong, ed, newKey(t)} {
		leaf := sign(t, &p.root, key, func(c *x509.Certificate) { c.NotBefore = now.Add(time.Minute) }) // a clock a little ahead
		if _, err := Check(Input{Certificates: []byte(leaf.pem()), Key: []byte(leaf.keyPEM(t)), Hostname: "shop.example.com", Roots: p.roots, Now: now}); err != nil {
			t.Errorf("%T: %v", key, err)
		}
	}
}

func FuzzCheck(f *testing.F) {
	f.Add([]byte("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"), []byte("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"), "a.example.com")
	f.Add([]byte(""), []byte("-----BEGIN EC PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\nAAAA\n-----END EC PRIVATE KEY-----\n"), "*.example.com")
	f.Fuzz(func(t *testing.T, certs, key []byte, hostname string) {
		got, err := Check(Input{Certificates: certs, Key: key, Hostname: hostname, Untrusted: true, Roots: x509.NewCertPool(), Now: now})
		if r := (*Refusal)(nil); err != nil && (!errors.As(err, &r) || r.Field == "" || r.Expect == "") {
			t.Errorf("a refusal without a field or mend: %v", err)
		}
		if err == nil && (len(got.Certificates) == 0 || got.Key == nil) {
			t.Error("taken without a certificate or a key")
		}
	})
}
