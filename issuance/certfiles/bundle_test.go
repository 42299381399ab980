package certfiles

import (
	"bytes"
	"crypto"
	"crypto/tls"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/certmagic"

	"github.com/apoxy-dev/caddy-apoxy/internal/certtest"
)

func TestABundleComesApartAsItWasJoined(t *testing.T) {
	m := certtest.New(t, "a.example.com", 0xbeef, time.Hour)
	with := certtest.New(t, "a.example.com", 7, time.Hour, "http://ocsp.test")
	for name, tt := range map[string]struct {
		chain, meta, want []byte
		serial            string
		unstapled         bool
	}{
		"one":                             {m.Chain, []byte(`{"sans":["a.example.com"]}`), m.Chain, "beef", true},
		"a responder is named":            {with.Chain, []byte(`{}`), with.Chain, "7", false},
		"no metadata":                     {m.Chain, nil, m.Chain, "beef", true},
		"no newline at the end":           {bytes.TrimSpace(m.Chain), []byte("x"), m.Chain, "beef", true},
		"words before the chain":          {append([]byte("subject=a\n"), m.Chain...), []byte("x"), m.Chain, "beef", true},
		"our own mark within the chain":   {append(bytes.Clone(m.Chain), metadataMark...), []byte("x"), append(append(bytes.Clone(m.Chain), metadataMark...), '\n'), "beef", true},
		"metadata that looks like blocks": {m.Chain, bytes.Join([][]byte{metadataMark, chainMark, m.KeyPEM}, []byte("\n")), m.Chain, "beef", true},
	} {
		t.Run(name, func(t *testing.T) {
			raw, err := joinBundle(m.KeyPEM, tt.chain, tt.meta)
			if err != nil {
				t.Fatal(err)
			}
			b, ok := splitBundle(raw)
			if !ok || !bytes.Equal(b.key, m.KeyPEM) || !bytes.Equal(b.chain, tt.want) || !bytes.Equal(b.meta, tt.meta) || b.serial != tt.serial || b.unstapled != tt.unstapled {
				t.Errorf("%v: %+v of\n%s", ok, b, raw)
			}
			if !bytes.Equal(keyOf(raw), m.KeyPEM) {
				t.Errorf("the key is %s", keyOf(raw))
			}
		})
	}
}

func TestWhatIsNoBundleIsAKey(t *testing.T) {
	m := certtest.New(t, "a.example.com", 1, time.Hour)
	whole, err := joinBundle(m.KeyPEM, m.Chain, []byte("{}"))
	if err != nil {
		t.Fatal(err)
	}
	for name, raw := range map[string][]byte{
		"empty":           nil,
		"a key":           m.KeyPEM,
		"a key and chain": append(bytes.Clone(m.KeyPEM), m.Chain...),
		"no key":          whole[len(m.KeyPEM):],
		"two keys":        append(bytes.Clone(m.KeyPEM), whole...),
		"cut short":       whole[:len(whole)-10],
		"more behind":     append(bytes.Clone(whole), "x"...),
		"a mark in a line": bytes.Replace(whole, append([]byte("\n"), metadataMark...),
			append([]byte("x"), metadataMark...), 1),
	} {
		if b, ok := splitBundle(raw); ok {
			t.Errorf("%s: comes apart as %+v", name, b)
		}
		if !bytes.Equal(keyOf(raw), raw) {
			t.Errorf("%s: the key is %s", name, keyOf(raw))
		}
	}
	for name, chain := range map[string]string{"empty": "", "a key": string(m.KeyPEM), "rubbish": "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"} {
		if _, err := joinBundle(m.KeyPEM, []byte(chain), nil); err == nil {
			t.Errorf("%s is joined", name)
		}
	}
}

// What others read .key files with takes the key and passes over the rest.
func TestStockReadersTakeTheKeyOfABundle(t *testing.T) {
	m := certtest.New(t, "a.example.com", 1, time.Hour)
	for kind, gen := range map[string]certmagic.KeyType{"P-256": certmagic.P256, "RSA": certmagic.RSA2048, "Ed25519": certmagic.ED25519} {
		t.Run(kind, func(t *testing.T) {
			key, err := certmagic.StandardKeyGenerator{KeyType: gen}.GenerateKey()
			if err != nil {
				t.Fatal(err)
			}
			keyPEM, err := certmagic.PEMEncodePrivateKey(key)
			if err != nil {
				t.Fatal(err)
			}
			raw, err := joinBundle(keyPEM, m.Chain, []byte("{}"))
			if err != nil {
				t.Fatal(err)
			}
			got, err := certmagic.PEMDecodePrivateKey(raw)
			if err != nil {
				t.Fatal(err)
			}
			if want, ok := key.(interface{ Equal(crypto.PrivateKey) bool }); !ok || !want.Equal(got) {
				t.Error("another key")
			}
		})
	}
	raw, err := joinBundle(m.KeyPEM, m.Chain, []byte("{}"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tls.X509KeyPair(m.Chain, raw); err != nil {
		t.Errorf("crypto/tls, two files: %v", err)
	}
	if _, err := tls.X509KeyPair(raw, raw); err != nil {
		t.Errorf("crypto/tls, one file: %v", err)
	}
}

func FuzzSplitBundle(f *testing.F) {
	m := certtest.New(f, "a.example.com", 1, time.Hour)
	whole, err := joinBundle(m.KeyPEM, m.Chain, []byte(`{"sans":["a.example.com"]}`))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(whole)
	f.Add(m.KeyPEM)
	f.Add([]byte(strings.ReplaceAll(string(whole), "\n", "\r\n")))
	f.Fuzz(func(t *testing.T, raw []byte) {
		b, ok := splitBundle(raw)
		if !ok {
			return
		}
		if !bytes.HasPrefix(raw, b.key) || !bytes.HasPrefix(raw[len(b.key):], b.chain) || !bytes.HasPrefix(b.chain, chainMark) {
			t.Errorf("key and chain are not the beginning of %q", raw)
		}
		if again, err := joinBundle(b.key, b.chain, b.meta); err == nil {
			if c, ok := splitBundle(again); !ok || !bytes.Equal(c.key, b.key) || !bytes.Equal(c.chain, b.chain) || !bytes.Equal(c.meta, b.meta) {
				t.Errorf("%q comes apart otherwise when joined again", raw)
			}
		}
	})
}
