package hosts

import (
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
)

// Reasons holds the reasons of all conditions of a record, four bits each.
type Reasons uint32

const (
	noReason    = 0  // the condition is not there, or has no reason
	otherReason = 15 // one that v1alpha3 does not list
)

// conditionReasons are the reasons of each condition, in the order of conditionTypes.
var conditionReasons = func() (all [][]string) {
	for _, t := range conditionTypes {
		all = append(all, v1alpha3.ConditionReasons(t))
	}
	return all
}()

// reasonsOf packs the reasons of a status.
func reasonsOf(conditions []metav1.Condition) Reasons {
	var packed Reasons
	for i := range conditions {
		if n := slices.Index(conditionTypes, conditions[i].Type); n >= 0 {
			packed = packed&^(15<<(4*n)) | Reasons(reasonCode(n, conditions[i].Reason))<<(4*n)
		}
	}
	return packed
}

// reasonCode is what stands for a reason of the n-th condition.
func reasonCode(n int, reason string) int {
	if reason == "" {
		return noReason
	}
	if i := slices.Index(conditionReasons[n], reason); i >= 0 && i+1 < otherReason {
		return i + 1
	}
	return otherReason
}

// facets is a set of what records can be selected by: phases, and of each
// condition its statuses and its reasons. One record has exactly one of each.
type facets [2]uint64

// Where the facets of each kind begin. Those of a condition are its statuses and
// then its reasons: none, those listed, any other.
var (
	phaseFacets  = int(phaseRare) + 1
	statusFacets = func() (begin []int) {
		next := phaseFacets
		for i := range conditionTypes {
			begin = append(begin, next)
			next += len(statuses) + len(conditionReasons[i]) + 2
		}
		return append(begin, next)
	}()
)

func statusFacet(n int, bits Conditions) int { return statusFacets[n] + int(bits) }

func reasonFacet(n, code int) int {
	if code == otherReason {
		return statusFacets[n+1] - 1
	}
	return statusFacets[n] + len(statuses) + code
}

// span is the set of the facets from begin up to end, without end.
func span(begin, end int) (f facets) {
	for i := begin; i < end; i++ {
		f.add(i)
	}
	return f
}

func (f *facets) add(i int) { f[i/64] |= 1 << (i % 64) }

func (f facets) and(g facets) facets { return facets{f[0] & g[0], f[1] & g[1]} }
func (f facets) or(g facets) facets  { return facets{f[0] | g[0], f[1] | g[1]} }
func (f facets) not() facets         { return facets{^f[0], ^f[1]} }
func (f facets) empty() bool         { return f[0]|f[1] == 0 }

// within reports whether g has all that f has.
func (f facets) within(g facets) bool { return f.and(g) == f }

// facetsOf are those of a host.
func facetsOf(h *Host) (f facets) {
	f.add(int(h.phase))
	for n := range conditionTypes {
		f.add(statusFacet(n, h.Conditions>>(2*n)&3))
		f.add(reasonFacet(n, int(h.reasons>>(4*n)&15)))
	}
	return f
}

// Where the conditions stand that say what a record waits for.
var (
	readyAt = slices.Index(conditionTypes, v1alpha3.ConditionReady)
	tlsAt   = slices.Index(conditionTypes, v1alpha3.ConditionTLSReady)
)

// certificateReasons are, for the reasons of TLSReady that tell what becomes of a
// certificate, the same reasons of Ready.
var certificateReasons = func() (all [otherReason + 1]int) {
	for _, reason := range []string{
		v1alpha3.ReasonIssuing, v1alpha3.ReasonCertificateError, v1alpha3.ReasonRateLimited, v1alpha3.ReasonCAAForbidden, v1alpha3.ReasonCertificateExpired,
	} {
		all[reasonCode(tlsAt, reason)] = reasonCode(readyAt, reason)
	}
	return all
}()

// notVerified is the reason of Ready where ownership is not verified.
var notVerified = reasonCode(readyAt, v1alpha3.ReasonOwnershipNotVerified)

// awaited is what a record waits for: the reason of Ready or, where the certificate that
// is being obtained will be the proof of ownership, that of TLSReady.
func awaited(r Reasons) int {
	code := int(r >> (4 * readyAt) & 15)
	if code == notVerified {
		if of := certificateReasons[r>>(4*tlsAt)&15]; of != noReason {
			return of
		}
	}
	return code
}
