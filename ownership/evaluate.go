package ownership

import (
	"time"

	"k8s.io/apimachinery/pkg/api/equality"

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
	// NewName is that of the last verdict on the record, false if there was none or it
	// is not known any more.
	NewName bool
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
	// NewName: DNS-01 waits because the challenge name is new in the zone. The next
	// Input repeats it.
	NewName bool
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

// Evaluate decides what the observations of a look mean for a record, step by step
// as chain lists them. It is pure, and evaluating its own result with the same
// observations changes nothing.
func Evaluate(in Input) Verdict {
	e := &evaluation{facts: factsOf(in)}
	for _, s := range chain {
		e.run(s)
	}
	return e.verdict()
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

// verdict sums up what was decided.
func (e *evaluation) verdict() Verdict {
	return Verdict{
		Status:          e.status(),
		WantCertificate: e.routes.want,
		DNS01:           e.dns01(), HTTP01: e.http01(),
		DNS01From: e.waits.dns.until, HTTP01From: e.waits.http.until, NewName: e.waits.newName,
		Opens: e.ownership.opens, OpensByDNS: e.ownership.opensByDNS,
		WithdrawnSince: e.ownership.withdrawnSince,
		Withdrawing:    e.ownership.basis == basisWithdrawing || e.ownership.basis == basisBraked,
		Falls:          e.ownership.basis == basisFallen,
		Held:           e.ownership.basis == basisBraked,
	}
}

// statusType says what the target of a record is.
func statusType(r *v1alpha3.DomainRecord) string {
	if r.Spec.Target.Redirect != nil {
		return v1alpha3.StatusTypeRedirect
	}
	return v1alpha3.StatusTypeRef
}

// status is the whole status, with the conditions that others have put there.
func (e *evaluation) status() v1alpha3.DomainRecordStatus {
	s := v1alpha3.DomainRecordStatus{
		ObservedGeneration: e.r.Generation,
		Type:               statusType(e.r),
		Phase:              e.phase,
		ResolvedValues:     []string{v1alpha3.TrafficName(e.r.Spec.Name, e.settings.Zone.Name)},
		DNSRecords:         e.found.records,
		DNSProvider:        e.provider,
		DomainConnect:      e.prev.DomainConnect, // the shell's to say
		Certificate:        e.served.status,
		Conditions:         e.conditions,
		Ownership:          &e.ownership.established,
	}
	for i := range s.DNSRecords {
		d := &s.DNSRecords[i]
		d.Problem = e.told.of(d.Purpose)
		d.Zone = e.zones.of(d.Purpose)
		d.Host = hostIn(d.Name, d.Zone)
	}
	for _, c := range e.prev.Conditions {
		if !v1alpha3.IsConditionType(c.Type) {
			s.Conditions = append(s.Conditions, c)
		}
	}
	return s
}
