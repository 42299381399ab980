package fairqueue

// aheadLooks is how many items and groups Ahead looks at.
const aheadLooks = 2000

// Ahead returns how many items are served before this one if no others come. Where
// there are more than aheadLooks to look at, it is an estimate: what was counted or, if
// that is more, the number of older items that still wait.
func (q *Queue[T]) Ahead(it *Item[T]) int {
	looks := aheadLooks
	n := itemsBefore(it.leaf.items, it, 0, &looks)
	for own := it.leaf; own.parent != nil && looks > 0; own = own.parent {
		turn := own.at + uint64(n)*own.stride // the group's time when it has served n items
		n += servedBefore(own.parent.queue, own, turn, 0, &looks)
	}
	if looks <= 0 { // older items that still wait
		n = max(n, int(it.seq-1)-int(q.gone))
	}
	return min(n, max(q.size-1, 0))
}

// itemsBefore counts the items below the i-th place of a heap that go before one. It
// looks at as many as looks says, which it counts down.
func itemsBefore[T any](h byOrder[*Item[T]], it *Item[T], i int, looks *int) (n int) {
	if i >= len(h) || *looks <= 0 {
		return 0
	}
	*looks--
	if !h[i].Before(it) {
		return 0 // nor does anything below it
	}
	if !h[i].dead {
		n++
	}
	return n + itemsBefore(h, it, 2*i+1, looks) + itemsBefore(h, it, 2*i+2, looks)
}

// servedBefore counts the items that the groups below the i-th place of a heap serve
// before the group own has its turn, at a virtual time. looks is as in itemsBefore.
func servedBefore[T any](h byOrder[*node[T]], own *node[T], turn uint64, i int, looks *int) (n int) {
	if i >= len(h) || *looks <= 0 {
		return 0
	}
	*looks--
	k := h[i]
	if k.at > turn || k.at == turn && k.born > own.born {
		return 0
	}
	if k != own {
		turns := (turn - k.at + k.stride - 1) / k.stride
		if (turn-k.at)%k.stride == 0 && k.born < own.born {
			turns++
		}
		n = min(int(min(turns, 1<<40)), k.size)
	}
	return n + servedBefore(h, own, turn, 2*i+1, looks) + servedBefore(h, own, turn, 2*i+2, looks)
}

// Next returns what Pop would; false: nothing waits.
func (q *Queue[T]) Next() (v T, ok bool) {
	for q.size > 0 {
		n := &q.root
		for n.items.Len() == 0 {
			n = n.queue[0]
		}
		if it := n.items[0]; !it.dead {
			return it.Value, true
		}
		q.root.pop() // the same one, which is dead
	}
	return v, false
}
