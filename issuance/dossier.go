package issuance

import (
	"crypto/x509"
	"encoding/json"
	"fmt"
	"strings"
	"time"
	"unique"

	acmez "github.com/mholt/acmez/v3/acme"

	"github.com/apoxy-dev/caddy-apoxy/internal/jsonscan"
	"github.com/apoxy-dev/caddy-apoxy/internal/times"
	"github.com/apoxy-dev/caddy-apoxy/internal/words"
	"github.com/apoxy-dev/caddy-apoxy/issuance/acme"
	"github.com/apoxy-dev/caddy-apoxy/issuance/revocation"
	"github.com/apoxy-dev/caddy-apoxy/ownership"
)

// IndexPrefix holds one dossier per hostname in the store.
const IndexPrefix = "certificates/"

// dossier is what the store keeps of a hostname: its certificate, an order under way and
// its last failure. Times are Unix seconds, 0 for none.
type dossier struct {
	// UID and Owner are those of the DomainRecord for which the certificate was
	// obtained.
	UID   string `json:"uid,omitempty"`
	Owner string `json:"owner,omitempty"`
	// CA is the key of the CA, under which storage has the certificate.
	CA string `json:"ca,omitempty"`
	// Issuer names the CA for people; Serial is hexadecimal; Challenge is the type that
	// proved control; Renewal is when the certificate is to be renewed.
	Issuer    string `json:"issuer,omitempty"`
	Serial    string `json:"serial,omitempty"`
	NotBefore int64  `json:"notBefore,omitempty"`
	NotAfter  int64  `json:"notAfter,omitempty"`
	Renewal   int64  `json:"renewal,omitempty"`
	Challenge string `json:"challenge,omitempty"`
	// Spared is until when the certificate is not renewed, because it, or the one
	// before, was due for renewal as soon as it was issued; mostly 0.
	Spared int64 `json:"spared,omitempty"`

	// Loss notes that storage lacked the certificate; nil: it did not lately.
	Loss    *loss            `json:"loss,omitempty"`
	ARI     *renewalInfo     `json:"ari,omitempty"`
	OCSP    *revocation.OCSP `json:"ocsp,omitempty"`
	Order   *acme.Order      `json:"order,omitempty"`
	Trouble *trouble         `json:"trouble,omitempty"`
}

// renewalInfo is the CA's renewal information (RFC 9773).
type renewalInfo struct {
	ID    string `json:"id"`
	Start int64  `json:"start"`
	End   int64  `json:"end"`
	// Poll is when to ask again.
	Poll int64 `json:"poll"`
}

// empty reports whether there is neither a certificate nor an order nor trouble. Then
// the store keeps no dossier.
func (r *dossier) empty() bool { return !r.has() && r.Order == nil && r.Trouble == nil }

// has reports whether there is a certificate.
func (r *dossier) has() bool { return r.NotAfter != 0 }

// proves reports whether the certificate may count for a record. One that was obtained
// for a record of another owner, or for an unknown one, may not.
func (r *dossier) proves(w Want) bool {
	return ownership.ProvenanceOf(r.UID, r.Owner, w.UID, w.Owner) != ownership.ForeignCertificate
}

// replaces is the ARI identifier that an order at a CA names as the certificate that it
// replaces; empty for none. Such an order counts against neither the CA's limits nor our
// budget.
func (r *dossier) replaces(w Want, c *ca) string {
	if r.Loss != nil && r.gone() && r.Loss.Count > freeLosses {
		return ""
	}
	if r.ARI != nil && r.CA == c.Key && r.proves(w) {
		return r.ARI.ID
	}
	return ""
}

// window is the CA's renewal window, the zero value if there is none.
func (r *dossier) window() revocation.Window {
	if r.ARI == nil {
		return revocation.Window{}
	}
	return revocation.Window{Start: times.Unix(r.ARI.Start), End: times.Unix(r.ARI.End)}
}

