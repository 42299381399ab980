package ownership

import (
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
)

// Input is everything that a decision depends on.
type Input struct {
	// Record is the record with its previous status. It is not modified.
	Record *v1alpha3.DomainRecord
	// Observations is what one look saw.
	Observations Observations
	Settings     Settings
	// Now is the moment of the decision. It is cut to the second, as the API is.
	Now time.Time
	// Contest is what the rule on tenants says of the record; see Claim.Contest.
	Contest Contest
	// Covered: another owner is, or was, the last verified holder of a wildcard
	// above the hostname; see Covering. It matters while the record is not verified.
	Covered bool
	// HoldDetach: the fleet brake holds, so ownership does not fall now.
	HoldDetach bool
	// HeldSince is since when it holds, HeldUntil until when at most.
	HeldSince, HeldUntil time.Time
}

// Verdict is what the observations mean.
type Verdict struct {
	// Status is complete and merged with the previous one: transition times move
	// only with the status they belong to, and where nothing could be told the
	// previous finding stands.
	Status v1alpha3.DomainRecordStatus
	// WantCertificate: issuance is to obtain a certificate or to keep the one
	// there is.
	WantCertificate bool
	// DNS01 and HTTP01 say by which challenges a certificate may be obtained now.
	// HTTP01 stands for TLS-ALPN-01 too. Both false: none can succeed.
	DNS01, HTTP01 bool
	// DNS01From and HTTP01From are when they may be tried first, in whole seconds,
	// because resolvers hold old answers until then; zero: now.
	DNS01From, HTTP01From time.Time
	// Opens: the record was not verified before, and is with this verdict.
	Opens bool
	// OpensByDNS: it opens by what was seen in DNS, so that must have been now.
	OpensByDNS bool
	// Withdrawing: OwnershipVerified is True still, but all that it rested on
	// is gone, since WithdrawnSince.
	Withdrawing    bool
	WithdrawnSince time.Time
	// Falls: OwnershipVerified falls with this verdict.
	Falls bool
	// Held: OwnershipVerified would fall but for HoldDetach.
	Held bool
}

// Evaluate decides what the observations of a look mean for a record. It is
// pure, and evaluating its own result with the same observations changes nothing.
func Evaluate(in Input) Verdict {
	e := newEvaluation(in)
	e.lookAtRecords()
	e.lookAtCertificate()
	e.decideOwnership()
	e.decideRoutes()
	e.judgeFront()
	e.lookAtCAA()
	e.decideWaits()
	e.decideTLS()
	e.decideDelegation()
	e.decideCNAME()
	e.decideTarget()
	e.out.Phase = e.phase()
	e.decideReady()
	e.keepForeignConditions()
	e.verdict.Status = e.out
	return e.verdict
}

// Initial is the status of a record before the first look: phase Pending, every
// record that the customer creates, and conditions that say what to create.
// What a previous status says is kept as far as it still applies.
func Initial(r *v1alpha3.DomainRecord, c Contest, s Settings, now time.Time) v1alpha3.DomainRecordStatus {
	return Evaluate(Input{Record: r, Settings: s, Now: now, Contest: c, Observations: Observations{
		Target: TargetObservation{Unknown: true},
	}}).Status
}

// Equal reports whether two statuses say the same, so that none needs writing.
func Equal(a, b v1alpha3.DomainRecordStatus) bool { return equality.Semantic.DeepEqual(a, b) }

// evaluation is one Evaluate in the making.
type evaluation struct {
	r        *v1alpha3.DomainRecord
	prev     *v1alpha3.DomainRecordStatus
	settings Settings
	// now is in whole seconds, as the status keeps times. stamp is the same
	// rounded up: a proof counts as gone from then on, so that ownership never
	// falls a fraction of a second before DetachAfter is over.
	now, stamp time.Time
	obs        Observations
	contest    Contest
	covered    bool
	hold       bool
	tls        bool
	// known is what was established before, own what is from now on.
	known, own v1alpha3.OwnershipStatus
	// token, when not empty, is what the ownership record must lead to.
	token string

	heldSince, heldUntil time.Time

	traffic, delegation, challenge finding
	cert                           certificate
	caa                            *v1alpha3.DNSProblem
	routed, tokenHolds             bool
	dnsWait, httpWait              wait

	out     v1alpha3.DomainRecordStatus
	verdict Verdict
}

func newEvaluation(in Input) *evaluation {
	r, now := in.Record, in.Now
	e := &evaluation{r: r, prev: r.Status.DeepCopy(), settings: in.Settings, tls: r.WantsTLS(),
		obs: in.Observations, contest: in.Contest, covered: in.Covered && !established(in.Record).Verified, hold: in.HoldDetach, heldSince: in.HeldSince, heldUntil: in.HeldUntil,
		known: established(r),
		now:   now.UTC().Truncate(time.Second),
		stamp: now.UTC().Add(time.Second - time.Nanosecond).Truncate(time.Second)}
	e.out.ObservedGeneration = r.Generation
	e.out.Type = v1alpha3.StatusTypeRef
	asked := in.Contest.Reason != Uncontested || in.Settings.ProofToken
	if asked && (!e.known.Verified || e.known.Token) { // what was verified without a token stays so without
		e.token = v1alpha3.VerifyToken(r.UID)
	}
	return e
}

// established is a copy of what was established about a record before.
func established(r *v1alpha3.DomainRecord) v1alpha3.OwnershipStatus {
	known := r.Established()
	return *known.DeepCopy()
}

// set adds a condition. Its transition time is the previous one's unless the
// status differs from it.
func (e *evaluation) set(kind string, status metav1.ConditionStatus, reason string, sentences ...string) {
	c := metav1.Condition{
		Type: kind, Status: status, Reason: reason, Message: fit(bound(kind), sentences...),
		ObservedGeneration: e.r.Generation, LastTransitionTime: metav1.NewTime(e.now),
	}
	if p := e.prev.Condition(kind); p != nil && p.Status == status && !p.LastTransitionTime.IsZero() && !p.LastTransitionTime.After(e.now) {
		c.LastTransitionTime = p.LastTransitionTime
	}
	e.out.Conditions = append(e.out.Conditions, c)
}

// bound is how long a condition's message may be: Ready repeats one of the others
// whole and says which.
func bound(kind string) int {
	if kind == v1alpha3.ConditionReady {
		return maxMessage
	}
	return maxMessage - maxKind
}

// is reports whether a condition is True after it.
func (e *evaluation) is(kind string) bool {
	c := e.out.Condition(kind)
	return c != nil && c.Status == metav1.ConditionTrue
}

// keepForeignConditions carries over conditions that others have put there.
func (e *evaluation) keepForeignConditions() {
	for _, c := range e.prev.Conditions {
		if !v1alpha3.IsConditionType(c.Type) {
			e.out.Conditions = append(e.out.Conditions, c)
		}
	}
}
