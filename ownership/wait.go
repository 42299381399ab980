package ownership

import (
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
)

// This file decides how long a certificate is not ordered although a challenge is
// possible: while resolvers are known, or likely, to hold an answer of before. A
// certificate authority may ask one that does, and the validation would fail.

const (
	// staleMost bounds the wait for resolvers from when the record was first seen in
	// place: one that never gives an old answer up is not the authority's.
	staleMost = 5 * time.Minute
	// newNameFor is how long a challenge name that is new in the zone may still be
	// taken for absent: the TTL of that, a second because resolvers and conditions
	// count whole ones, and one in which every server of the zone hears of the name.
	newNameFor = v1alpha3.ChallengeNegativeTTL + 2*time.Second
)

// wait is a time before which a challenge would fail; until is zero if there is none.
type wait struct {
	until time.Time
	why   string // sentences that say what is waited for and until when
}

// waits is the wait of DNS-01 and that of HTTP-01.
type waits struct {
	dns, http wait
	newName   bool // Verdict.NewName
}

// decideWaits says from when on each challenge that is possible may be tried.
// What is renewed while it is valid waits for nothing.
func (e *evaluation) decideWaits() (w waits) {
	if e.cert.valid {
		return w
	}
	if e.dns01() {
		name := e.waitForNewName()
		w.newName, w.dns = !name.until.IsZero(), latest(name, e.waitForStale(&e.found.delegation))
	}
	if e.http01() {
		w.http = e.waitForStale(&e.found.traffic)
	}
	return w
}

// waitsFor is the wait of the challenge that may be tried first, without an until if
// one may be tried now or none ever.
func (e *evaluation) waitsFor() wait {
	switch dns, http := e.waits.dns, e.waits.http; {
	case !e.http01():
		return dns
	case !e.dns01(), http.until.Before(dns.until):
		return http
	default:
		return dns
	}
}

func latest(a, b wait) wait {
	if b.until.After(a.until) {
		return b
	}
	return a
}

// waitForStale waits until no resolver that was asked holds another answer than
// the one at the source. Where nothing was seen, one that did holds it as long as
// is ever waited.
func (e *evaluation) waitForStale(f *finding) wait {
	end := f.record.LastTransitionTime.Add(staleMost)
	if !end.After(e.now) {
		return wait{}
	}
	at := "; a certificate authority may ask one like it. The certificate is ordered at "
	const nobody = ". Nobody needs to do anything."
	if !f.told {
		switch {
		case f.problem == nil:
			return wait{}
		case f.problem.Reason == ProblemFlattenedCNAME: // said in the place of an old answer
			return wait{end, f.record.Name + " has the edge's addresses, but whether a resolver still holds an old answer could not be told when it was last asked" +
				at + stamp(end) + " at the latest" + nobody}
		case f.problem.Reason != ProblemStillCached:
			return wait{}
		}
		return wait{end, sentence(*f.record) + " is in place, but a resolver held an old answer when it was last asked" + at + stamp(end) + " at the latest" + nobody}
	}
	stale, _ := longestStale(f.obs, e.settings.Zone, e.now)
	if stale.Until.IsZero() {
		return wait{}
	}
	until := stale.Until.UTC().Add(2 * time.Second).Truncate(time.Second) // resolvers count whole ones, and the last one too
	if until.After(end) {
		return wait{end, sentence(*f.record) + " is in place, but resolver " + quote(stale.Resolver) + " still holds an old answer, " +
			quote(stale.Value) + at + stamp(end) + ", because no longer is waited for that" + nobody}
	}
	return wait{until, sentence(*f.record) + " is in place, but resolver " + quote(stale.Resolver) + " still holds an old answer, " +
		quote(stale.Value) + at + "about " + minuteAfter(until) + nobody}
}

// longestStale is the old answer that is held longest after a time, and how many
// are; without an Until there is none. Addresses that are all the edge's own are
// not old: some servers give out a part of theirs each time.
func longestStale(o DNSObservation, z Zone, after time.Time) (longest StaleAnswer, n int) {
	for _, s := range bounded(o).Stale {
		if !s.Until.After(after) {
			continue
		}
		if ours, foreign := split(s.Addresses, z); len(ours) > 0 && len(foreign) == 0 {
			continue
		}
		if n++; s.Until.After(longest.Until) {
			longest = s
		}
	}
	return longest, n
}

// waitForNewName waits until nobody remembers that the challenge name was not in
// our zone. Only a delegation that is older than the name has led anybody to ask
// for it: one that was never seen missing since there is TLSReady, which comes to
// be with the name. What the last verdict waited for is waited for to the end.
func (e *evaluation) waitForNewName() wait {
	since := e.now
	if p := e.prev.Condition(v1alpha3.ConditionTLSReady); p != nil && p.Status == metav1.ConditionFalse && !p.LastTransitionTime.After(e.now) {
		since = p.LastTransitionTime.Time
	}
	until := since.UTC().Add(newNameFor)
	if !until.After(e.now) {
		return wait{}
	}
	p := e.prev.Condition(v1alpha3.ConditionACMEChallengeDelegationReady)
	if told := p != nil && p.Status != metav1.ConditionUnknown; told && !e.newName {
		return wait{} // it was seen missing, or not waited for although in place
	}
	return wait{until, sentence(*e.found.delegation.record) + " is in place and may be older than the name that it leads to, so resolvers may still take that for absent. " +
		"The certificate is ordered at " + stamp(until) + ". Nobody needs to do anything."}
}

// Waits are the times before which DNS-01 and HTTP-01 are not tried, as far as a
// status alone tells, which may be a little long; zero: they are now. It is for a start,
// until the next look.
func Waits(r *v1alpha3.DomainRecord, s Settings, now time.Time) (dns01, http01 time.Time) {
	tls := r.Status.Condition(v1alpha3.ConditionTLSReady)
	v := Evaluate(Input{Record: r, Settings: s, Now: now, Observations: Observations{Target: TargetObservation{Unknown: true}},
		NewName: tls != nil && tls.Reason == v1alpha3.ReasonWaitingForDNS})
	return v.DNS01From, v.HTTP01From
}
