package issuance

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
	"path"
	"reflect"

	"github.com/caddyserver/certmagic"
	acmez "github.com/mholt/acmez/v3/acme"
)

// This file writes certmagic's layout of storage, so that Caddy's handshakes
// load what the scheduler obtained, Caddy's servers answer the challenges it
// starts, and accounts are shared. The layout is internal to certmagic;
// layout_test.go holds it in place.

// challengeKey is where certmagic looks for a challenge that another process
// (here: the scheduler) started.
func challengeKey(issuerKey, hostname string) string {
	return path.Join("acme", certmagic.StorageKeys.Safe(issuerKey), "challenge_tokens",
		certmagic.StorageKeys.Safe(hostname)+".json")
}

// issueLock is the lock under which certmagic obtains and renews a hostname.
func issueLock(hostname string) string { return "issue_cert_" + hostname }

// provenance says for whom a certificate was obtained. It travels inside the
// stored metadata, so that it survives the loss of the index.
type provenance struct {
	UID       string `json:"uid,omitempty"`
	Owner     string `json:"owner,omitempty"`
	Challenge string `json:"challenge,omitempty"`
}

// metadata is certmagic's issuer data with the provenance beside it.
type metadata struct {
	acmez.Certificate
	Provenance *provenance `json:"apoxy,omitempty"`
}

// stored is a certificate as storage holds it.
type stored struct {
	issuerKey string
	leaf      *x509.Certificate
	meta      metadata
}

// saveCertificate writes metadata and chain where certmagic and everyone else
// look for them, and then the .key file, which holds both once more and is what
// a handshake reads (see bundle.go). That it comes last makes it the point where
// the new certificate takes the old one's place: a crash or an error before
// leaves the old one whole, for a handshake and for loadCertificate. One that
// was stored as three separate files is made whole first, for the same reason.
func saveCertificate(ctx context.Context, st certmagic.Storage, issuerKey, hostname string, key crypto.PrivateKey, chain []byte, meta metadata) error {
	st = bare(st)
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

// loadCertificate reads what is stored for a hostname. fs.ErrNotExist if
// nothing is that could be served, damaged files included; any other error: it
// cannot be told at the moment.
func loadCertificate(ctx context.Context, st certmagic.Storage, issuerKey, hostname string) (stored, error) {
	out, p := stored{issuerKey: issuerKey}, placeOf(issuerKey, hostname)
	st = bare(st)
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
	if out.leaf, err = leafOf(b.chain); err != nil {
		return out, fmt.Errorf("reading stored certificate of %s (%v): %w", hostname, err, fs.ErrNotExist)
	}
	var res certmagic.CertificateResource
	if err := json.Unmarshal(b.meta, &res); err != nil {
		return out, fmt.Errorf("reading metadata of %s (%v): %w", hostname, err, fs.ErrNotExist)
	}
	if len(res.IssuerData) > 0 {
		// Other issuers keep other data there; then nothing is known of it.
		_ = json.Unmarshal(res.IssuerData, &out.meta)
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

// deleteCertificate removes what is stored for a hostname, the key first:
// without it nothing can be served.
func deleteCertificate(ctx context.Context, st certmagic.Storage, issuerKey, hostname string) error {
	p := placeOf(issuerKey, hostname)
	var errs []error
	for _, k := range []string{p.key(), p.with(extChain), p.with(extMeta), certmagic.StorageKeys.CertsSitePrefix(issuerKey, hostname)} {
		if err := st.Delete(ctx, k); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, fmt.Errorf("deleting %s: %w", k, err))
		}
	}
	return errors.Join(errs...)
}

func leafOf(chainPEM []byte) (*x509.Certificate, error) {
	block, _ := pem.Decode(chainPEM)
	if block == nil || block.Type != "CERTIFICATE" {
		return nil, errors.New("no certificate in the chain")
	}
	return x509.ParseCertificate(block.Bytes)
}

// tryLock takes the hostname's lock. false: another process has it.
func tryLock(ctx context.Context, st certmagic.Storage, name string) (bool, error) {
	if tl, ok := st.(certmagic.TryLocker); ok {
		return tl.TryLock(ctx, name)
	}
	if err := st.Lock(ctx, name); err != nil {
		return false, err
	}
	return true, nil
}

// evict drops a hostname from certmagic's memory, so that the next handshake
// loads what storage holds now. certmagic replaces a cached certificate by
// itself only once that is inside its own renewal window, which is too late
// after a revocation or a renewal that the CA pulled forward, and never drops
// one whose record is gone. Cache.RemoveManaged does exactly what is needed
// and is exported; the pointer to the cache is not, hence the reflection.
// Should a later certmagic rename the field, the layout test fails, and here
// the slower way through the renewal window remains.
func evict(cfg *certmagic.Config, hostname string) {
	if cache := cacheOf(cfg); cache != nil {
		cache.RemoveManaged([]certmagic.SubjectIssuer{{Subject: hostname}})
	}
}

func cacheOf(cfg *certmagic.Config) *certmagic.Cache {
	if cfg == nil {
		return nil
	}
	f := reflect.ValueOf(cfg).Elem().FieldByName("certCache")
	if !f.IsValid() || f.Kind() != reflect.Pointer || f.IsNil() || f.Type() != reflect.TypeFor[*certmagic.Cache]() {
		return nil
	}
	return (*certmagic.Cache)(f.UnsafePointer())
}

// orderKey is where the key of an order under way is kept.
func orderKey(issuerKey, hostname string) string {
	return path.Join("acme", certmagic.StorageKeys.Safe(issuerKey), "orders", certmagic.StorageKeys.Safe(hostname)+".key")
}
