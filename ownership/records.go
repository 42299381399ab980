package ownership

import (
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
)

// finding is what one DNS record comes to after a look.
type finding struct {
	// record is the record in the status, nil if this kind of record has none.
	record *v1alpha3.DNSRecord
	obs    DNSObservation
	// told: this look gave an affirmative answer.
	told bool
	// by is how the record is fulfilled, by what was seen now or, where nothing
	// could be told, by what was seen before.
	by match
}

func (f *finding) ok() bool { return f.by != matchNone }

// lookAtRecords brings status.dnsRecords up to date.
func (e *evaluation) lookAtRecords() {
	records := v1alpha3.ExpectedDNSRecords(e.r, e.settings.Zone.Name, e.shownToken())
	e.out.DNSRecords = records
	e.out.ResolvedValues = []string{v1alpha3.TrafficName(e.r.Spec.Name, e.settings.Zone.Name)}
	for i := range records {
		switch d := &records[i]; d.Purpose {
		case v1alpha3.PurposeTraffic:
			e.lookAtTraffic(d)
		case v1alpha3.PurposeACMEChallenge:
			e.delegation = e.find(d, e.obs.ACMEChallenge)
		case v1alpha3.PurposeOwnership:
			d.Required = e.token != ""
			e.challenge = e.find(d, e.obs.Ownership)
		}
	}
}

// lookAtTraffic looks at the main record. What was known of addresses holds where
// nothing could be told of them, or not whether a wildcard makes them up.
func (e *evaluation) lookAtTraffic(d *v1alpha3.DNSRecord) {
	before := e.prev.DNSRecord(d.Purpose)
	e.traffic = e.find(d, comparableEdge(e.obs.Traffic, e.settings.Zone))
	f := &e.traffic
	byAddress := before != nil && before.Configured && e.heldReason(v1alpha3.ConditionCNAMEConfigured) == v1alpha3.ReasonAddressConfigured
	held := matchMadeUp // the least that it may have been
	switch {
	case soldAsApex(d.Name) || byAddress && (before.Problem == nil || before.Problem.Reason == ProblemStillCached):
		held = matchAddress
	case byAddress && before.Problem.Reason == ProblemFlattenedCNAME:
		held = matchFlattened
	case f.told || !byAddress || !aboutLookup(before.Problem.Reason):
	// Trouble of a look-up, which takes the place of no problem but a bogus zone's; see holdProblem.
	case e.known.Verified:
		held = matchAddress
	case before.Problem.Reason != ProblemDNSSECBogus:
		held = matchFlattened // it may not have been an apex, and opens nothing
	}
	switch {
	case f.by == matchUnsure && held != matchMadeUp:
		f.by, d.Problem = held, before.Problem
	case !f.told && f.ok() && byAddress:
		f.by = held
	}
}

// shownToken is the token in the ownership record that is asked for, "" for the
// fixed form. Where either would do, it is the one that the customer has created.
func (e *evaluation) shownToken() string {
	own := v1alpha3.VerifyToken(e.r.UID)
	value := v1alpha3.TokenVerifyName(own, e.settings.Zone.Name)
	before := e.prev.DNSRecord(v1alpha3.PurposeOwnership)
	switch {
	case e.token != "":
		return e.token
	case e.obs.Ownership.Outcome == Seen && through(e.obs.Ownership.Chain, value):
		return own
	case e.obs.Ownership.Outcome == CouldNotTell && before != nil && before.Configured && before.Value == value:
		return own
	}
	return ""
}

// comparableEdge turns what a name has in place of a CNAME into "could not tell"
// where the edge is a hostname whose addresses are not known at the moment.
func comparableEdge(o DNSObservation, z Zone) DNSObservation {
	if z.EdgeHost == "" || len(z.EdgeAddresses) > 0 || o.Outcome != Seen || len(o.Chain) > 0 || len(o.Addresses) == 0 {
		return o
	}
	return DNSObservation{At: o.At, Servers: o.Servers, Apex: o.Apex,
		Err: "whether its addresses are those of the edge cannot be told: " + z.EdgeHost + " itself does not resolve at the moment, which the operator mends"}
}

// heldReason is the reason that a condition had before.
func (e *evaluation) heldReason(kind string) string {
	if p := e.prev.Condition(kind); p != nil {
		return p.Reason
	}
	return ""
}

// find folds one observation into the record it is about. An affirmative answer
// replaces what was there; anything else leaves it standing.
func (e *evaluation) find(d *v1alpha3.DNSRecord, o DNSObservation) finding {
	f := finding{record: d, obs: o, told: o.Outcome != CouldNotTell}
	now := metav1.NewTime(e.stamp)
	d.LastTransitionTime = &now
	if p := e.prev.DNSRecord(d.Purpose); p != nil && p.Name == d.Name && p.Value == d.Value && p.Type == d.Type {
		d.Configured, d.Problem = p.Configured, p.Problem
		if p.Observed != nil {
			d.Observed = p.Observed
		}
		if p.LastTransitionTime != nil && !p.LastTransitionTime.After(e.stamp) {
			d.LastTransitionTime = p.LastTransitionTime
		}
	}
	if !f.told {
		if d.Configured {
			f.by = matchCNAME
		}
		e.holdProblem(d, o)
		return f
	}
	f.by = fulfils(*d, o, e.settings.Zone)
	if f.ok() != d.Configured {
		d.Configured, d.LastTransitionTime = f.ok(), &now
	}
	d.Observed = observed(*d, o)
	d.Problem = Diagnose(*d, o, e.settings.Zone)
	return f
}

// holdProblem keeps the diagnosis of what was last seen, unless there is none or
// the look-up itself is now known to be in trouble.
func (e *evaluation) holdProblem(d *v1alpha3.DNSRecord, o DNSObservation) {
	p := Diagnose(*d, o, e.settings.Zone)
	if p == nil {
		return
	}
	if p.Reason == ProblemLookupFailed && d.Problem != nil && !aboutLookup(d.Problem.Reason) {
		return
	}
	if d.Configured && d.Problem != nil && (d.Problem.Reason == ProblemFlattenedCNAME || d.Problem.Reason == ProblemWildcardAnswers) {
		return // nothing else keeps in mind what the addresses there are worth
	}
	d.Problem = p
}

// state describes the record in a few sentences that hold it in full.
func (f *finding) state() string {
	s, record := f.describe(), sentence(*f.record)
	switch {
	case strings.Contains(s, record):
		return s
	case f.ok():
		return join(record+" is in place.", s)
	}
	return join("The record that is wanted: "+record, s)
}

func (f *finding) describe() string {
	d := f.record
	switch {
	case f.told && d.Problem != nil && d.Problem.Reason == ProblemDNSSECBogus:
		return d.Problem.Message // it gives the look-up's words itself
	case f.told && d.Problem != nil:
		return join(because(f.obs), d.Problem.Message)
	case f.told:
		return join(sentence(*d)+" is in place.", because(f.obs))
	}
	held := "Nothing was seen at " + d.Name + " so far."
	switch {
	case f.ok():
		held = sentence(*d) + " was in place when last seen, and that holds."
	case len(d.Observed) > 0:
		held = "Last seen at " + d.Name + ": " + quoteAll(d.Observed) + ", and that holds."
	}
	switch {
	case d.Problem == nil && f.ok():
		return held
	case d.Problem == nil:
		return join(held, "The customer creates: "+sentence(*d))
	case aboutLookup(d.Problem.Reason) || d.Problem.Reason == ProblemDomainNotRegistered:
		return join(held, d.Problem.Message)
	}
	return join(because(f.obs), "The last look could not tell more; what follows holds.", d.Problem.Message)
}
