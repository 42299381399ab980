package hosts

import (
	"context"
	"fmt"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
)

// Search is what a person looks for. Each of its fields that is not empty narrows it.
type Search struct {
	// Text is words, all of which a record must have: in its hostname, its name, the
	// value of a label, or as the beginning of a reason; key=value is sought in labels.
	Text string
	// Owner is the whole value of the owner's label.
	Owner string
	Phase v1alpha3.Phase
	// Condition and Status: the condition of this type has this status.
	Condition string
	Status    metav1.ConditionStatus
	// Reason is what a record waits for: the reason of Ready or, where a certificate that
	// is being obtained will be the proof of ownership, that of TLSReady. One that Ready
	// cannot have is sought in all conditions.
	Reason string

	// After: only records whose names come after it, in the order of their bytes.
	// Before, if After is empty: the last of those before it.
	After, Before string
	// Most is how many are wanted.
	Most int
	// Patience is how long to look at most; 0: to the end.
	Patience time.Duration
}

// Found is what a Search has found.
type Found struct {
	// Names of records in the order of their bytes.
	Names []string
	// More: there may be more in the direction that was looked in, beyond Upto.
	More bool
	Upto string
	// Cut: the patience was over before enough was found.
	Cut bool
}

// Search looks for records by what the table knows. It passes over what facets and grams
// rule out, and looks at all other hosts, until enough are found or the patience is over.
// The error is the context's.
func (t *Table) Search(ctx context.Context, q Search) (Found, error) {
	s := newSearching(t, &q)
	if s == nil || q.Most < 1 {
		return Found{}, nil
	}
	from := place{q.Owner, q.After}
	if s.back {
		from.name = q.Before
	}
	begun := time.Now()
	for more := true; ; {
		if err := ctx.Err(); err != nil {
			return Found{}, fmt.Errorf("searching the records: %w", err)
		}
		from, more = s.run(from)
		cut := more && len(s.names) < q.Most && q.Patience > 0 && time.Since(begun) > q.Patience
		if !more || cut || len(s.names) >= q.Most {
			if s.back {
				slices.Reverse(s.names)
			}
			return Found{Names: s.names, More: more, Upto: from.name, Cut: cut}, nil
		}
	}
}

// searching is a Search under way.
type searching struct {
	*order
	*query
	words []word
	// awaits is the code of the reason that is waited for; 0: any.
	awaits int
	back   bool
	most   int
	names  []string
	// known is which words the labels have that were looked at last.
	known [256]struct {
		of   *marks
		have uint8
	}
}

// newSearching returns nil if nothing can be found.
func newSearching(t *Table, q *Search) *searching {
	s := &searching{order: &t.byName, query: &query{owner: q.Owner}, back: q.After == "" && q.Before != "", most: q.Most, words: wordsOf(q.Text)}
	if q.Owner != "" {
		s.order = &t.byOwner
	}
	if q.Phase != "" {
		p := packPhase(q.Phase)
		if p == phaseRare {
			return nil
		}
		s.facets = append(s.facets, span(int(p), int(p)+1))
	}
	if q.Condition != "" {
		n := slices.Index(conditionTypes, q.Condition)
		if n < 0 {
			return nil
		}
		bits := int(statusBits(q.Status))
		s.facets = append(s.facets, span(statusFacet(n, Conditions(bits)), statusFacet(n, Conditions(bits))+1))
	}
	if q.Reason != "" {
		f := reasonFacets(func(reason string) bool { return reason == q.Reason })
		if slices.Contains(conditionReasons[readyAt], q.Reason) {
			s.awaits = reasonCode(readyAt, q.Reason)
		}
		if f.empty() {
			return nil
		}
		s.facets = append(s.facets, f)
	}
	return s
}

// reasonFacets are those of the listed reasons that are wanted.
func reasonFacets(wanted func(string) bool) (f facets) {
	for n, reasons := range conditionReasons {
		for i, reason := range reasons {
			if wanted(reason) {
				f.add(reasonFacet(n, i+1))
			}
		}
	}
	return f
}

// run looks on beyond a place, for a while, and returns how far it came and whether
// there is more.
func (s *searching) run(from place) (upto place, more bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if len(s.branches) == 0 {
		return from, false
	}
	b, l, i, found := s.order.find(from)
	step := 1
	if s.back {
		step, i = -1, i-1
	} else if found {
		i++
	}
	seen, passed := 0, 0
	var done *leaf
	for first := true; b >= 0 && b < len(s.branches); b += step {
		br := s.branches[b]
		if !first {
			l = s.begin(len(br.leaves))
		}
		for ; l >= 0 && l < len(br.leaves); l += step {
			leaf := br.leaves[l]
			if !first {
				i = s.begin(leaf.n)
			}
			first = false
			if passed++; done != nil && (passed > runLeaves || seen > runHosts) {
				return s.place(done.hosts[s.end(done.n)]), true
			}
			if s.wants(br.facets) && s.wants(br.below[l]) && s.mayHave(leaf, br.below[l]) {
				for ; i >= 0 && i < leaf.n; i += step {
					h := leaf.hosts[i]
					if s.owner != "" && h.Owner() != s.owner {
						return from, false
					}
					if seen++; s.mayMatch(h) && s.has(h) {
						if s.names = append(s.names, h.Name()); len(s.names) == s.most {
							return s.place(h), true
						}
					}
				}
			} else if s.owner != "" && s.beyond(br, l) {
				return from, false
			}
			done = leaf
		}
	}
	return from, false
}

// begin is where n things in a row begin, in the direction of the search, and end where
// they end.
func (s *searching) begin(n int) int {
	if s.back {
		return n - 1
	}
	return 0
}

func (s *searching) end(n int) int {
	if s.back {
		return 0
	}
	return n - 1
}

// beyond reports whether a leaf that was passed over lies beyond the owner's.
func (s *searching) beyond(br *branch, l int) bool {
	if leaf := br.leaves[l]; s.back {
		return leaf.n > 0 && leaf.hosts[leaf.n-1].Owner() < s.owner
	}
	return br.begins[l].owner > s.owner
}
