package ownership

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
)

// findings is what all DNS records come to after a look.
type findings struct {
	// records are those of the status, but for their problems: these are told when
	// more is decided.
	records []v1alpha3.DNSRecord
	// An HTTP-only record has no delegation: then that is the zero value.
	traffic, delegation, challenge finding
}

// finding is what one DNS record comes to after a look.
type finding struct {
	// record is the record among findings.records, nil if there is none.
	record *v1alpha3.DNSRecord
	obs    DNSObservation
	// told: this look gave an affirmative answer.
	told bool
	// by is how the record is fulfilled, by what was seen now or, where nothing
	// could be told, by what was seen before.
	by match
	// problem is what the record's own diagnosis says, nil if nothing is wrong.
	problem *v1alpha3.DNSProblem
	// clients: it may be a client's words, which stand in the status until more is told.
	clients bool
}

func (f *finding) ok() bool { return f.by != matchNone }

// findRecords brings status.dnsRecords up to date.
func (e *evaluation) findRecords() findings {
	all := findings{records: v1alpha3.ExpectedDNSRecords(e.r, e.settings.Zone.Name, e.shownToken())}
	for i := range all.records {
		switch d := &all.records[i]; d.Purpose {
		case v1alpha3.PurposeTraffic:
			all.traffic = e.findTraffic(d)
		case v1alpha3.PurposeACMEChallenge:
			all.delegation = e.find(d, e.obs.ACMEChallenge)
		case v1alpha3.PurposeOwnership:
			d.Required = e.token != ""
			all.challenge = e.find(d, e.obs.Ownership)
		}
	}
	return all
}

// findTraffic is find for the main record. What was known of addresses holds where
// nothing could be told of them, or not whether a wildcard makes them up.
func (e *evaluation) findTraffic(d *v1alpha3.DNSRecord) finding {
	before := e.prev.DNSRecord(d.Purpose)
	f := e.find(d, comparableEdge(e.obs.Traffic, e.settings.Zone))
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
		f.by, f.problem = held, before.Problem
	case !f.told && f.ok() && byAddress:
		f.by = held
	}
	return f
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
	return DNSObservation{At: o.At, Servers: o.Servers, Apex: o.Apex, Zone: o.Zone, ZoneSure: o.ZoneSure, ZoneServers: o.ZoneServers,
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
		d.Configured, f.problem = p.Configured, p.Problem
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
		before := f.problem
		f.problem = e.heldProblem(&f)
		f.clients = e.known.Overwritten && f.problem == before
		return f
	}
	f.by = fulfils(*d, o, e.settings.Zone)
	if f.ok() != d.Configured {
		d.Configured, d.LastTransitionTime = f.ok(), &now
	}
	d.Observed = observed(*d, o)
	f.problem = diagnose(*d, o, e.settings.Zone)
	return f
}

// heldProblem is the diagnosis of what was last seen, unless there is none or
// the look-up itself is now known to be in trouble.
func (e *evaluation) heldProblem(f *finding) *v1alpha3.DNSProblem {
	held, p := f.problem, diagnose(*f.record, f.obs, e.settings.Zone)
	switch {
	case held == nil:
		return p
	case p == nil, p.Reason == ProblemLookupFailed && !aboutLookup(held.Reason):
		return held
	case f.record.Configured && (held.Reason == ProblemFlattenedCNAME || held.Reason == ProblemWildcardAnswers):
		return held // nothing else keeps in mind what the addresses there are worth
	}
	return p
}
