package issuance

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"

	"github.com/caddyserver/certmagic"

	"github.com/apoxy-dev/caddy-apoxy/issuance/acme"
	"github.com/apoxy-dev/caddy-apoxy/issuance/revocation"
)

// requester makes the certificate request of an order: acme.Flow's CSR and Known.
type requester interface {
	csr(ctx context.Context) ([]byte, error)
	known(ctx context.Context) bool
}

// storedKey makes the private key of an order and keeps it in storage until the order is
// finished, so that a certificate that was signed before a crash can still be used.
type storedKey struct {
	ca       *ca
	hostname string
	resume   bool              // there is an earlier order at this CA, whose key may be stored
	burnt    string            // digest of a compromised public key that must not be used; empty: none
	key      crypto.PrivateKey // nil until it was read or made
	der      []byte            // the request that was made with it, nil until then
}

func (k *storedKey) path() string { return k.ca.Site(k.hostname).OrderKey() }

func (k *storedKey) known(ctx context.Context) bool {
	if !k.resume {
		return false
	}
	raw, err := k.ca.Storage().Load(ctx, k.path())
	if err != nil {
		return false
	}
	key, err := certmagic.PEMDecodePrivateKey(raw)
	if err != nil || revocation.Burns(key, k.burnt) {
		return false
	}
	k.key = key
	return true
}

func (k *storedKey) csr(ctx context.Context) (der []byte, err error) {
	if k.der != nil {
		return k.der, nil
	}
	if k.key == nil {
		key, err := k.ca.newKey(ctx, k.hostname, k.burnt)
		if err != nil {
			return nil, acme.Failed(acme.ClassOperator, "making a private key failed", err)
		}
		raw, err := certmagic.PEMEncodePrivateKey(key)
		if err == nil {
			err = k.ca.Storage().Store(ctx, k.path(), raw)
		}
		if err != nil {
			return nil, acme.Failed(acme.ClassOperator, "keeping a private key failed", err)
		}
		k.key = key
	}
	k.der, err = request(k.key, k.hostname, k.ca.cfg.MustStaple)
	return k.der, err
}

// newKey makes a private key as the configuration says or, with reuse_private_keys, reads
// that of the present certificate, unless it is burnt.
func (c *ca) newKey(ctx context.Context, hostname, burnt string) (crypto.PrivateKey, error) {
	if c.cfg.ReusePrivateKeys {
		raw, err := c.Storage().Load(ctx, c.Site(hostname).KeyFile())
		if err == nil {
			key, err := certmagic.PEMDecodePrivateKey(raw)
			if err != nil || !revocation.Burns(key, burnt) {
				return key, err
			}
		}
	}
	if c.cfg.KeySource != nil {
		return c.cfg.KeySource.GenerateKey()
	}
	return certmagic.DefaultKeyGenerator.GenerateKey()
}

// mustStaple is the TLS feature extension for OCSP stapling (RFC 7633).
var mustStaple = pkix.Extension{Id: asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 1, 24}, Value: []byte{0x30, 0x03, 0x02, 0x01, 0x05}}

// request makes a certificate request in DER; staple asks for mustStaple.
func request(key crypto.PrivateKey, hostname string, staple bool) ([]byte, error) {
	tmpl := &x509.CertificateRequest{DNSNames: []string{hostname}}
	if staple {
		tmpl.ExtraExtensions = append(tmpl.ExtraExtensions, mustStaple)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, tmpl, key)
	if err != nil {
		return nil, fmt.Errorf("making certificate request: %w", err)
	}
	return der, nil
}
