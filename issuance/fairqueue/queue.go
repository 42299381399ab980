// Package fairqueue orders work that is due: by class, with shares that starve
// nothing, then fairly among owners, then fairly among an owner's domains, then by
// rank. It knows nothing of what it orders, and keeps no lock: its caller does.
package fairqueue

import "container/heap"

// Class orders work by what it costs to wait.
type Class uint8

const (
	Urgent  Class = iota // a certificate expires soon or has expired
	First                // a first issuance
	Routine              // a renewal with time to spare
)

// strides are the steps in virtual time: the smaller, the larger the share.
var strides = [...]uint64{Urgent: 1, First: 4, Routine: 8}

// Item is one piece of due work in a Queue.
type Item[T any] struct {
	Value T
	leaf  *node[T] // that it stands in
	// rank orders items of one group, smallest first.
	rank int64
	seq  uint64
	// dead items were taken back; they are skipped.
	dead bool
}

// Queue orders items of due work. Fairness is start-time fair queueing (Goyal, Vin
// and Cheng, SIGCOMM 1996): every group carries a virtual time that grows as it is
// served, and the group furthest behind is next. A group that falls empty takes no
// credit with it. The zero value is empty and ready for use.
type Queue[T any] struct {
	root node[T]
	size int
	seq  uint64
	gone uint64 // items popped or taken back
}

// node is a group: of groups, or at the bottom of items.
type node[T any] struct {
	key    string
	parent *node[T]
	size   int    // items below that are not dead
	at     uint64 // virtual time at which it is served next
	born   uint64
	stride uint64
	clock  uint64 // virtual time of its children
	kids   map[string]*node[T]
	queue  byOrder[*node[T]]
	items  byOrder[*Item[T]]
}

// groups says where an item belongs: class, owner, domain.
func groups(c Class, owner, domain string) [3]string {
	if owner == "" {
		owner = "\x00" + domain // without an owner each domain is its own
	}
	return [3]string{string(rune('0' + c)), owner, domain}
}

// Len is how many items wait.
func (q *Queue[T]) Len() int { return q.size }

// Push puts work into the queue of its class, owner ("": that of the domain alone)
// and domain, where the smallest rank is served first and of equals the oldest.
func (q *Queue[T]) Push(v T, c Class, owner, domain string, rank int64) *Item[T] {
	q.seq++
	q.size++
	it := &Item[T]{Value: v, rank: rank, seq: q.seq}
	n := &q.root
	for depth, key := range groups(c, owner, domain) {
		kid := n.kids[key]
		if kid == nil {
			kid = &node[T]{key: key, parent: n, at: n.clock, born: q.seq, stride: 1}
			if depth == 0 {
				kid.stride = strides[c]
				kid.at += kid.stride // of classes that come up together the more pressing is first
			}
			if n.kids == nil {
				n.kids = map[string]*node[T]{}
			}
			n.kids[key] = kid
			heap.Push(&n.queue, kid)
		}
		n = kid
	}
	it.leaf = n
	heap.Push(&n.items, it)
	n.add(1)
	return it
}

// add counts items in or out, up to the root.
func (n *node[T]) add(items int) {
	for ; n != nil; n = n.parent {
		n.size += items
	}
}

// Pop takes out what is next; false: nothing waits.
func (q *Queue[T]) Pop() (v T, ok bool) {
	for {
		it := q.root.pop()
		if it == nil {
			return v, false
		}
		if !it.dead {
			q.leave(it)
			return it.Value, true
		}
	}
}

// Drop takes an item back. One that was popped or taken back stays so; nil: none.
func (q *Queue[T]) Drop(it *Item[T]) {
	if it != nil && !it.dead {
		q.leave(it)
	}
}

func (q *Queue[T]) leave(it *Item[T]) {
	it.dead = true
	it.leaf.add(-1)
	q.size--
	q.gone++
}

func (n *node[T]) pop() *Item[T] {
	if n.items.Len() > 0 {
		return heap.Pop(&n.items).(*Item[T])
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

func (n *node[T]) before(o *node[T]) bool {
	if n.at != o.at {
		return n.at < o.at
	}
	return n.born < o.born
}

func (it *Item[T]) before(o *Item[T]) bool {
	if it.rank != o.rank {
		return it.rank < o.rank
	}
	return it.seq < o.seq
}

// byOrder is a heap (container/heap) of what has an order; the first of all is [0].
type byOrder[E interface{ before(E) bool }] []E

func (h byOrder[E]) Len() int           { return len(h) }
func (h byOrder[E]) Less(i, j int) bool { return h[i].before(h[j]) }
func (h byOrder[E]) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *byOrder[E]) Push(x any)        { *h = append(*h, x.(E)) }
func (h *byOrder[E]) Pop() any {
	last := len(*h) - 1
	x := (*h)[last]
	clear((*h)[last:]) // for the garbage collector
	*h = (*h)[:last]
	return x
}
