package ownership

import "github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"

// Before says what the last look found at a name, as far as that allows the next one to
// ask less. One server's word is enough only where it says what is held already: that
// nothing is there, which all servers would have to deny together, or, for a settled
// record, that what was right is so still. So nothing is ever found in place by one
// server's word.
type Before uint8

const (
	// BeforeUnknown: every server is asked.
	BeforeUnknown Before = iota
	// BeforeNothing: there was nothing, or nobody looked yet.
	BeforeNothing
	// BeforeRight: what belongs there was there, and nothing was wrong with it.
	BeforeRight
)

// BeforeAt is what a record's status tells of the name of one of its DNS records. A
// verified record that is not settled is looked at in full, because it may be about to
// lose ownership; and so is a name of which anything is wrong, because a look that asks
// less would say something else of it each time.
func BeforeAt(r *v1alpha3.DomainRecord, purpose v1alpha3.DNSPurpose) Before {
	d := r.Status.DNSRecord(purpose)
	if d == nil || r.Established().Overwritten || r.Verified() && !settled(r) {
		return BeforeUnknown
	}
	switch {
	case !d.Configured && len(d.Observed) == 0 && (d.Problem == nil || d.Problem.Reason == ProblemNotFound):
		return BeforeNothing
	case d.Configured && d.Problem == nil && settled(r):
		return BeforeRight
	}
	return BeforeUnknown
}
