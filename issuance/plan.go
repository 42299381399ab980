package issuance

import "container/heap"

// urgency orders work by what it costs to wait.
type urgency uint8

const (
	urgent  urgency = iota // the certificate expires soon or has expired
	first                  // a first issuance
	routine                // a renewal with time to spare
)

// strides are the steps in virtual time: the smaller, the larger the share.
var strides = [...]uint64{urgent: 1, first: 4, routine: 8}

// item is one piece of due work in a plan.
type item struct {
	entry *entry
	lane  *lane // that the plan is of
	leaf  *node // that it stands in
	// rank orders items of one group, smallest first: expiry for renewals, age
	// for first issuances.
	rank int64
	seq  uint64
	// dead items were taken back; they are skipped.
	dead bool
}

// plan orders due work: by urgency with shares that starve nothing, then
// fairly among tenants, then fairly among a tenant's registered domains, then
// by rank. Fairness is start-time fair queueing: every group carries a virtual
// time that grows as it is served, and the group furthest behind is next. A
// group that falls empty takes no credit with it.
type plan struct {
	root node
	size int
	seq  uint64
	gone uint64 // items popped or taken back
}

// node is a group: of groups, or at the bottom of items.
type node struct {
	key    string
	parent *node
	size   int    // items below that are not dead
	at     uint64 // virtual time at which it is served next
	born   uint64
	stride uint64
	clock  uint64 // virtual time of its children
	kids   map[string]*node
	queue  nodeHeap
	items  itemHeap
}

// groups says where an item belongs: urgency, tenant, registered domain.
func groups(u urgency, owner, domain string) [3]string {
	if owner == "" {
		owner = "\x00" + domain // without a label each registered domain is its own tenant
	}
	return [3]string{string(rune('0' + u)), owner, domain}
}

func (p *plan) push(it *item, u urgency, owner, domain string) {
	p.seq++
	it.seq = p.seq
	p.size++
	n := &p.root
	for depth, key := range groups(u, owner, domain) {
		kid := n.kids[key]
		if kid == nil {
			kid = &node{key: key, parent: n, at: n.clock, born: p.seq, stride: 1}
			if depth == 0 {
				kid.stride = strides[u]
				kid.at += kid.stride // of classes that come up together the more pressing is first
			}
			if n.kids == nil {
				n.kids = map[string]*node{}
			}
			n.kids[key] = kid
			heap.Push(&n.queue, kid)
		}
		n = kid
	}
	it.leaf = n
	heap.Push(&n.items, it)
	n.add(1)
}

// add counts items in or out, up to the root.
func (n *node) add(items int) {
	for ; n != nil; n = n.parent {
		n.size += items
	}
}

// pop takes the next item out; nil if there is none.
func (p *plan) pop() *item {
	for {
		it := p.root.pop()
		if it == nil {
			return nil
		}
		if !it.dead {
			it.leaf.add(-1)
			p.size--
			p.gone++
			return it
		}
	}
}

// drop takes an item back.
func (p *plan) drop(it *item) {
	if it != nil && !it.dead {
		it.dead = true
		it.leaf.add(-1)
		p.size--
		p.gone++
	}
}

func (n *node) pop() *item {
	if n.items.Len() > 0 {
		return heap.Pop(&n.items).(*item)
	}
	if len(n.queue) == 0 {
		return nil
	}
	kid := n.queue[0]
	it := kid.pop()
	n.clock = kid.at
	if it != nil && !it.dead {
		kid.at += kid.stride
	}
	if len(kid.queue) == 0 && kid.items.Len() == 0 {
		heap.Pop(&n.queue)
		delete(n.kids, kid.key)
	} else {
		heap.Fix(&n.queue, 0)
	}
	return it
}

type nodeHeap []*node

func (h nodeHeap) Len() int { return len(h) }
func (h nodeHeap) Less(i, j int) bool {
	if h[i].at != h[j].at {
		return h[i].at < h[j].at
	}
	return h[i].born < h[j].born
}
func (h nodeHeap) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h *nodeHeap) Push(x any)   { *h = append(*h, x.(*node)) }
func (h *nodeHeap) Pop() any {
	old := *h
	n := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	return n
}

type itemHeap []*item

func (h itemHeap) Len() int           { return len(h) }
func (h itemHeap) Less(i, j int) bool { return h.less(h[i], h[j]) }
func (itemHeap) less(a, b *item) bool {
	if a.rank != b.rank {
		return a.rank < b.rank
	}
	return a.seq < b.seq
}
func (h itemHeap) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h *itemHeap) Push(x any)   { *h = append(*h, x.(*item)) }
func (h *itemHeap) Pop() any {
	old := *h
	it := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	return it
}
