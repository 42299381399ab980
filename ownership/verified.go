package ownership

import (
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
)

// ownershipVerified gives OwnershipVerified.
func (e *evaluation) ownershipVerified() said {
	d, before := &e.ownership, e.known.Proof
	gone := func() string { return "Every proof is gone since " + stamp(d.withdrawnSince) + "." }
	switch d.basis {
	case basisProof:
		return say(metav1.ConditionTrue, d.reason, e.proofSentence(d.reason))
	case basisRecord:
		return say(metav1.ConditionTrue, before, "Proven before, and kept while "+sentence(*d.record.record)+" is in place.")
	case basisUntold:
		return say(metav1.ConditionTrue, before, "Proven before; what certificate there is could not be told, and that holds.")
	case basisBraked:
		return say(metav1.ConditionTrue, before, gone(), e.brakeSentence(), e.howToProve())
	case basisWithdrawing:
		return say(metav1.ConditionTrue, before, gone(), "Unless one comes back, ownership falls with the first look after "+
			stamp(e.falls(d.withdrawnSince))+" that finds them gone.", e.howToProve())
	case basisFallen, basisWithdrawn:
		return say(metav1.ConditionFalse, v1alpha3.ReasonProofWithdrawn, "Every proof was withdrawn.", e.howToProve())
	}
	return say(metav1.ConditionFalse, v1alpha3.ReasonOwnershipNotVerified,
		"There is no proof yet that the customer controls "+e.r.Spec.Name+".", e.howToProve())
}

// brakeSentence says what the fleet brake does to a record that is due.
func (e *evaluation) brakeSentence() string {
	return "Too many records would lose ownership together, so none does: the fleet brake holds since " + stamp(e.heldSince) +
		", until " + stamp(e.heldUntil) + " at most. " +
		"The operator finds out what they have in common, and lifts the brake with `caddy apoxy brake release`."
}

func (e *evaluation) proofSentence(reason string) string {
	switch reason {
	case v1alpha3.ReasonTLSCertificateIssued:
		return "Proven by the certificate, which is valid until " + stamp(e.cert.notAfter) + "."
	case v1alpha3.ReasonApoxyChallengeConfigured:
		return "Proven: " + e.found.challenge.state(e.found.challenge.problem)
	}
	return "Proven: " + e.found.traffic.state(e.found.traffic.problem)
}

// howToProve lists the records of which the customer creates one.
func (e *evaluation) howToProve() string {
	challenge := sentence(*e.found.challenge.record)
	if e.token != "" {
		return e.whyToken() + " so only this record's own token proves it: " + e.found.challenge.state(e.found.challenge.problem)
	}
	main := sentence(*e.found.traffic.record)
	switch way := e.way(); {
	case way != nil && way.by != matchCNAME:
		return e.r.Spec.Name + " leads here by its addresses: the certificate that is obtained through them will be the proof. See TLSReady."
	case way != nil:
		return sentence(*way.record) + " is in place: the certificate that is obtained through it will be the proof. See TLSReady."
	case !e.tls && e.found.traffic.ok():
		return "That " + e.r.Spec.Name + " has the edge's addresses proves nothing, because anybody's may. The customer creates " + challenge +
			" or, in place of the addresses, " + main
	case !e.tls:
		return "The customer creates " + main + " (the cutover itself) or, before it, " + challenge
	case strings.HasPrefix(e.r.Spec.Name, "*."):
		return "The customer creates " + sentence(*e.found.delegation.record) + " or " + challenge
	}
	return "The customer creates " + sentence(*e.found.delegation.record) + " (before the cutover), " + main +
		" (the cutover itself) or " + challenge
}

// whyToken begins the sentence that asks for the token.
func (e *evaluation) whyToken() string {
	switch e.contest.Reason {
	case HeldBefore:
		return "The hostname was held by another tenant before,"
	case NeighbourClaims:
		return "Another tenant has a record for " + e.contest.Hostname + ", whose customer creates records at the same names,"
	case NeighbourHeld:
		return "Another tenant held " + e.contest.Hostname + " before, whose customer creates records at the same names,"
	}
	return "The operator asks every record for its token,"
}
