package ownchain

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"slices"
	"strings"
)

const (
	// minRSA and maxRSA bound RSA keys, in bits: CAs sign none below 2048 (CA/Browser
	// Forum, Baseline Requirements, section 6.1.5), and Go's TLS takes none above 8192.
	minRSA, maxRSA = 2048, 8192
	// maxKeyBytes bounds the encoding of a private key. That of 8192 bits has about 4700
	// bytes; to examine a longer one would take long.
	maxKeyBytes = 5 << 10
)

// parseKey reads the one private key in PEM.
func parseKey(text []byte) (crypto.Signer, *Refusal) {
	var found *pem.Block
	for rest := text; ; {
		var b *pem.Block
		if b, rest = pem.Decode(rest); b == nil {
			break
		}
		if !strings.HasSuffix(b.Type, "PRIVATE KEY") {
			continue
		}
		if b.Type == "ENCRYPTED PRIVATE KEY" || strings.Contains(b.Headers["Proc-Type"], "ENCRYPTED") {
			return nil, refuse(FieldKey, "it is encrypted", "expected a key without a password: `openssl pkey -in key.pem -out plain.pem` takes it off")
		}
		if found != nil {
			return nil, refuse(FieldKey, "there is more than one", "expected the key of this certificate alone")
		}
		found = b
	}
	switch {
	case found == nil:
		return nil, refuse(FieldKey, "", "expected a private key in PEM, which begins with -----BEGIN PRIVATE KEY-----")
	case len(found.Bytes) > maxKeyBytes:
		return nil, refuse(FieldKey, fmt.Sprintf("%d bytes", len(found.Bytes)), "expected at most %d: RSA with 2048 to %d bits, ECDSA or Ed25519", maxKeyBytes, maxRSA)
	}
	return decodeKey(found)
}

// decodeKey decodes a key. What the decoders say of a bad one is left out, because it
// might hold a part of it.
func decodeKey(b *pem.Block) (crypto.Signer, *Refusal) {
	var key any
	var err error
	switch b.Type {
	case "RSA PRIVATE KEY":
		key, err = x509.ParsePKCS1PrivateKey(b.Bytes)
	case "EC PRIVATE KEY":
		key, err = x509.ParseECPrivateKey(b.Bytes)
	default:
		key, err = x509.ParsePKCS8PrivateKey(b.Bytes)
	}
	if err != nil {
		return nil, refuse(FieldKey, "the block of type "+quoted(b.Type)+" cannot be read, or its key is damaged or weak", "expected RSA with 2048 to %d bits, ECDSA or Ed25519, in PKCS #8, PKCS #1 or SEC 1", maxRSA)
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, refuse(FieldKey, fmt.Sprintf("a key of type %T", key), "expected one that signs: RSA, ECDSA or Ed25519")
	}
	if weak := weakness(signer.Public()); weak != "" {
		return nil, refuse(FieldKey, weak, strong)
	}
	return signer, nil
}

const strong = "expected RSA with 2048 to 8192 bits, ECDSA on P-256, P-384 or P-521, or Ed25519"

// weakness says why a public key is not taken; empty: it is.
func weakness(public any) string {
	switch k := public.(type) {
	case *rsa.PublicKey:
		if n := k.N.BitLen(); n < minRSA || n > maxRSA {
			return fmt.Sprintf("RSA with %d bits", n)
		}
	case *ecdsa.PublicKey:
		if k.Curve == elliptic.P224() {
			return "ECDSA on P-224"
		}
	case ed25519.PublicKey:
	default:
		return fmt.Sprintf("a public key of type %T", public)
	}
	return ""
}

// parseCertificates reads all certificates in PEM, each once.
func parseCertificates(text []byte) (all []*x509.Certificate, _ *Refusal) {
	for rest := text; ; {
		var b *pem.Block
		if b, rest = pem.Decode(rest); b == nil {
			break
		}
		if b.Type != "CERTIFICATE" {
			continue
		}
		if len(all) == maxCertificates {
			return nil, refuse(FieldCertificate, fmt.Sprintf("more than %d", maxCertificates), "expected the certificate and those above it, without the root")
		}
		c, err := x509.ParseCertificate(b.Bytes)
		if err != nil {
			return nil, refuse(FieldCertificate, fmt.Sprintf("number %d cannot be read: %v", len(all)+1, err), "expected an X.509 certificate")
		}
		if k, ok := c.PublicKey.(*rsa.PublicKey); ok && k.N.BitLen() > maxRSA { // before any signature is checked with it
			return nil, refuse(FieldCertificate, nameOf(c)+" has a key of RSA with "+fmt.Sprint(k.N.BitLen())+" bits", strong)
		}
		if !slices.ContainsFunc(all, func(o *x509.Certificate) bool { return same(o, c) }) {
			all = append(all, c)
		}
	}
	if len(all) == 0 {
		return nil, refuse(FieldCertificate, "", "expected certificates in PEM, which begin with -----BEGIN CERTIFICATE-----")
	}
	return all, nil
}
