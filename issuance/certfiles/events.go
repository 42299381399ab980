package certfiles

import (
	"encoding/pem"
	"time"

	"github.com/caddyserver/certmagic"
	"golang.org/x/crypto/ocsp"
)

// The events of certmagic about obtaining certificates, with the data that it gives
// them. certmagic raises them where a handshake obtains one; the scheduler raises the
// same events where it does, so that handlers of operators work. Names and data are
// internal to certmagic; issuance/events_test.go notices changes.
const (
	EventObtaining = "cert_obtaining" // a handler may abort
	EventObtained  = "cert_obtained"
	EventFailed    = "cert_failed"
	EventRevoked   = "cert_ocsp_revoked"
)

// Try is what the events have in common about one try to obtain or renew a certificate.
type Try struct {
	Hostname  string
	Renewal   bool
	Remaining time.Duration // of the lifetime of the certificate that is renewed
}

// data is what the data of every event but cert_obtaining begins with.
func (t Try) data() map[string]any {
	d := map[string]any{"renewal": t.Renewal, "identifier": t.Hostname}
	if t.Renewal {
		d["remaining"] = t.Remaining
	}
	return d
}

// Obtaining is the data of cert_obtaining: whether the renewal is forced, and the
// issuer of the certificate that is renewed.
func (t Try) Obtaining(forced bool, issuer string) map[string]any {
	if !t.Renewal {
		return map[string]any{"identifier": t.Hostname}
	}
	d := t.data()
	d["forced"], d["issuer"] = forced, issuer
	return d
}

// Obtained is the data of cert_obtained, with the certificate request in DER.
func (t Try) Obtained(issuerKey string, request []byte) map[string]any {
	d := t.data()
	d["issuer"] = issuerKey
	d["storage_path"] = certmagic.StorageKeys.CertsSitePrefix(issuerKey, t.Hostname)
	d["private_key_path"] = certmagic.StorageKeys.SitePrivateKey(issuerKey, t.Hostname)
	d["certificate_path"] = certmagic.StorageKeys.SiteCert(issuerKey, t.Hostname)
	d["metadata_path"] = certmagic.StorageKeys.SiteMeta(issuerKey, t.Hostname)
	d["csr_pem"] = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: request})
	return d
}

// Failed is the data of cert_failed: the keys of the issuers that were tried, and
// why the last of them failed.
func (t Try) Failed(issuers []string, err error) map[string]any {
	d := t.data()
	d["issuers"], d["error"] = issuers, err
	return d
}

// RevokedData is the data of cert_ocsp_revoked.
func RevokedData(cert certmagic.Certificate, r *ocsp.Response) map[string]any {
	return map[string]any{"subjects": cert.Names, "certificate": cert, "reason": r.RevocationReason, "revoked_at": r.RevokedAt}
}
