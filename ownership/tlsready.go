package ownership

import (
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
)

// tlsReady gives TLSReady. HTTP-only records have none.
func (e *evaluation) tlsReady() said {
	if !e.tls {
		return said{}
	}
	o := e.obs.Certificate
	if !e.cert.told && !e.served.uploaded {
		if p := e.prev.Condition(v1alpha3.ConditionTLSReady); p != nil {
			comes := ""
			if p.Status != metav1.ConditionTrue {
				comes = "What is known of the certificate is still being read, which comes by itself."
			}
			return say(p.Status, p.Reason, heldSentence(p.Status), e.certificateSentence(), comes)
		}
		return say(metav1.ConditionFalse, v1alpha3.ReasonWaitingForDNS, e.waiting())
	}
	if e.served.valid {
		renewal := ""
		switch o.Work {
		case WorkFailed, WorkRateLimited, WorkCAAForbids:
			renewal = "Its renewal is in trouble: " + workSentence(o)
		}
		caa := ""
		if e.caa != nil && renewal == "" {
			caa = e.caa.Message
		}
		return say(metav1.ConditionTrue, v1alpha3.ReasonCertificateIssued, e.certificateSentence(), e.uploadSentence(), doubtSentence(o), e.revokedSentence(o), renewal, caa)
	}
	reason, message := e.tlsReason(o)
	return say(metav1.ConditionFalse, reason, e.certificateSentence(), e.uploadSentence(), doubtSentence(o), message)
}

// tlsReason says why there is no valid certificate. What the certificate
// authority said goes first only while there is a way to obtain one at all.
func (e *evaluation) tlsReason(o CertificateObservation) (reason, message string) {
	route, wait := e.dns01() || e.http01(), e.waitsFor()
	switch {
	case o.Work == WorkIssuing:
		return v1alpha3.ReasonIssuing, workSentence(o)
	case e.caa != nil:
		return v1alpha3.ReasonCAAForbidden, e.caa.Message
	case !route && e.cert.gone:
		return v1alpha3.ReasonCertificateError, e.waiting()
	case !route && e.served.stored:
		return v1alpha3.ReasonCertificateExpired, e.waiting()
	case !route:
		return v1alpha3.ReasonWaitingForDNS, e.waiting()
	case wait.why != "" && (o.Work == WorkFailed || o.Work == WorkRateLimited):
		return v1alpha3.ReasonWaitingForDNS, join(wait.why, workSentence(o))
	case wait.why != "" && o.Work != WorkCAAForbids:
		return v1alpha3.ReasonWaitingForDNS, wait.why
	case o.Work == WorkCAAForbids && o.FoundHere:
		return v1alpha3.ReasonCAAForbidden, workSentence(o)
	case o.Work == WorkCAAForbids:
		return v1alpha3.ReasonCAAForbidden, join(workSentence(o), caaMend(e.r, e.settings.Issuers))
	case o.Work == WorkRateLimited:
		return v1alpha3.ReasonRateLimited, workSentence(o)
	case o.Work == WorkFailed:
		return v1alpha3.ReasonCertificateError, workSentence(o)
	case o.Work == WorkNone && e.cert.gone:
		return v1alpha3.ReasonCertificateError, workSentence(o)
	case o.Work == WorkNone && e.served.stored:
		return v1alpha3.ReasonCertificateExpired, workSentence(o)
	case o.AwaitsDNS():
		return v1alpha3.ReasonWaitingForDNS, workSentence(o)
	}
	return v1alpha3.ReasonIssuing, workSentence(o)
}

// certificateSentence describes the certificate that there is.
func (e *evaluation) certificateSentence() string {
	c := e.served.status
	switch {
	case e.served.uploaded && e.served.valid:
		return "The customer's own certificate" + after(" by ", c.Issuer) + " is ready, valid until " + stamp(c.NotAfter.Time) + "."
	case e.served.uploaded && c.NotAfter != nil:
		return "The customer's own certificate expired at " + stamp(c.NotAfter.Time) + "."
	case e.cert.gone:
		return goneSentence(e.obs.Certificate)
	case e.cert.other && e.cert.whose == InheritedCertificate:
		return "The certificate that is stored was issued for an earlier record of the same owner; it is used once one of this record's own DNS records is in place."
	case e.cert.other:
		return "The certificate that is stored was issued for an earlier record of this hostname, whose owner is another."
	case c == nil || c.NotAfter == nil:
		return ""
	case !e.cert.valid:
		return "The certificate expired at " + stamp(c.NotAfter.Time) + "."
	}
	issuer := ""
	if c.Issuer != "" {
		issuer = " by " + c.Issuer
	}
	return "A certificate" + issuer + " is ready, valid until " + stamp(c.NotAfter.Time) + "."
}

