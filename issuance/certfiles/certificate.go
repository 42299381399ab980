package certfiles

import (
	"bytes"
	"context"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"

	"github.com/caddyserver/certmagic"
	acmez "github.com/mholt/acmez/v3/acme"
)

// Provenance says for whom a certificate was obtained. It travels inside the
// stored metadata, so that it survives the loss of the index.
type Provenance struct {
	UID       string `json:"uid,omitempty"`
	Owner     string `json:"owner,omitempty"`
	Challenge string `json:"challenge,omitempty"`
}

// Metadata is certmagic's issuer data with the provenance beside it.
type Metadata struct {
	acmez.Certificate
	Provenance *Provenance `json:"apoxy,omitempty"`
}

// Stored is a certificate as storage holds it.
type Stored struct {
	IssuerKey string
	Leaf      *x509.Certificate
	Meta      Metadata
}

// Save writes metadata and chain where certmagic and everyone else
// look for them, and then the .key file, which holds both once more and is what
// a handshake reads (see bundle.go). That it comes last makes it the point where
// the new certificate takes the old one's place: a crash or an error before
// leaves the old one whole, for a handshake and for loadCertificate. One that
// was stored as three separate files is made whole first, for the same reason.
func Save(ctx context.Context, st certmagic.Storage, issuerKey, hostname string, key crypto.PrivateKey, chain []byte, meta Metadata) error {
	st = Unwrap(st)
	keyPEM, err := certmagic.PEMEncodePrivateKey(key)
	if err != nil {
		return fmt.Errorf("encoding private key: %w", err)
	}
	data, err := json.Marshal(meta)
	if err != nil {
		return fmt.Errorf("encoding issuer data: %w", err)
	}
	res, err := json.MarshalIndent(certmagic.CertificateResource{SANs: []string{hostname}, IssuerData: data}, "", "\t")
	if err != nil {
		return fmt.Errorf("encoding metadata: %w", err)
	}
	whole, err := joinBundle(keyPEM, chain, res)
	if err != nil {
		return err
	}
	p := placeOf(issuerKey, hostname)
	if old, err := st.Load(ctx, p.key()); err == nil && !isBundle(old) {
		// Should this fail, there is no certificate that could be spared.
		_ = completeKey(ctx, st, p, old)
	}
	for _, kv := range []struct {
		key   string
		value []byte
	}{
		{p.with(extMeta), res},
		{p.with(extChain), chain},
		{p.key(), whole},
	} {
		if err := st.Store(ctx, kv.key, kv.value); err != nil {
			return fmt.Errorf("storing %s: %w", kv.key, err)
		}
	}
	return nil
}

// Load reads what is stored for a hostname. fs.ErrNotExist if
// nothing is that could be served, damaged files included; any other error: it
// cannot be told at the moment.
func Load(ctx context.Context, st certmagic.Storage, issuerKey, hostname string) (Stored, error) {
	out, p := Stored{IssuerKey: issuerKey}, placeOf(issuerKey, hostname)
	st = Unwrap(st)
	raw, err := st.Load(ctx, p.key())
	if err != nil {
		return out, err
	}
	b, whole := splitBundle(raw)
	if chain, meta, err := loadBeside(ctx, st, p, raw); err == nil && !bytes.Equal(chain, b.chain) {
		// Stock Caddy has never joined them, or reused our key file as it was
		// for a certificate of its own.
		if later, err := isLater(chain, b.chain); err == nil && later {
			b.chain, b.meta = chain, meta
		}
	} else if !whole {
		return out, err
	}
	if out.Leaf, err = LeafOf(b.chain); err != nil {
		return out, fmt.Errorf("reading stored certificate of %s (%v): %w", hostname, err, fs.ErrNotExist)
	}
	var res certmagic.CertificateResource
	if err := json.Unmarshal(b.meta, &res); err != nil {
		return out, fmt.Errorf("reading metadata of %s (%v): %w", hostname, err, fs.ErrNotExist)
	}
	if len(res.IssuerData) > 0 {
		// Other issuers keep other data there; then nothing is known of it.
		_ = json.Unmarshal(res.IssuerData, &out.Meta)
	}
	return out, nil
}

