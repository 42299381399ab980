package hosts

import (
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/selection"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
)

// query is what selectors ask, as far as hosts can answer it.
type query struct {
	// none: nothing can be selected.
	none bool
	// owner is the one that is asked for; empty: any.
	owner string
	// facets: of each of these, a host must have one.
	facets []facets
	tests  []test
	labels labels.Selector // nil: any
}

// test asks of a text of a host that it be equal to one, or not.
type test struct {
	of    func(*Host) string
	value string
	equal bool
}

func newQuery(l labels.Selector, f fields.Selector) *query {
	q := new(query)
	asked, selectable := l.Requirements()
	q.none = !selectable
	for _, r := range asked {
		one, in := r.ValuesUnsorted(), r.Operator() == selection.Equals || r.Operator() == selection.DoubleEquals || r.Operator() == selection.In
		if r.Key() == v1alpha3.OwnerLabel && in && len(one) == 1 && q.owner == "" {
			q.owner = one[0]
		}
	}
	if len(asked) > 1 || len(asked) == 1 && q.owner == "" {
		q.labels = l
	}
	for _, r := range f.Requirements() {
		q.field(r.Field, r.Value, r.Operator != selection.NotEquals)
	}
	return q
}

// field adds what is asked of a field. One that is not known is left to the caller.
func (q *query) field(name, value string, equal bool) {
	switch name {
	case v1alpha3.FieldName:
		q.tests = append(q.tests, test{func(h *Host) string { return h.Name() }, value, equal})
	case v1alpha3.FieldHostname:
		q.tests = append(q.tests, test{func(h *Host) string { return h.Hostname }, value, equal})
	case v1alpha3.FieldTargetKind, v1alpha3.FieldTargetName:
		kind := name == v1alpha3.FieldTargetKind
		q.tests = append(q.tests, test{func(h *Host) string { return refOf(h, kind) }, value, equal})
	case v1alpha3.FieldPhase:
		p := packPhase(v1alpha3.Phase(value))
		q.one(0, phaseFacets, int(p), p != phaseRare && value != "", equal)
	default:
		c, ok := v1alpha3.ParseConditionField(name)
		if !ok {
			return
		}
		n := slices.Index(conditionTypes, c.Type)
		begin, reasons, end := statusFacets[n], statusFacets[n]+len(statuses), statusFacets[n+1]
		if c.Reason {
			code := reasonCode(n, value)
			q.one(reasons, end, reasonFacet(n, code), code != otherReason, equal)
			return
		}
		i := slices.Index(statuses[:3], metav1.ConditionStatus(value)) // others count as Unknown
		if i < 0 {
			q.one(begin, reasons, begin+3, false, equal)
		} else {
			q.one(begin, reasons, begin+i, true, equal)
		}
	}
}

// one asks for one facet of those from begin up to end, or for any but that one, unless
// it stands for several values.
func (q *query) one(begin, end, n int, exact, equal bool) {
	switch {
	case equal:
		q.facets = append(q.facets, span(n, n+1))
	case exact:
		q.facets = append(q.facets, span(begin, end).and(span(n, n+1).not()))
	}
}

func refOf(h *Host, kind bool) string {
	switch {
	case h.Redirect() != nil:
		return ""
	case kind:
		return h.Target().Kind
	}
	return h.Target().Name
}

// mayMatch reports whether a host's record may be selected.
func (q *query) mayMatch(h *Host) bool {
	if len(q.facets) > 0 && !q.wants(facetsOf(h)) {
		return false
	}
	for i := range q.tests {
		if t := &q.tests[i]; (t.of(h) == t.value) != t.equal {
			return false
		}
	}
	return q.labels == nil || q.labels.Matches((*hostLabels)(h))
}

// wants reports whether what has these facets may hold what is looked for.
func (q *query) wants(f facets) bool {
	for i := range q.facets {
		if f.and(q.facets[i]).empty() {
			return false
		}
	}
	return true
}

// hostLabels are the labels of a host as selectors read them.
type hostLabels Host

// Has implements labels.Labels.
func (h *hostLabels) Has(key string) bool { _, ok := (*Host)(h).Label(key); return ok }

// Get implements labels.Labels.
func (h *hostLabels) Get(key string) string { v, _ := (*Host)(h).Label(key); return v }

// Lookup implements labels.Labels.
func (h *hostLabels) Lookup(key string) (string, bool) { return (*Host)(h).Label(key) }
