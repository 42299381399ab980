package ownership

import (
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
)

// needsToken reports whether only the record's own token would verify it: it is
// not verified, and contested, or the operator asks everybody for tokens.
func (e *evaluation) needsToken() bool { return e.token != "" && !e.known.Verified }

// stands reports whether a DNS record is in place. To verify a record it must
// have been seen just now; to keep one verified, what was last seen will do.
func (e *evaluation) stands(f *finding) bool { return e.binds(f) && (f.told || e.known.Verified) }

// binds reports whether a DNS record ties its name to this record, and not the
// hostname's addresses to whoever has the edge. With TLS the edge's addresses at
// any name do, because what they prove is left to the certificate; but not where
// another owner has a wildcard above, to which they may belong.
func (e *evaluation) binds(f *finding) bool {
	return f.by.proves() || f.by == matchFlattened && e.tls && !e.covered
}

// opens reports whether this look found a proof that verifies a record which is
// not verified.
func (e *evaluation) opens() bool {
	switch {
	case e.challenge.told && e.challenge.ok():
		return true
	case e.needsToken():
		return false
	case e.tls:
		// One that was obtained by addresses proves nothing once they are found to
		// be below another owner's wildcard.
		below := e.covered && (e.traffic.by == matchFlattened || e.traffic.by == matchMadeUp)
		return e.cert.told && e.cert.valid && (!below || e.delegation.ok())
	}
	return e.traffic.told && e.traffic.by.proves()
}

// proof is the reason of OwnershipVerified that what was found amounts to, ""
// if there is no proof.
func (e *evaluation) proof() string {
	switch {
	case !e.known.Verified && !e.opens():
	case e.tls && e.cert.valid:
		return v1alpha3.ReasonTLSCertificateIssued
	case e.challenge.ok():
		return v1alpha3.ReasonApoxyChallengeConfigured
	case !e.tls && e.token == "" && e.traffic.by.proves():
		return v1alpha3.ReasonCNAMEConfigured
	}
	return ""
}

// leading are the records whose presence keeps a verified record from being
// detached: as long as one of them leads here, the customer has not left.
func (e *evaluation) leading() []*finding {
	f := []*finding{&e.challenge}
	if e.token == "" {
		f = append(f, &e.traffic)
		if e.tls {
			f = append(f, &e.delegation)
		}
	}
	return f
}

// decideOwnership sets OwnershipVerified and what is established with it. Once
// True it stays so until everything that it could rest on has been affirmatively
// gone for DetachAfter, and the look that ends it could tell for every one of them.
func (e *evaluation) decideOwnership() {
	e.own = e.known
	e.own.Overwritten = e.known.Overwritten && !e.toldAll()
	kind := v1alpha3.ConditionOwnershipVerified
	switch reason := e.proof(); {
	case reason != "":
		e.verify(reason)
		e.set(kind, metav1.ConditionTrue, reason, e.proofSentence(reason))
	case e.known.Verified:
		e.decideWithdrawal()
	case e.known.VerifiedTime != nil:
		e.set(kind, metav1.ConditionFalse, v1alpha3.ReasonProofWithdrawn, "Every proof was withdrawn.", e.howToProve())
	default:
		e.set(kind, metav1.ConditionFalse, v1alpha3.ReasonOwnershipNotVerified,
			"There is no proof yet that the customer controls "+e.r.Spec.Name+".", e.howToProve())
	}
	if e.own.Verified {
		e.own.Owner = e.r.Owner()
		e.own.Token = e.token != "" // what nobody contests, no later claim makes depend on a token
	}
	e.verdict.Opens = e.own.Verified && !e.known.Verified
	e.verdict.OpensByDNS = e.verdict.Opens && (e.needsToken() || !e.tls || !e.cert.valid || e.cert.whose != OwnCertificate)
	e.out.Ownership = &e.own
}

// verify notes that there is proof.
func (e *evaluation) verify(reason string) {
	if e.own.VerifiedTime == nil {
		now := metav1.NewTime(e.now)
		e.own.VerifiedTime = &now
	}
	e.own.Verified, e.own.Proof, e.own.WithdrawnTime = true, reason, nil
}

// toldAll reports whether this look gave an affirmative answer for every record.
func (e *evaluation) toldAll() bool {
	return e.traffic.told && e.challenge.told && (!e.tls || e.delegation.told)
}

