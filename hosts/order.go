package hosts

import (
	"slices"
	"sort"
	"strings"
	"sync"
)

// order keeps hosts sorted by the names of their records, or by owner and then by
// name, so that a list reads on from where it was. It is a tree of three levels, the
// order itself, branches and leaves, and each branch and leaf knows which facets are
// below it: who looks for some passes over what has none of them. A change costs a
// search, and now and then the splitting of a leaf. It takes 9 to 14 bytes a host.
type order struct {
	byOwner bool

	mu       sync.RWMutex
	branches []*branch
}

const (
	leafSize   = 61 // a leaf fills 512 bytes
	branchSize = 512
	// sparse is how many hosts two neighbours may have together to become one.
	sparse = leafSize * 2 / 3
)

// place is where a host stands in an order.
type place struct{ owner, name string }

func (p place) compare(q place) int {
	if c := strings.Compare(p.owner, q.owner); c != 0 {
		return c
	}
	return strings.Compare(p.name, q.name)
}

// branch is a run of leaves. What begins a leaf is kept here, so that a search reads
// few hosts; it may lie before the leaf's first host.
type branch struct {
	facets facets
	begins []place
	below  []facets // of each leaf
	leaves []*leaf
}

type leaf struct {
	n     int
	grams *grams // nil in the order by owner
	hosts [leafSize]*Host
}

func (o *order) newLeaf() *leaf {
	if o.byOwner {
		return new(leaf)
	}
	return &leaf{grams: new(grams)}
}

func (o *order) place(h *Host) place {
	if o.byOwner {
		return place{h.Owner(), h.Name()}
	}
	return place{name: h.Name()}
}

// find returns the branch, leaf and index in it where a place is or would be, and
// whether it is there. There must be a branch.
func (o *order) find(p place) (b, l, i int, found bool) {
	b = max(0, sort.Search(len(o.branches), func(i int) bool { return o.branches[i].begins[0].compare(p) > 0 })-1)
	begins := o.branches[b].begins
	l = max(0, sort.Search(len(begins), func(i int) bool { return begins[i].compare(p) > 0 })-1)
	leaf := o.branches[b].leaves[l]
	if n := leaf.n; n > 0 && o.place(leaf.hosts[n-1]).compare(p) < 0 { // what is read from a store comes in order
		return b, l, n, false
	}
	i, found = sort.Find(leaf.n, func(i int) int { return p.compare(o.place(leaf.hosts[i])) })
	return b, l, i, found
}

