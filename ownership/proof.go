package ownership

import (
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
