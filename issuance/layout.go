package issuance

import (
	"context"
	"crypto"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"reflect"

	"github.com/caddyserver/certmagic"
	"github.com/mholt/acmez/v3/acme"
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
	acme.Certificate
	Provenance *provenance `json:"apoxy,omitempty"`
}

// stored is a certificate as storage holds it.
type stored struct {
	issuerKey string
	leaf      *x509.Certificate
	meta      metadata
}

// saveCertificate writes key, chain and metadata, in certmagic's order.
func saveCertificate(ctx context.Context, st certmagic.Storage, issuerKey, hostname string, key crypto.PrivateKey, chain []byte, meta metadata) error {
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
	for _, kv := range []struct {
		key   string
		value []byte
	}{
		{certmagic.StorageKeys.SitePrivateKey(issuerKey, hostname), keyPEM},
		{certmagic.StorageKeys.SiteCert(issuerKey, hostname), chain},
		{certmagic.StorageKeys.SiteMeta(issuerKey, hostname), res},
	} {
		if err := st.Store(ctx, kv.key, kv.value); err != nil {
			return fmt.Errorf("storing %s: %w", kv.key, err)
		}
	}
	return nil
}

// loadCertificate reads what is stored for a hostname. fs.ErrNotExist if
// nothing is.
func loadCertificate(ctx context.Context, st certmagic.Storage, issuerKey, hostname string) (stored, error) {
	out := stored{issuerKey: issuerKey}
	for _, k := range []string{certmagic.StorageKeys.SitePrivateKey(issuerKey, hostname), certmagic.StorageKeys.SiteMeta(issuerKey, hostname)} {
		if !st.Exists(ctx, k) {
			return out, fs.ErrNotExist
		}
	}
	chain, err := st.Load(ctx, certmagic.StorageKeys.SiteCert(issuerKey, hostname))
	if err != nil {
		return out, err
	}
	if out.leaf, err = leafOf(chain); err != nil {
		return out, fmt.Errorf("reading stored certificate of %s: %w", hostname, err)
	}
	raw, err := st.Load(ctx, certmagic.StorageKeys.SiteMeta(issuerKey, hostname))
	if err != nil {
		return out, err
	}
	var res certmagic.CertificateResource
	if err := json.Unmarshal(raw, &res); err != nil {
		return out, fmt.Errorf("reading metadata of %s: %w", hostname, err)
	}
	if len(res.IssuerData) > 0 {
		// Other issuers keep other data there; then nothing is known of it.
		_ = json.Unmarshal(res.IssuerData, &out.meta)
	}
	return out, nil
}

// deleteCertificate removes what is stored for a hostname.
func deleteCertificate(ctx context.Context, st certmagic.Storage, issuerKey, hostname string) error {
	var errs []error
	for _, k := range []string{
		certmagic.StorageKeys.SiteCert(issuerKey, hostname),
		certmagic.StorageKeys.SitePrivateKey(issuerKey, hostname),
		certmagic.StorageKeys.SiteMeta(issuerKey, hostname),
		certmagic.StorageKeys.CertsSitePrefix(issuerKey, hostname),
	} {
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
