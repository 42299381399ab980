package issuance

import (
	"container/heap"
	"math"
	"time"
)

// dueHeap holds entries by the time they are due.
type dueHeap []*entry

func (h dueHeap) Len() int           { return len(h) }
func (h dueHeap) Less(i, j int) bool { return h[i].due < h[j].due }
func (h dueHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].slot, h[j].slot = int32(i), int32(j)
}
func (h *dueHeap) Push(x any) {
	e := x.(*entry)
	e.slot = int32(len(*h))
	*h = append(*h, e)
}
func (h *dueHeap) Pop() any {
	old := *h
	e := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	e.slot = -1
	return e
}

// at puts an entry into the heap at a time; the zero time takes it out.
func (h *dueHeap) at(e *entry, due time.Time) {
	switch {
	case due.IsZero() && e.slot >= 0:
		heap.Remove(h, int(e.slot))
	case due.IsZero():
	case e.slot >= 0:
		e.due = nanos(due)
		heap.Fix(h, int(e.slot))
	default:
		e.due = nanos(due)
		heap.Push(h, e)
	}
}

// nanos is a time in nanoseconds since 1970, or the nearest that int64 can hold:
// certificates may last until the year 9999.
func nanos(t time.Time) int64 {
	switch s := t.Unix(); {
	case s >= math.MaxInt64/int64(time.Second):
		return math.MaxInt64
	case s <= math.MinInt64/int64(time.Second):
		return math.MinInt64
	}
	return t.UnixNano()
}
