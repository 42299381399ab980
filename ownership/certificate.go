package ownership

import (
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
)

// certificate is what the hostname's certificate comes to after a look.
type certificate struct {
	told     bool       // known for certain now
	stored   bool       // there is one that counts for the record, expired or not
	valid    bool       // and it is unexpired
	gone     bool       // it counted, but storage does not have it any more
	other    bool       // one is there that does not count, issued for another record
	whose    Provenance // what the one there is to this record
	notAfter time.Time  // of the one stored
	// status is what status.certificate says of it, nil if there is none that counts.
	status *v1alpha3.CertificateStatus
}

// judgeCertificate brings status.certificate up to date. Only a certificate that
// the rule on tenants gives the record counts.
func (e *evaluation) judgeCertificate() certificate {
	if !e.tls {
		return certificate{told: true}
	}
	o := e.obs.Certificate
	cert := certificate{told: o.Outcome != CouldNotTell, whose: ProvenanceOf(o.RecordUID, o.RecordOwner, string(e.r.UID), e.r.Owner())}
	switch {
	case o.Outcome == CouldNotTell:
		if c := e.prev.Certificate; c != nil && c.Source != v1alpha3.SourceUploaded { // which proves nothing
			cert.status = c
		}
	case o.Outcome == Seen && !e.counts(cert.whose):
		cert.other = o.Gone.IsZero()
	case o.Outcome == Seen && !o.Gone.IsZero():
		cert.gone = true
	case o.Outcome == Seen:
		cert.status = &v1alpha3.CertificateStatus{
			Issuer:       words(o.Issuer),
			SerialNumber: words(o.SerialNumber),
			NotBefore:    moment(o.NotBefore),
			NotAfter:     moment(o.NotAfter),
			RenewalTime:  moment(o.RenewalTime),
			Challenge:    words(o.Challenge),
			Source:       v1alpha3.SourceACME,
		}
	}
	if c := cert.status; c != nil && c.NotAfter != nil {
		cert.stored = true
		cert.notAfter = c.NotAfter.Time
		cert.valid = c.NotAfter.After(e.now)
	}
	return cert
}

// counts reports whether a stored certificate is of use to the record: one that
// was issued for it, or for another of the same owner once this one is verified
// or has a DNS proof of its own in place.
func (e *evaluation) counts(whose Provenance) bool {
	switch whose {
	case OwnCertificate:
		return true
	case InheritedCertificate:
		return e.known.Verified || e.stands(&e.found.challenge) ||
			e.token == "" && (e.stands(&e.found.delegation) || e.stands(&e.found.traffic))
	}
	return false
}

func moment(t time.Time) *metav1.Time {
	if t.IsZero() {
		return nil
	}
	m := metav1.NewTime(t.UTC().Truncate(time.Second))
	return &m
}
