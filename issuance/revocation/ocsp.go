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

// OCSP is what is known about the revocation of one certificate that names an OCSP
// responder. For one that names none it is nil. Times are Unix seconds, 0 for none.
type OCSP struct {
	// Poll is when to ask the responder next.
	Poll int64 `json:"poll"`
	// Asked is when it was asked last.
	Asked int64 `json:"asked,omitempty"`
	// Revoked is when the CA revoked the certificate; 0: it has not.
	Revoked int64 `json:"revoked,omitempty"`
	// Reason is the reason code of the revocation (RFC 5280 section 5.3.1).
	Reason int `json:"reason,omitempty"`
	// Due is when the revoked certificate is to be replaced.
	Due int64 `json:"due,omitempty"`
	// Burnt is the SHA-256 of the public key (SubjectPublicKeyInfo), in hexadecimal, if
	// the reason is a compromised key. That key must not be used again.
	Burnt string `json:"burnt,omitempty"`
	// Replaced is when a revoked certificate of the hostname was replaced last.
	Replaced int64 `json:"replaced,omitempty"`
}

// IsRevoked reports whether the CA has revoked the certificate. A nil OCSP says no.
func (o *OCSP) IsRevoked() bool { return o != nil && o.Revoked != 0 }

// Apart is the least time between two replacements of revoked certificates of one
// hostname: a responder that calls every certificate revoked must not use up the CA's
// limits.
const Apart = 6 * time.Hour

// Succeed returns the OCSP of the certificate leaf that replaces the one of o; nil if it
// names no responder. The responder is asked after half a minute to a minute for the
// first time, because a CA tells its responder a little after issuing.
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

// Withdraw returns the OCSP of the certificate leaf after the answer r that says it is
// revoked.
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

// Burns reports whether a private key is the one whose public key has this digest (see
// OCSP.Burnt). An empty digest is that of none.
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

// AskNext is when to ask a responder again after an answer with these times: halfway
// between thisUpdate and nextUpdate or, if that is past, between now and nextUpdate; in
// six hours without nextUpdate. It is at least a minute and at most twelve hours from
// now, and up to a tenth earlier by seed, so that certificates spread.
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

// AskLater is when to ask again after a failure: in 60 to 90 minutes, by seed.
func AskLater(now time.Time, seed string) time.Time {
	return now.Add(time.Hour + time.Duration(times.Fraction(seed)*float64(30*time.Minute)))
}
