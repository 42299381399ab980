package ownership

import "github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"

// phaseRow is one line of the table of phases; the first line that fits decides.
type phaseRow struct {
	verified  answer // OwnershipVerified is True
	tls       answer // a certificate is wanted
	certified answer // and a valid one is there
	routed    answer // delegation or main record would let one be obtained
	proven    answer // ownership was verified at some time
	phase     v1alpha3.Phase
}

// answer is a cell of the table.
type answer uint8

const (
	either answer = iota
	yes
	no
)

func (a answer) fits(b bool) bool { return a == either || (a == yes) == b }

// phases sums the conditions up. Only what follows from affirmative
// observations stands in it, so the phase moves on those alone.
var phases = []phaseRow{
	// verified  tls     certified  routed  proven
	{yes, no, either, either, either, v1alpha3.PhaseActive},
	{yes, yes, yes, either, either, v1alpha3.PhaseActive},
	{yes, yes, no, either, either, v1alpha3.PhaseIssuing},
	{no, yes, either, yes, either, v1alpha3.PhaseIssuing},
	{no, either, either, either, yes, v1alpha3.PhaseDetached},
	{no, either, either, either, no, v1alpha3.PhasePending},
}

// decidePhase reads the table.
func (e *evaluation) decidePhase() v1alpha3.Phase {
	return phaseOf(
		e.is(v1alpha3.ConditionOwnershipVerified),
		e.tls,
		e.is(v1alpha3.ConditionTLSReady),
		e.routes.routed,
		e.condition(v1alpha3.ConditionOwnershipVerified).Reason == v1alpha3.ReasonProofWithdrawn,
	)
}

func phaseOf(verified, tls, certified, routed, proven bool) v1alpha3.Phase {
	for _, row := range phases {
		if row.verified.fits(verified) && row.tls.fits(tls) && row.certified.fits(certified) &&
			row.routed.fits(routed) && row.proven.fits(proven) {
			return row.phase
		}
	}
	return v1alpha3.PhasePending
}