// goneSentence says which certificate is missed, where it was expected, and who
// must act.
func goneSentence(o CertificateObservation) string {
	serial := ""
	if o.SerialNumber != "" {
		serial = " with the serial number " + words(o.SerialNumber)
	}
	return "The certificate" + serial + ", valid until " + stamp(o.NotAfter) + ", is gone since " + stamp(o.Gone) + " at the latest: " +
		words(o.GoneFrom) + ". The operator looks whether the configuration names the storage that it was stored in, and whether that is mounted; " +
		"it counts again once it is found there, and another is ordered in its place."
}

// doubtSentence says that storage could not be looked into.
func doubtSentence(o CertificateObservation) string {
	if o.Doubt == "" {
		return ""
	}
	return "Whether storage has it now could not be told (" + words(o.Doubt) + "); what was known before holds."
}

// revokedSentence says that the certificate authority has taken a certificate
// back. Clients may refuse it, but until another is there it is all there is.
func (e *evaluation) revokedSentence(o CertificateObservation) string {
	if o.Revoked.IsZero() || e.served.uploaded {
		return ""
	}
	reason := ""
	if o.RevocationReason != "" {
		reason = " (" + words(o.RevocationReason) + ")"
	}
	return "The certificate authority revoked it at " + stamp(o.Revoked) + reason + ", and it is being replaced."
}

// waiting says what the customer creates so that a certificate can be obtained.
func (e *evaluation) waiting() string {
	if !e.routes.tokenHolds {
		return "No certificate is ordered before the customer has proved ownership with this record's token: " +
			sentence(*e.found.challenge.record)
	}
	for _, f := range []*finding{&e.found.delegation, &e.found.traffic} {
		if f.ok() && (f.obs.Problem == ZoneBogus || f == &e.found.delegation && occupied(f.obs)) {
			return f.state(e.told.of(f.record.Purpose))
		}
	}
	if strings.HasPrefix(e.r.Spec.Name, "*.") {
		return "A wildcard's certificate is obtained through the delegation alone. Waiting for the customer to create: " + sentence(*e.found.delegation.record)
	}
	if behind := e.behind(); behind != "" {
		return behind
	}
	nothing, early := "", " (before the cutover)"
	if e.found.traffic.inFront(e.settings.Zone) != nil {
		early = " (before the cutover, or to stay behind a proxy or load balancer that answers there now)"
	}
	if e.covered && e.found.traffic.by == matchFlattened {
		nothing = "The edge's addresses at " + e.r.Spec.Name + " prove nothing, because another tenant has a wildcard above it."
	}
	return join(nothing, "Waiting for the customer to create "+sentence(*e.found.delegation.record)+early+" or "+sentence(*e.found.traffic.record)+" (the cutover itself).")
}

// workSentence says what issuance is doing, in its own words where it has some. The
// words may be foreign and are cut; who must act, and how, is ours and ends the text
// of every failure.
func workSentence(o CertificateObservation) string {
	said, again := words(o.Message), ""
	if !o.Until.IsZero() {
		again = "It is tried again at " + stamp(o.Until)
	}
	var end string
	switch mend := mendSentence(o.Mend); {
	case mend != "":
		end = join(suffixed(again, "."), mend)
	case again != "":
		end = again + "; nobody needs to do anything before."
	}
	switch o.Work {
	case WorkQueued:
		return join("The certificate is to be ordered"+after(": ", said)+".", or(mendSentence(o.Mend), nobody))
	case WorkIssuing:
		return join(or(capital(said), "A certificate is being obtained")+".", or(mendSentence(o.Mend), nobody))
	case WorkFailed:
		return join("The last try to obtain a certificate failed"+after(": ", said)+".", end)
	case WorkRateLimited:
		return join(or(capital(said), "The certificate authority asked to wait")+".", or(end, "It is tried again by itself."))
	case WorkCAAForbids:
		return join("CAA records forbid the certificate authority"+after(": ", said)+".", mendSentence(o.Mend))
	}
	if said == "" {
		return join("The certificate is about to be ordered.", or(mendSentence(o.Mend), nobody))
	}
	return join(capital(said)+".", or(end, "It is tried again by itself."))
}

// nobody ends what takes its course.
const nobody = "Nobody needs to do anything."

// mendSentence writes the advice of issuance, which is ours but names foreign things.
func mendSentence(mend string) string {
	mend = strings.TrimRight(printable(strings.Join(strings.Fields(mend), " ")), ". ")
	return suffixed(cut(mend, maxMend), ".")
}

// suffixed puts an end to s, unless there is no s.
func suffixed(s, end string) string {
	if s == "" {
		return ""
	}
	return s + end
}