// decideWithdrawal sets OwnershipVerified of a record that was verified and has
// no proof now.
func (e *evaluation) decideWithdrawal() {
	kind, before := v1alpha3.ConditionOwnershipVerified, e.known.Proof
	told := e.cert.told
	for _, f := range e.leading() {
		if e.binds(f) {
			e.own.WithdrawnTime = nil
			e.set(kind, metav1.ConditionTrue, before, "Proven before, and kept while "+sentence(*f.record)+" is in place.")
			return
		}
		told = told && f.told
	}
	if e.tls && !e.cert.told && !e.cert.stored {
		e.set(kind, metav1.ConditionTrue, before, "Proven before; what certificate there is could not be told, and that holds.")
		return
	}
	if e.own.WithdrawnTime == nil {
		now := metav1.NewTime(e.stamp)
		e.own.WithdrawnTime = &now
	}
	since := e.own.WithdrawnTime.Time
	e.verdict.Withdrawing, e.verdict.WithdrawnSince = true, since
	falls := since.Add(e.settings.DetachAfter)
	gone := "Every proof is gone since " + stamp(since) + "."
	switch due := told && !e.now.Before(falls); {
	case due && !e.hold:
		e.verdict.Falls, e.verdict.Withdrawing = true, false
		e.own.Verified, e.own.WithdrawnTime = false, nil
		e.set(kind, metav1.ConditionFalse, v1alpha3.ReasonProofWithdrawn, "Every proof was withdrawn.", e.howToProve())
	case due:
		e.verdict.Held = true
		e.set(kind, metav1.ConditionTrue, before, gone, e.brakeSentence(), e.howToProve())
	default:
		e.set(kind, metav1.ConditionTrue, before, gone, "Unless one comes back, ownership falls with the first look after "+
			stamp(falls)+" that finds them gone.", e.howToProve())
	}
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
		return "Proven: " + e.challenge.state()
	}
	return "Proven: " + e.traffic.state()
}

// howToProve lists the records of which the customer creates one.
func (e *evaluation) howToProve() string {
	challenge := sentence(*e.challenge.record)
	if e.token != "" {
		return e.whyToken() + " so only this record's own token proves it: " + e.challenge.state()
	}
	main := sentence(*e.traffic.record)
	switch way := e.way(); {
	case way != nil && way.by != matchCNAME:
		return e.r.Spec.Name + " leads here by its addresses: the certificate that is obtained through them will be the proof. See TLSReady."
	case way != nil:
		return sentence(*way.record) + " is in place: the certificate that is obtained through it will be the proof. See TLSReady."
	case !e.tls && e.traffic.ok():
		return "That " + e.r.Spec.Name + " has the edge's addresses proves nothing, because anybody's may. The customer creates " + challenge +
			" or, in place of the addresses, " + main
	case !e.tls:
		return "The customer creates " + main + " (the cutover itself) or, before it, " + challenge
	case strings.HasPrefix(e.r.Spec.Name, "*."):
		return "The customer creates " + sentence(*e.delegation.record) + " or " + challenge
	}
	return "The customer creates " + sentence(*e.delegation.record) + " (before the cutover), " + main +
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

// way is the record through which a certificate can be obtained, nil if there is
// none.
func (e *evaluation) way() *finding {
	switch {
	case !e.tls:
		return nil
	case e.delegation.ok():
		return &e.delegation
	case e.binds(&e.traffic) && !strings.HasPrefix(e.r.Spec.Name, "*."):
		return &e.traffic
	}
	return nil
}

// decideRoutes says by which challenges a certificate may be obtained. A zone
// whose signatures do not hold has none: the authority would refuse it.
func (e *evaluation) decideRoutes() {
	verified := e.is(v1alpha3.ConditionOwnershipVerified)
	e.tokenHolds = e.token == "" || verified
	if d := e.challenge.record; !d.Required && !d.Configured && (verified || e.way() != nil) &&
		d.Problem != nil && (d.Problem.Reason == ProblemNotFound || aboutLookup(d.Problem.Reason)) {
		d.Problem = nil // nobody needs the record any more
	}
	if !e.tls {
		return
	}
	wildcard := strings.HasPrefix(e.r.Spec.Name, "*.")
	e.routed = e.tokenHolds && e.way() != nil
	e.verdict.DNS01 = e.tokenHolds && e.delegation.ok() && e.obs.ACMEChallenge.Problem != ZoneBogus && !occupied(e.obs.ACMEChallenge)
	e.verdict.HTTP01 = e.tokenHolds && e.binds(&e.traffic) && !wildcard && e.obs.Traffic.Problem != ZoneBogus
	e.verdict.WantCertificate = e.verdict.DNS01 || e.verdict.HTTP01 || verified && (e.cert.stored || e.cert.gone)
}
