package revocation

import (
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"time"

	"golang.org/x/crypto/ocsp"

	"github.com/apoxy-dev/caddy-apoxy/internal/times"
)

// OCSP is what the index keeps of a certificate that names an OCSP
// responder; other certificates have none. Times are Unix seconds, 0 for none.
type OCSP struct {
	// Poll is when to ask the responder, Asked when it was asked last.
	Poll  int64 `json:"poll"`
	Asked int64 `json:"asked,omitempty"`
	// Revoked is when the CA revoked the certificate, and Reason its code (RFC
	// 5280 section 5.3.1). Due is when it is to be replaced.
	Revoked int64 `json:"revoked,omitempty"`
	Reason  int   `json:"reason,omitempty"`
	Due     int64 `json:"due,omitempty"`
	// Burnt is the SHA-256 of the public key (SubjectPublicKeyInfo) if that
	// was the reason: nothing is signed for it again.
	Burnt string `json:"burnt,omitempty"`
	// Replaced is when a revoked certificate was replaced last.
	Replaced int64 `json:"replaced,omitempty"`
}

func (o *OCSP) IsRevoked() bool { return o != nil && o.Revoked != 0 }

// Apart is how far apart the replacements of revoked certificates of one
// hostname are: a responder that revokes whatever is issued must not use up
// the CA's limits.
const Apart = 6 * time.Hour

// Succeed is the record of the certificate that follows the one of o. The
// responder is asked soon for the first time, but not at once: CAs tell theirs
// a little later.
func (o *OCSP) Succeed(leaf *x509.Certificate, hostname string, now time.Time) *OCSP {
	if len(leaf.OCSPServer) == 0 {
		return nil
	}
	half := 30 * time.Second
	next := &OCSP{Poll: now.Add(half + time.Duration(times.Fraction(hostname)*float64(half))).Unix()}
	switch {
	case o.IsRevoked():
		next.Replaced = now.Unix()
	case o != nil:
		next.Replaced = o.Replaced
	}
	return next
}

// Withdraw is the record of a certificate that its CA has revoked.
func (o OCSP) Withdraw(r *ocsp.Response, leaf *x509.Certificate, now time.Time) *OCSP {
	o.Poll, o.Reason, o.Due = 0, r.RevocationReason, now.Unix()
	o.Revoked = max(r.RevokedAt.Unix(), 1)
	if o.Replaced != 0 {
		o.Due = max(o.Due, times.Unix(o.Replaced).Add(Apart).Unix())
	}
	if r.RevocationReason == ocsp.KeyCompromise {
		o.Burnt = spkiDigest(leaf.RawSubjectPublicKeyInfo)
	}
	return &o
}

// Burns reports whether a private key belongs to a public key by its digest.
func Burns(key crypto.PrivateKey, burnt string) bool {
	signer, ok := key.(crypto.Signer)
	if !ok || burnt == "" {
		return false
	}
	spki, err := x509.MarshalPKIXPublicKey(signer.Public())
	return err == nil && spkiDigest(spki) == burnt
}

func spkiDigest(spki []byte) string {
	d := sha256.Sum256(spki)
	return hex.EncodeToString(d[:])
}

// AskNext is when a responder is asked again: halfway to the next update that
// it promises, at least a minute and at most twelve hours from now, up to a
// tenth earlier by seed; six hours if it promises none.
func AskNext(now, thisUpdate, nextUpdate time.Time, seed string) time.Time {
	at := now.Add(6 * time.Hour)
	if !nextUpdate.IsZero() {
		if at = thisUpdate.Add(nextUpdate.Sub(thisUpdate) / 2); at.Before(now) {
			at = now.Add(nextUpdate.Sub(now) / 2)
		}
	}
	at = times.Clamp(at, now, now.Add(12*time.Hour))
	at = at.Add(-time.Duration(times.Fraction(seed) * float64(at.Sub(now)) / 10))
	return times.Clamp(at, now.Add(time.Minute), now.Add(12*time.Hour))
}

// AskLater is when a certificate is asked about again after a failure.
func AskLater(now time.Time, seed string) time.Time {
	return now.Add(time.Hour + time.Duration(times.Fraction(seed)*float64(30*time.Minute)))
}
