package ownership

import (
	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
)

// problems is what is told of each DNS record, nil where there is nothing to tell.
type problems struct{ traffic, delegation, challenge *v1alpha3.DNSProblem }

func (p *problems) of(purpose v1alpha3.DNSPurpose) *v1alpha3.DNSProblem {
	switch purpose {
	case v1alpha3.PurposeTraffic:
		return p.traffic
	case v1alpha3.PurposeACMEChallenge:
		return p.delegation
	}
	return p.challenge
}

// decideProblems says what is told of each DNS record: its own diagnosis, unless
// the others make another thing of it.
func (e *evaluation) decideProblems() problems {
	p := problems{e.found.traffic.problem, e.found.delegation.problem, e.found.challenge.problem}
	if e.front != nil {
		p.traffic = e.front
	}
	if p.delegation == nil {
		p.delegation = e.caa
	}
	d, verified := e.found.challenge.record, e.ownership.established.Verified
	if missing := p.challenge != nil && (p.challenge.Reason == ProblemNotFound || aboutLookup(p.challenge.Reason)); missing &&
		!d.Required && !d.Configured && (verified || e.way() != nil) {
		p.challenge = nil // nobody needs the record any more
	}
	return p
}

// state describes the record, with what is told of it, in a few sentences that hold
// it in full.
func (f *finding) state(told *v1alpha3.DNSProblem) string {
	s, whole := f.describe(told)
	record := sentence(*f.record)
	switch {
	case whole:
		return s
	case f.ok():
		return join(record+" is in place.", s)
	}
	return join("The record that is wanted: "+record, s)
}

// describe is state, and whether that holds the record in full: the diagnosis of a
// record does, but not one of CAA records or what a client wrote.
func (f *finding) describe(told *v1alpha3.DNSProblem) (s string, whole bool) {
	d := f.record
	whole = told == nil || told.Reason != ProblemCAAForbids && !f.clients
	switch {
	case f.told && told != nil && told.Reason == ProblemDNSSECBogus:
		return told.Message, whole // it gives the look-up's words itself
	case f.told && told != nil:
		return join(because(f.obs), told.Message), whole
	case f.told:
		return join(sentence(*d)+" is in place.", because(f.obs)), whole
	}
	held := "Nothing was seen at " + d.Name + " so far."
	switch {
	case f.ok():
		held = sentence(*d) + " was in place when last seen, and that holds."
	case len(d.Observed) > 0:
		held = "Last seen at " + d.Name + ": " + quoteAll(d.Observed) + ", and that holds."
	}
	switch {
	case told == nil && f.ok():
		return held, whole
	case told == nil:
		return join(held, "The customer creates: "+sentence(*d)), whole
	case aboutLookup(told.Reason) || told.Reason == ProblemDomainNotRegistered:
		return join(held, told.Message), whole || f.ok()
	}
	return join(because(f.obs), "The last look could not tell more; what follows holds.", told.Message), whole
}
