package ownership

import (
	"strings"
	"time"

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
	case e.found.challenge.told && e.found.challenge.ok():
		return true
	case e.needsToken():
		return false
	case e.tls:
		// One that was obtained by addresses proves nothing once they are found to
		// be below another owner's wildcard.
		below := e.covered && (e.found.traffic.by == matchFlattened || e.found.traffic.by == matchMadeUp)
		return e.cert.told && e.cert.valid && (!below || e.found.delegation.ok())
	}
	return e.found.traffic.told && e.found.traffic.by.proves()
}

// proof is the reason of OwnershipVerified that what was found amounts to, ""
// if there is no proof.
func (e *evaluation) proof() string {
	switch {
	case !e.known.Verified && !e.opens():
	case e.tls && e.cert.valid:
		return v1alpha3.ReasonTLSCertificateIssued
	case e.found.challenge.ok():
		return v1alpha3.ReasonApoxyChallengeConfigured
	case !e.tls && e.token == "" && e.found.traffic.by.proves():
		return v1alpha3.ReasonCNAMEConfigured
	}
	return ""
}

// leading are the records whose presence keeps a verified record from being
// detached: as long as one of them leads here, the customer has not left.
func (e *evaluation) leading() []*finding {
	f := []*finding{&e.found.challenge}
	if e.token == "" {
		f = append(f, &e.found.traffic)
		if e.tls {
			f = append(f, &e.found.delegation)
		}
	}
	return f
}

// basis is what ownership rests on after a look.
type basis uint8

const (
	basisNone        basis = iota // never verified, and no proof
	basisWithdrawn                // no proof, and it had fallen before
	basisProof                    // there is proof
	basisRecord                   // proven before, and a record still leads here
	basisUntold                   // proven before, and what certificate there is could not be told
	basisWithdrawing              // proven before, and every proof is gone, but not for long enough
	basisBraked                   // likewise for long enough, but the fleet brake holds
	basisFallen                   // every proof is gone for long enough: it falls
)

// ownershipDecision is whether the customer controls the hostname.
type ownershipDecision struct {
	basis  basis
	reason string   // of the proof, with basisProof
	record *finding // the record that leads here, with basisRecord
	// established is what is established from now on.
	established v1alpha3.OwnershipStatus
	// opens and opensByDNS are those of Verdict.
	opens, opensByDNS bool
	// withdrawnSince is since when every proof is gone.
	withdrawnSince time.Time
}

// decideOwnership decides what ownership rests on, and what is established with it.
// Once verified a record stays so until everything that it could rest on has been
// affirmatively gone for DetachAfter, and the look that ends it could tell for every
// one of them.
func (e *evaluation) decideOwnership() ownershipDecision {
	d := ownershipDecision{established: e.known, reason: e.proof()}
	own := &d.established
	own.Overwritten = e.known.Overwritten && !e.toldAll()
	switch {
	case d.reason != "":
		d.basis = basisProof
		if own.VerifiedTime == nil {
			now := metav1.NewTime(e.now)
			own.VerifiedTime = &now
		}
		own.Verified, own.Proof, own.WithdrawnTime = true, d.reason, nil
	case e.known.Verified:
		e.decideWithdrawal(&d)
	case e.known.VerifiedTime != nil:
		d.basis = basisWithdrawn
	}
	if own.Verified {
		own.Owner = e.r.Owner()
		own.Token = e.token != "" // what nobody contests, no later claim makes depend on a token
	}
	d.opens = own.Verified && !e.known.Verified
	d.opensByDNS = d.opens && (e.needsToken() || !e.tls || !e.cert.valid || e.cert.whose != OwnCertificate)
	return d
}

// toldAll reports whether this look gave an affirmative answer for every record.
func (e *evaluation) toldAll() bool {
	return e.found.traffic.told && e.found.challenge.told && (!e.tls || e.found.delegation.told)
}

// decideWithdrawal decides of a record that was verified and has no proof now.
func (e *evaluation) decideWithdrawal(d *ownershipDecision) {
	told := e.cert.told
	for _, f := range e.leading() {
		if e.binds(f) {
			d.basis, d.record, d.established.WithdrawnTime = basisRecord, f, nil
			return
		}
		told = told && f.told
	}
	if e.tls && !e.cert.told && !e.cert.stored {
		d.basis = basisUntold
		return
	}
	if d.established.WithdrawnTime == nil {
		now := metav1.NewTime(e.stamp)
		d.established.WithdrawnTime = &now
	}
	d.withdrawnSince = d.established.WithdrawnTime.Time
	switch due := told && !e.now.Before(e.falls(d.withdrawnSince)); {
	case due && !e.hold:
		d.basis = basisFallen
		d.established.Verified, d.established.WithdrawnTime = false, nil
	case due:
		d.basis = basisBraked
	default:
		d.basis = basisWithdrawing
	}
}

// falls is when ownership falls of which every proof is gone since then.
func (e *evaluation) falls(since time.Time) time.Time { return since.Add(e.settings.DetachAfter) }

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

// way is the record through which a certificate can be obtained, nil if there is
// none.
func (e *evaluation) way() *finding {
	switch {
	case !e.tls:
		return nil
	case e.found.delegation.ok():
		return &e.found.delegation
	case e.binds(&e.found.traffic) && !strings.HasPrefix(e.r.Spec.Name, "*."):
		return &e.found.traffic
	}
	return nil
}

// routes says by which challenges a certificate may be obtained, as far as DNS and
// the rule on tenants go.
type routes struct {
	// tokenHolds: no token is asked for, or it was shown.
	tokenHolds bool
	// routed: delegation or main record would let a certificate be obtained.
	routed bool
	// dns01 and http01 are those of Verdict, but for what CAA records forbid.
	dns01, http01 bool
	// want is Verdict.WantCertificate.
	want bool
}

// decideRoutes says by which challenges a certificate may be obtained. A zone
// whose signatures do not hold has none: the authority would refuse it.
func (e *evaluation) decideRoutes() routes {
	verified := e.is(v1alpha3.ConditionOwnershipVerified)
	r := routes{tokenHolds: e.token == "" || verified}
	if !e.tls {
		return r
	}
	wildcard := strings.HasPrefix(e.r.Spec.Name, "*.")
	r.routed = r.tokenHolds && e.way() != nil
	r.dns01 = r.tokenHolds && e.found.delegation.ok() && e.obs.ACMEChallenge.Problem != ZoneBogus && !occupied(e.obs.ACMEChallenge)
	r.http01 = r.tokenHolds && e.binds(&e.found.traffic) && !wildcard && e.obs.Traffic.Problem != ZoneBogus
	r.want = r.dns01 || r.http01 || verified && (e.cert.stored || e.cert.gone)
	return r
}

// dns01 and http01 are those of Verdict.
func (e *evaluation) dns01() bool  { return e.routes.dns01 && e.caa == nil }
func (e *evaluation) http01() bool { return e.routes.http01 && e.caa == nil }
