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

// ErrLockLost is that of a storage that has written nothing, because the lock that
// protects what was to be written may be another process's by now.
var ErrLockLost = errors.New("the lock was lost")

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
	// IssuerKey is the key of the issuer whose files it was read from.
	IssuerKey string
	// Leaf is the certificate itself, without the chain above it. Its key is in
	// storage, too: Load does not find a certificate without one.
	Leaf *x509.Certificate
	// Chain is the certificate and the chain above it, in PEM.
	Chain []byte
	// Meta is what was stored with it; empty if another issuer than ours stored it.
	Meta Metadata
}

// Save stores a certificate: its private key, its chain in PEM and its metadata. It
// writes metadata and chain where certmagic and everyone else look for them, and
// then the .key file, which holds both once more and is what a handshake reads (see
// bundle.go). The .key file comes last, so that the new certificate takes the old
// one's place in one step: a crash or an error before it leaves the old one whole,
// for handshakes and for Load. An old one that lies in three separate files is
// joined first, for the same reason.
func (s Site) Save(ctx context.Context, key crypto.PrivateKey, chain []byte, meta Metadata) error {
	st := Unwrap(s.Storage)
	keyPEM, err := certmagic.PEMEncodePrivateKey(key)
	if err != nil {
		return fmt.Errorf("encoding private key: %w", err)
	}
	data, err := json.Marshal(meta)
	if err != nil {
		return fmt.Errorf("encoding issuer data: %w", err)
	}
	res, err := json.MarshalIndent(certmagic.CertificateResource{SANs: []string{s.Hostname}, IssuerData: data}, "", "\t")
	if err != nil {
		return fmt.Errorf("encoding metadata: %w", err)
	}
	whole, err := joinBundle(keyPEM, chain, res)
	if err != nil {
		return err
	}
	p := s.place()
	if old, err := st.Load(ctx, p.key()); err == nil {
		if _, joined := splitBundle(old); !joined {
			_ = completeKey(ctx, st, p, old) // an error: the three files are no certificate that could be lost
		}
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

// Load reads the stored certificate. The error is fs.ErrNotExist if there is none
// that could be served: nothing is stored, or its files are damaged. Any other error
// means that storage failed, which says nothing about the certificate.
func (s Site) Load(ctx context.Context) (Stored, error) {
	out, p, st := Stored{IssuerKey: s.IssuerKey}, s.place(), Unwrap(s.Storage)
	raw, err := st.Load(ctx, p.key())
	if err != nil {
		return out, err
	}
	b, whole := splitBundle(raw)
	if chain, meta, err := loadBeside(ctx, st, p, raw); err == nil && !bytes.Equal(chain, b.chain) {
		// Caddy's own issuer stores three files, and with reuse_private_keys leaves
		// the .key file with our older chain in it.
		if later, err := isLater(chain, b.chain); err == nil && later {
			b.chain, b.meta = chain, meta
		}
	} else if !whole {
		return out, err
	}
	out.Chain = b.chain
	if out.Leaf, err = LeafOf(b.chain); err != nil {
		return out, fmt.Errorf("reading stored certificate of %s (%v): %w", s.Hostname, err, fs.ErrNotExist)
	}
	var res certmagic.CertificateResource
	if err := json.Unmarshal(b.meta, &res); err != nil {
		return out, fmt.Errorf("reading metadata of %s (%v): %w", s.Hostname, err, fs.ErrNotExist)
	}
	if len(res.IssuerData) > 0 {
		// Other issuers keep other data there, of which nothing is used.
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

// completeKey rewrites a .key file so that it also holds what the two files beside
// it hold; raw is its present content. fs.ErrNotExist if the three do not belong
// together.
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

// Delete removes the certificate, its key and its OCSP staples; what does not exist
// is no error. The key goes first, because without it nothing can be served.
func (s Site) Delete(ctx context.Context) error {
	p, staples := s.place(), s.Staples(ctx)
	keys := []string{p.key(), p.with(extChain), p.with(extMeta), certmagic.StorageKeys.CertsSitePrefix(s.IssuerKey, s.Hostname)}
	return DeleteKeys(ctx, s.Storage, append(keys, staples...))
}

// LeafOf reads the first certificate of a chain in PEM.
func LeafOf(chainPEM []byte) (*x509.Certificate, error) {
	block, _ := pem.Decode(chainPEM)
	if block == nil || block.Type != "CERTIFICATE" {
		return nil, errors.New("no certificate in the chain")
	}
	return x509.ParseCertificate(block.Bytes)
}

// leafAndIssuer reads the first certificate of a chain in PEM and the next one, if
// that has signed it. Each is nil if it is not there or cannot be read.
func leafAndIssuer(chain []byte) (leaf, issuer *x509.Certificate) {
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

// KeyPair reads the certificate and its key. Where the key is missing it returns the
// certificate alone, because certmagic moves a compromised key away; where both are
// missing it returns the zero value.
func (s Site) KeyPair(ctx context.Context) tls.Certificate {
	st, p := Unwrap(s.Storage), s.place()
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

// Issued reads the certificate with a serial number (hexadecimal), and its issuer,
// from one of the two files that hold it; nil if neither does. The file with the key
// may be gone, because certmagic moves a compromised key away.
func (s Site) Issued(ctx context.Context, serial string) (leaf, issuer *x509.Certificate) {
	st, p := Unwrap(s.Storage), s.place()
	for _, file := range []string{p.with(extChain), p.key()} {
		raw, err := st.Load(ctx, file)
		if err != nil {
			continue
		}
		if b, ok := splitBundle(raw); ok {
			raw = b.chain
		}
		if leaf, issuer = leafAndIssuer(raw); leaf != nil && fmt.Sprintf("%x", leaf.SerialNumber) == serial {
			return leaf, issuer
		}
	}
	return nil, nil
}

// InPlace reports whether the .key file, which a handshake reads first, holds the
// certificate with a serial number (hexadecimal). false does not mean that the
// certificate is missing: it may lie in the files beside it.
func (s Site) InPlace(ctx context.Context, serial string) bool {
	raw, err := Unwrap(s.Storage).Load(ctx, s.KeyFile())
	b, ok := splitBundle(raw)
	return err == nil && ok && b.serial == serial
}