// loadBeside reads the two files beside a .key file. fs.ErrNotExist if one of
// them is missing or is for another key.
func loadBeside(ctx context.Context, st certmagic.Storage, p place, key []byte) (chain, meta []byte, err error) {
	if chain, err = st.Load(ctx, p.with(extChain)); err != nil {
		return nil, nil, err
	}
	if meta, err = st.Load(ctx, p.with(extMeta)); err != nil {
		return nil, nil, err
	}
	if _, err := tls.X509KeyPair(chain, key); err != nil {
		return nil, nil, fmt.Errorf("%s is not the key of the certificate beside it (%v): %w", p.key(), err, fs.ErrNotExist)
	}
	return chain, meta, nil
}

// completeKey makes a .key file, that holds raw, hold all that the two files
// beside it hold. fs.ErrNotExist if the three do not belong together.
func completeKey(ctx context.Context, st certmagic.Storage, p place, raw []byte) error {
	chain, meta, err := loadBeside(ctx, st, p, raw)
	if err != nil {
		return err
	}
	whole, err := joinBundle(keyOf(raw), chain, meta)
	if err != nil || bytes.Equal(whole, raw) {
		return err
	}
	return st.Store(ctx, p.key(), whole)
}

// Delete removes what is stored for a hostname, the key first:
// without it nothing can be served.
func Delete(ctx context.Context, st certmagic.Storage, issuerKey, hostname string) error {
	p := placeOf(issuerKey, hostname)
	var errs []error
	for _, k := range []string{p.key(), p.with(extChain), p.with(extMeta), certmagic.StorageKeys.CertsSitePrefix(issuerKey, hostname)} {
		if err := st.Delete(ctx, k); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, fmt.Errorf("deleting %s: %w", k, err))
		}
	}
	return errors.Join(errs...)
}

func LeafOf(chainPEM []byte) (*x509.Certificate, error) {
	block, _ := pem.Decode(chainPEM)
	if block == nil || block.Type != "CERTIFICATE" {
		return nil, errors.New("no certificate in the chain")
	}
	return x509.ParseCertificate(block.Bytes)
}

// LeafAndIssuer reads a certificate and its issuer from a chain; nil without.
func LeafAndIssuer(chain []byte) (leaf, issuer *x509.Certificate) {
	for chain != nil && issuer == nil {
		var b *pem.Block
		if b, chain = pem.Decode(chain); b == nil {
			break
		}
		c, err := x509.ParseCertificate(b.Bytes)
		switch {
		case err != nil:
			return nil, nil
		case leaf == nil:
			leaf = c
		case leaf.CheckSignatureFrom(c) == nil:
			issuer = c
		default:
			return leaf, nil
		}
	}
	return leaf, issuer
}

// KeyPair reads a certificate and its key; without the key, which certmagic puts away
// when it learns that it is compromised, the certificate alone.
func KeyPair(ctx context.Context, st certmagic.Storage, issuerKey, hostname string) tls.Certificate {
	st, p := Unwrap(st), placeOf(issuerKey, hostname)
	key, _ := st.Load(ctx, p.key())
	chain, _ := st.Load(ctx, p.with(extChain))
	if b, ok := splitBundle(key); ok {
		chain = b.chain
	}
	if pair, err := tls.X509KeyPair(chain, key); err == nil {
		return pair
	}
	var alone tls.Certificate
	if leaf, err := LeafOf(chain); err == nil {
		alone.Certificate, alone.Leaf = [][]byte{leaf.Raw}, leaf
	}
	return alone
}

// Issued reads the certificate with a serial number, and its issuer, from one of
// the two files that hold it; nil if neither does. The one with the key may be
// gone: certmagic puts a key away that it learns is compromised.
func Issued(ctx context.Context, st certmagic.Storage, issuerKey, hostname, serial string) (leaf, issuer *x509.Certificate) {
	st, p := Unwrap(st), placeOf(issuerKey, hostname)
	for _, file := range []string{p.with(extChain), p.key()} {
		raw, err := st.Load(ctx, file)
		if err != nil {
			continue
		}
		if b, ok := splitBundle(raw); ok {
			raw = b.chain
		}
		if leaf, issuer = LeafAndIssuer(raw); leaf != nil && fmt.Sprintf("%x", leaf.SerialNumber) == serial {
			return leaf, issuer
		}
	}
	return nil, nil
}

// InPlace reports whether the one file that a handshake reads first holds the
// certificate with a serial number, in hexadecimal. false: it may lie beside it.
func InPlace(ctx context.Context, st certmagic.Storage, issuerKey, hostname, serial string) bool {
	raw, err := st.Load(ctx, placeOf(issuerKey, hostname).key())
	b, ok := splitBundle(raw)
	return err == nil && ok && b.serial == serial
}
