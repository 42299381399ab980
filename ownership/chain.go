package ownership

import (
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
)

// chain is everything that Evaluate decides, in this order: the conditions in that
// of v1alpha3.ConditionTypes, and before each what it goes by. A step reads the facts
// and what those before it have decided, and decides one thing, which no other step
// changes: a condition, or the field of decisions that it is named for.
var chain = []step{
	{decides: "found", by: func(e *evaluation) { e.found = e.findRecords() }},
	{decides: "zones", by: func(e *evaluation) { e.zones = e.decideZones() }},
	{decides: "provider", by: func(e *evaluation) { e.provider = e.decideProvider() }},
	{decides: "cert", by: func(e *evaluation) { e.cert = e.judgeCertificate() }},
	{decides: "served", by: func(e *evaluation) { e.served = e.judgeServed() }},
	{decides: "ownership", by: func(e *evaluation) { e.ownership = e.decideOwnership() }},
	{condition: v1alpha3.ConditionOwnershipVerified, says: (*evaluation).ownershipVerified},
	{decides: "routes", by: func(e *evaluation) { e.routes = e.decideRoutes() }},
	{decides: "front", by: func(e *evaluation) { e.front = e.judgeFront() }},
	{decides: "caa", by: func(e *evaluation) { e.caa = e.judgeCAA() }},
	{decides: "told", by: func(e *evaluation) { e.told = e.decideProblems() }},
	{decides: "waits", by: func(e *evaluation) { e.waits = e.decideWaits() }},
	{condition: v1alpha3.ConditionTLSReady, says: (*evaluation).tlsReady},
	{condition: v1alpha3.ConditionACMEChallengeDelegationReady, says: (*evaluation).delegationReady},
	{condition: v1alpha3.ConditionCNAMEConfigured, says: (*evaluation).cnameConfigured},
	{condition: v1alpha3.ConditionTargetReady, says: (*evaluation).targetReady},
	{decides: "phase", by: func(e *evaluation) { e.phase = e.decidePhase() }},
	{condition: v1alpha3.ConditionReady, says: (*evaluation).ready},
}

// step is one decision. It has either decides and by, or condition and says.
type step struct {
	decides string // a field of decisions
	by      func(*evaluation)
	// condition is a type; says gives the condition, or the zero value where a record
	// has none of that type.
	condition string
	says      func(*evaluation) said
}

// said is a condition but for what all have in common.
type said struct {
	status          metav1.ConditionStatus
	reason, message string
}

// say makes a condition. Its message leaves room for what Ready, which repeats it,
// says beside it.
func say(status metav1.ConditionStatus, reason string, sentences ...string) said {
	return said{status, reason, fit(maxMessage-maxKind, sentences...)}
}

// evaluation is one Evaluate in the making.
type evaluation struct {
	facts
	decisions
}

// facts is what is known before anything is decided: the Input and what can be said
// of it at once. No step changes it.
type facts struct {
	r        *v1alpha3.DomainRecord
	prev     *v1alpha3.DomainRecordStatus // as r has it
	settings Settings
	// now is in whole seconds, as the status keeps times. stamp is the same
	// rounded up: a proof counts as gone from then on, so that ownership never
	// falls a fraction of a second before DetachAfter is over.
	now, stamp time.Time
	obs        Observations
	contest    Contest
	covered    bool
	newName    bool
	hold       bool
	tls        bool
	// known is what was established before.
	known v1alpha3.OwnershipStatus
	// token, when not empty, is what the ownership record must lead to.
	token string

	heldSince, heldUntil time.Time
}

// decisions is what the steps have decided so far, one field for each of them and
// one for all conditions.
type decisions struct {
	found      findings                    // what stands at each DNS record
	zones      zones                       // in which zone each of them belongs
	provider   *v1alpha3.DNSProviderStatus // who hosts the hostname's zone; nil: not known
	cert       certificate                 // which certificate was obtained, and whether it counts
	served     served                      // which certificate is shown: that one, or the customer's own
	ownership  ownershipDecision           // whether the customer controls the hostname, and by what
	routes     routes                      // by which challenges a certificate may be obtained, as far as DNS goes
	front      *v1alpha3.DNSProblem        // what to say of the main record where something else answers on purpose; nil: nothing
	caa        *v1alpha3.DNSProblem        // which CAA records forbid every authority; nil: none
	told       problems                    // what is told of each DNS record
	waits      waits                       // from when on each challenge may be tried
	phase      v1alpha3.Phase
	conditions []metav1.Condition
}

func factsOf(in Input) facts {
	r, now, known := in.Record, in.Now, established(in.Record)
	f := facts{
		r: r, prev: r.Status.DeepCopy(), settings: in.Settings, tls: r.WantsTLS(), known: known,
		now:   now.UTC().Truncate(time.Second),
		stamp: now.UTC().Add(time.Second - time.Nanosecond).Truncate(time.Second),
		obs:   in.Observations, contest: in.Contest, covered: in.Covered && !known.Verified, newName: in.NewName,
		hold: in.HoldDetach, heldSince: in.HeldSince, heldUntil: in.HeldUntil,
	}
	asked := in.Contest.Reason != Uncontested || in.Settings.ProofToken
	if asked && (!known.Verified || known.Token) { // what was verified without a token stays so without
		f.token = v1alpha3.VerifyToken(r.UID)
	}
	return f
}

// established is a copy of what was established about a record before.
func established(r *v1alpha3.DomainRecord) v1alpha3.OwnershipStatus {
	known := r.Established()
	return *known.DeepCopy()
}

// run takes a step. The transition time of a condition is the previous one's unless
// the status differs from it.
func (e *evaluation) run(s step) {
	if s.by != nil {
		s.by(e)
		return
	}
	said := s.says(e)
	if said.status == "" {
		return
	}
	c := metav1.Condition{
		Type: s.condition, Status: said.status, Reason: said.reason, Message: said.message,
		ObservedGeneration: e.r.Generation, LastTransitionTime: metav1.NewTime(e.now),
	}
	if p := e.prev.Condition(c.Type); p != nil && p.Status == c.Status && !p.LastTransitionTime.IsZero() && !p.LastTransitionTime.After(e.now) {
		c.LastTransitionTime = p.LastTransitionTime
	}
	e.conditions = append(e.conditions, c)
}

// condition is a condition that was decided before, nil if the record has none of
// the type.
func (d *decisions) condition(kind string) *metav1.Condition {
	for i := range d.conditions {
		if d.conditions[i].Type == kind {
			return &d.conditions[i]
		}
	}
	return nil
}

// is reports whether a condition that was decided before is True.
func (d *decisions) is(kind string) bool {
	c := d.condition(kind)
	return c != nil && c.Status == metav1.ConditionTrue
}