// move puts now in the place of old; nil: there is none.
func (o *order) move(old, now *Host) {
	if o.byOwner {
		if old != nil && old.Owner() == "" {
			old = nil
		}
		if now != nil && now.Owner() == "" {
			now = nil
		}
	}
	if old == nil && now == nil {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if old != nil && (now == nil || o.place(old) != o.place(now)) {
		o.remove(old)
	}
	if now != nil {
		o.put(now)
	}
}

func (o *order) put(h *Host) {
	p := o.place(h)
	if len(o.branches) == 0 {
		o.branches = []*branch{{begins: []place{p.clone()}, below: make([]facets, 1), leaves: []*leaf{o.newLeaf()}}}
	}
	b, l, i, found := o.find(p)
	if found {
		br := o.branches[b]
		old := br.leaves[l].hosts[i]
		br.leaves[l].hosts[i] = h
		if old.marks != h.marks || old.Hostname != h.Hostname {
			br.leaves[l].grams.note(h)
		}
		if facetsOf(old).within(facetsOf(h)) {
			br.note(l, facetsOf(h))
		} else {
			br.recount(l)
		}
		return
	}
	if o.branches[b].leaves[l].n == leafSize {
		b, l, i = o.split(b, l, i)
	}
	br := o.branches[b]
	leaf := br.leaves[l]
	copy(leaf.hosts[i+1:leaf.n+1], leaf.hosts[i:leaf.n])
	leaf.hosts[i] = h
	leaf.n++
	leaf.grams.note(h)
	br.note(l, facetsOf(h))
}

// split makes room at a place of a full leaf and returns where the place is then. At
// the end of the order the leaf stays as it is and another begins, so that those that
// come in order fill their leaves.
func (o *order) split(b, l, i int) (int, int, int) {
	if len(o.branches[b].leaves) >= branchSize {
		if b, l = o.splitBranch(b, l); o.branches[b].leaves[l].n < leafSize {
			return b, l, i
		}
	}
	br := o.branches[b]
	from := br.leaves[l]
	at := leafSize / 2
	if i == leafSize && l == len(br.leaves)-1 && b == len(o.branches)-1 {
		at = leafSize - 1
	}
	next := o.newLeaf()
	next.n = copy(next.hosts[:], from.hosts[at:])
	clear(from.hosts[at:])
	from.n = at
	next.grams.renew(next.hosts[:next.n])
	if at == leafSize/2 { // otherwise it has all but one
		from.grams.renew(from.hosts[:at])
	}
	br.leaves = slices.Insert(br.leaves, l+1, next)
	br.begins = slices.Insert(br.begins, l+1, o.place(next.hosts[0]).clone())
	br.below = slices.Insert(br.below, l+1, facets{})
	br.recount(l)
	br.recount(l + 1)
	if i > at {
		return b, l + 1, i - at
	}
	return b, l, i
}

// splitBranch halves a branch, but for the last, which keeps what it has, and returns
// where its l-th leaf is then.
func (o *order) splitBranch(b, l int) (int, int) {
	br := o.branches[b]
	at := branchSize / 2
	if b == len(o.branches)-1 && l == len(br.leaves)-1 {
		at = len(br.leaves) - 1
	}
	next := &branch{begins: slices.Clone(br.begins[at:]), below: slices.Clone(br.below[at:]), leaves: slices.Clone(br.leaves[at:])}
	clear(br.leaves[at:])
	clear(br.begins[at:])
	br.begins, br.below, br.leaves = br.begins[:at], br.below[:at], br.leaves[:at]
	br.sum()
	next.sum()
	o.branches = slices.Insert(o.branches, b+1, next)
	if l >= at {
		return b + 1, l - at
	}
	return b, l
}

// remove takes out exactly h; another one in its place stays.
func (o *order) remove(h *Host) {
	if len(o.branches) == 0 {
		return
	}
	b, l, i, found := o.find(o.place(h))
	if !found || o.branches[b].leaves[l].hosts[i] != h {
		return
	}
	br := o.branches[b]
	leaf := br.leaves[l]
	copy(leaf.hosts[i:], leaf.hosts[i+1:leaf.n])
	leaf.n--
	leaf.hosts[leaf.n] = nil
	for _, at := range [...]int{l - 1, l} { // a neighbour may take in the rest
		if at >= 0 && at+1 < len(br.leaves) && br.leaves[at].n+br.leaves[at+1].n <= sparse {
			into, from := br.leaves[at], br.leaves[at+1]
			into.n += copy(into.hosts[into.n:], from.hosts[:from.n])
			into.grams.join(from.grams)
			br.drop(at + 1)
			l = at
			break
		}
	}
	if br.leaves[l].n > 0 {
		br.recount(l)
	} else if br.drop(l); len(br.leaves) > 0 {
		br.sum()
	} else {
		o.branches = slices.Delete(o.branches, b, b+1)
	}
}

func (br *branch) drop(l int) {
	br.leaves = slices.Delete(br.leaves, l, l+1)
	br.begins = slices.Delete(br.begins, l, l+1)
	br.below = slices.Delete(br.below, l, l+1)
}

// note adds facets to those below a leaf.
func (br *branch) note(l int, f facets) {
	br.below[l] = br.below[l].or(f)
	br.facets = br.facets.or(f)
}

// recount finds out which facets are below a leaf.
func (br *branch) recount(l int) {
	leaf, before := br.leaves[l], br.below[l]
	br.below[l] = facets{}
	for _, h := range leaf.hosts[:leaf.n] {
		br.below[l] = br.below[l].or(facetsOf(h))
	}
	if br.below[l] != before {
		br.sum()
	}
}

func (br *branch) sum() {
	br.facets = facets{}
	for _, f := range br.below {
		br.facets = br.facets.or(f)
	}
}

// clone returns a place that keeps no host alive.
func (p place) clone() place { return place{strings.Clone(p.owner), strings.Clone(p.name)} }
