package hosts

import (
	"context"
	"fmt"

	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
)

// Bounds on what a search looks at before it lets changes in between, and on what it
// finds in one go.
const (
	runHosts  = 512
	runLeaves = 1024
)

// Find returns, in the order of their bytes, names of records that come after a name:
// at least all that the selectors may select, and hardly others, up to most of them.
// It has looked at all up to the name upto; more is false if that is the end. What it
// costs is a matter of what is found where fields of the status are asked for by
// phase, condition or reason, or one owner by its label. Otherwise it looks at all
// hosts, but at none that is not in memory. An error is the context's.
func (t *Table) Find(ctx context.Context, l labels.Selector, f fields.Selector, after string, most int) (names []string, upto string, more bool, err error) {
	q := newQuery(l, f)
	if q.none {
		return nil, "", false, nil
	}
	o, from := &t.byName, place{name: after}
	if q.owner != "" {
		o, from = &t.byOwner, place{q.owner, after}
	}
	s := search{order: o, query: q, most: most}
	for more = true; more && len(s.names) < most; {
		if err := ctx.Err(); err != nil {
			return nil, "", false, fmt.Errorf("looking for records: %w", err)
		}
		from, more = s.run(from)
	}
	return s.names, from.name, more, nil
}

// search is a Find under way.
type search struct {
	*order
	*query
	most  int
	names []string
}

// run looks on behind a place, for a while, and returns how far it came and whether
// there is more.
func (s *search) run(after place) (upto place, more bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if len(s.branches) == 0 {
		return after, false
	}
	b, l, i, found := s.order.find(after)
	if found {
		i++
	}
	seen, passed := 0, 0
	for ; b < len(s.branches); b, l, i = b+1, 0, 0 {
		br := s.branches[b]
		if !s.wants(br.facets) {
			continue
		}
		for ; l < len(br.leaves); l, i = l+1, 0 {
			if passed++; passed > runLeaves || seen > runHosts {
				return s.before(b, l, after), true
			}
			if !s.wants(br.below[l]) {
				if s.owner != "" && br.begins[l].owner > s.owner {
					return after, false
				}
				continue
			}
			leaf := br.leaves[l]
			for ; i < leaf.n; i++ {
				h := leaf.hosts[i]
				if s.owner != "" && h.Owner() != s.owner {
					return after, false
				}
				seen++
				if s.mayMatch(h) {
					s.names = append(s.names, h.Name())
					if len(s.names) == s.most {
						return s.place(h), true
					}
				}
			}
		}
	}
	return after, false
}

// before is the place of the last host before a leaf, at least after.
func (s *search) before(b, l int, after place) place {
	if l--; l < 0 {
		b--
		l = len(s.branches[b].leaves) - 1
	}
	leaf := s.branches[b].leaves[l]
	if p := s.place(leaf.hosts[leaf.n-1]); p.compare(after) > 0 {
		return p
	}
	return after
}

// CountAfter returns how many hosts there are whose records' names come after a name, in
// the order of their bytes. It walks the leaves of the order, some 60 hosts each.
func (t *Table) CountAfter(name string) int {
	o := &t.byName
	o.mu.RLock()
	defer o.mu.RUnlock()
	if len(o.branches) == 0 {
		return 0
	}
	b, l, i, found := o.find(place{name: name})
	if found {
		i++
	}
	n := o.branches[b].leaves[l].n - i
	for _, leaf := range o.branches[b].leaves[l+1:] {
		n += leaf.n
	}
	for _, br := range o.branches[b+1:] {
		for _, leaf := range br.leaves {
			n += leaf.n
		}
	}
	return n
}