// setCertificate makes leaf the certificate of the dossier. Order, trouble and renewal
// information of before are dropped.
func (r *dossier) setCertificate(issuerKey, method string, w Want, leaf *x509.Certificate, now time.Time) {
	*r = dossier{
		UID: w.UID, Owner: w.Owner, CA: issuerKey, Challenge: method,
		Issuer:    issuerName(leaf, issuerKey),
		Serial:    fmt.Sprintf("%x", leaf.SerialNumber),
		NotBefore: leaf.NotBefore.Unix(), NotAfter: leaf.NotAfter.Unix(),
		Spared: r.hurried(leaf, now), Loss: r.Loss.madeGood(now),
		OCSP: r.OCSP.Succeed(leaf, w.Hostname, now),
	}
}

// setARI takes renewal information over, which is to be asked for again at poll. A
// window that is none counts as no information.
func (r *dossier) setARI(info *acmez.RenewalInfo, poll time.Time) {
	start, end := info.SuggestedWindow.Start, info.SuggestedWindow.End
	if r.ARI = nil; (revocation.Window{Start: start, End: end}).Valid() {
		r.ARI = &renewalInfo{ID: info.UniqueIdentifier, Start: start.Unix(), End: end.Unix(), Poll: poll.Unix()}
	}
}

// hurried returns until when the certificate that now replaces this one is not renewed;
// 0: no limit, because this one was not replaced soon after it was issued. A renewal
// window that is always in the past, or a wrong clock, would otherwise cause one order
// after the other, which count against no budget.
func (r *dossier) hurried(next *x509.Certificate, now time.Time) int64 {
	pause := hurryPause(times.Unix(r.NotBefore), times.Unix(r.NotAfter))
	young := now.Before(times.Unix(r.NotBefore).Add(pause)) || r.Spared != 0 && now.Before(times.Unix(r.Spared).Add(pause))
	if !r.has() || !young || r.gone() {
		return 0
	}
	return now.Add(hurryPause(next.NotBefore, next.NotAfter)).Unix()
}

// schedule sets the point of renewal.
func (r *dossier) schedule(hostname string, ratio float64) {
	r.Renewal = renewalTime(times.Unix(r.NotBefore), times.Unix(r.NotAfter), ratio, r.window(), hostname+r.Serial).Unix()
	if r.Spared != 0 {
		r.Renewal = max(r.Renewal, r.Spared)
	}
	r.hasten()
}

// hasten brings the renewal of a revoked certificate forward to when it is due.
func (r *dossier) hasten() {
	if r.OCSP.IsRevoked() {
		r.Renewal = min(r.Renewal, r.OCSP.Due)
	}
}

// issuerName names the issuer of a certificate for people, or is fallback.
func issuerName(leaf *x509.Certificate, fallback string) string {
	var org string
	if len(leaf.Issuer.Organization) > 0 {
		org = leaf.Issuer.Organization[0]
	}
	switch cn := leaf.Issuer.CommonName; {
	case cn != "" && org != "":
		return words.Cut(org+" "+cn, 128)
	case cn+org != "":
		return words.Cut(cn+org, 128)
	}
	return fallback
}

func (r *dossier) marshal() []byte {
	b, _ := json.Marshal(r) // cannot fail: plain fields only
	return b
}

// CheckIndex says why the value at a key of the index is no dossier; nil: it is one.
func CheckIndex(key string, value []byte) error {
	_, _, err := decodeDossier(key, value)
	return err
}

// dossiers decodes what marshal writes; the rest it leaves to encoding/json.
var dossiers = jsonscan.NewDecoder[dossier](acmez.ChallengeTypeDNS01, acmez.ChallengeTypeHTTP01, acmez.ChallengeTypeTLSALPN01)

func decodeDossier(key string, value []byte) (hostname string, r dossier, err error) {
	hostname = strings.TrimPrefix(key, IndexPrefix)
	if usual, ok := dossiers.Decode(value); ok {
		return hostname, *usual, nil
	}
	if err = json.Unmarshal(value, &r); err != nil {
		return hostname, r, fmt.Errorf("decoding %s: %w", key, err)
	}
	return hostname, r, nil
}

// intern lets equal strings share memory for as long as any is used: a million
// dossiers name few CAs.
func intern(s string) string {
	if s == "" {
		return ""
	}
	return unique.Make(s).Value()
}

// intern shares the strings that many dossiers have in common.
func (r *dossier) intern() {
	r.CA, r.Issuer, r.Challenge = intern(r.CA), intern(r.Issuer), intern(r.Challenge)
}
