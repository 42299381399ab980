// Package fairqueue orders work that is due: first by class, where each class has a
// share so that none starves, then fairly among owners, then fairly among the domains
// of an owner, then by rank. It knows nothing of what it orders. Its caller locks.
package fairqueue

import "container/heap"

// Class says how much it costs if work waits.
type Class uint8

const (
	Urgent  Class = iota // a certificate expires soon or has expired
	First                // a first issuance
	Routine              // a renewal with time to spare
)

// strides are how far the virtual time of a class advances with each of its items: the
// smaller, the larger its share.
var strides = [...]uint64{Urgent: 1, First: 4, Routine: 8}

// Item is one piece of due work in a Queue.
type Item[T any] struct {
	Value T
	leaf  *node[T] // the group that it is in
	rank  int64    // in its group, smallest first
	seq   uint64   // when it was pushed: of equal ranks the oldest is first
	dead  bool     // it was popped or dropped; the heap still has it after Drop
}

// Queue orders items of due work by start-time fair queueing (Goyal, Vin and Cheng,
// SIGCOMM 1996): every group has a virtual time that advances as it is served, and the
// group with the least is next. A group that was empty begins at the present virtual
// time, so it gains nothing by having been idle. The zero value is an empty queue.
type Queue[T any] struct {
	root node[T]
	size int    // items that wait
	seq  uint64 // items pushed
	gone uint64 // items popped or dropped
}

// node is a group of groups or, at the bottom, of items.
type node[T any] struct {
	key    string
	parent *node[T]
	size   int    // items below that are not dead
	at     uint64 // virtual time at which it is served next
	born   uint64 // Queue.seq when it was made: of equal times the oldest is first
	stride uint64 // how far at advances with each item
	clock  uint64 // virtual time of its children
	kids   map[string]*node[T]
	queue  byOrder[*node[T]]
	items  byOrder[*Item[T]]
}

// groups are the keys of the groups that an item is in: class, owner, domain.
func groups(c Class, owner, domain string) [3]string {
	if owner == "" {
		owner = "\x00" + domain // without an owner each domain is one
	}
	return [3]string{string(rune('0' + c)), owner, domain}
}

// Len is how many items wait.
func (q *Queue[T]) Len() int { return q.size }

// Push adds work of a class, an owner ("": the domain is its own) and a domain. Within
// a domain the smallest rank is served first, and of equal ranks the oldest.
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
				kid.at += kid.stride // of classes that begin together the most pressing is first
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

// Pop removes and returns what is next; false: nothing waits.
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

// Drop removes an item. One that was popped or dropped before is left as it is, and so
// is nil.
func (q *Queue[T]) Drop(it *Item[T]) {
	if it != nil && !it.dead {
		q.leave(it)
	}
}

// leave counts an item out.
func (q *Queue[T]) leave(it *Item[T]) {
	it.dead = true
	it.leaf.add(-1)
	q.size--
	q.gone++
}

// pop takes the next item out of the heaps below a node, which may be dead; nil: none.
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

// Before reports whether a group has its turn before another.
func (n *node[T]) Before(o *node[T]) bool {
	if n.at != o.at {
		return n.at < o.at
	}
	return n.born < o.born
}

// Before reports whether an item of a group is served before another.
func (it *Item[T]) Before(o *Item[T]) bool {
	if it.rank != o.rank {
		return it.rank < o.rank
	}
	return it.seq < o.seq
}

// byOrder is a heap (container/heap) of what has an order; the first of all is [0].
type byOrder[E interface{ Before(E) bool }] []E

func (h byOrder[E]) Len() int           { return len(h) }
func (h byOrder[E]) Less(i, j int) bool { return h[i].Before(h[j]) }
func (h byOrder[E]) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *byOrder[E]) Push(x any)        { *h = append(*h, x.(E)) }
func (h *byOrder[E]) Pop() any {
	last := len(*h) - 1
	x := (*h)[last]
	clear((*h)[last:]) // for the garbage collector
	*h = (*h)[:last]
	return x
}
