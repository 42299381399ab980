package issuance

import (
	"container/heap"
	"context"
	"time"
)

// entry is what the scheduler has in memory of one hostname.
type entry struct {
	hostname string
	want     Want
	wanted   bool
	dropped  bool // Forget was called: nothing is worth keeping but a certificate
	rec      record
	revision int64 // of the store's copy of rec
	// since is when the hostname became due for the first time, for its age.
	since time.Time
	// looked: storage was searched for a certificate that the index does not
	// know, or need not be.
	looked bool
	// soon overrides waits of our own making, not of a CA's: a retry was asked for.
	soon bool

	// At most one of these is set: due waits in the heap until then; ready
	// stands in a lane; flight is being worked on.
	due    time.Time
	index  int // in the heap, -1 if not there
	ready  *item
	lane   *lane
	flight *flight
	// changed: a Want or Forget came while in flight.
	changed bool
}

// flight is work under way on a hostname.
type flight struct {
	began     time.Time
	ca        string
	challenge string
	order     bool // it may order, as opposed to looking into storage
	ocsp      bool // it asks an OCSP responder
	cancel    context.CancelFunc
	done      chan struct{}
}

// step is what an entry needs next.
type step uint8

const (
	stepNone  step = iota
	stepLook       // search storage
	stepOrder      // obtain or renew
	stepARI        // ask the CA for its renewal window
	stepOCSP       // ask an OCSP responder whether the CA has revoked
	stepDrop       // forget an expired certificate of a hostname without a record
)

// keepExpired is how long the certificate of a hostname without a record is
// remembered after it expired.
const keepExpired = 7 * 24 * time.Hour

// next decides what an entry needs and when; stepNone: nothing until a Want.
func (e *entry) next(now time.Time) (step, time.Time) {
	r := &e.rec
	if !e.wanted {
		if r.has() {
			return stepDrop, unix(r.NotAfter).Add(keepExpired)
		}
		if e.dropped && !r.empty() {
			return stepDrop, e.remembered(now)
		}
		return stepNone, time.Time{}
	}
	if !e.looked && !r.has() {
		return stepLook, now
	}
	have := r.has() && r.proves(e.want)
	at := now
	if have {
		at = unix(r.Renewal)
	} else if f := factsOf(e.want); !f.DNS01 && !f.HTTP01 {
		return stepNone, time.Time{} // no challenge can succeed yet
	}
	if t := r.Trouble; t != nil {
		switch until := unix(t.Until); {
		case e.soon:
		case until.IsZero():
			at = time.Time{} // not again by itself
		case until.After(at):
			at = until
		}
		if spared := e.spared(now); !at.IsZero() && spared.After(at) {
			at = spared
		}
	}
	if have {
		if st, poll := r.poll(); st != stepNone && (at.IsZero() || poll.Before(at)) {
			return st, poll
		}
	}
	if at.IsZero() {
		return stepNone, at
	}
	return stepOrder, at
}

// spared is the earliest time that leaves the CA's count of failed
// validations, five an hour for a hostname, below its limit.
func (e *entry) spared(now time.Time) time.Time {
	t := e.rec.Trouble
	if t == nil || len(t.Failed) < maxFailed {
		return now
	}
	return unix(t.Failed[len(t.Failed)-maxFailed]).Add(time.Hour)
}

// remembered is how long the failures of a hostname that is wanted no more are
// kept: a CA counts them for an hour, and DNS may come back before.
func (e *entry) remembered(now time.Time) time.Time {
	t := e.rec.Trouble
	if t == nil || len(t.Failed) == 0 {
		return now
	}
	return unix(t.Failed[len(t.Failed)-1]).Add(time.Hour)
}

// maxFailed is one below Let's Encrypt's limit of failed validations an hour.
const maxFailed = 4

// urgency of an entry's order and its rank among its like.
func (e *entry) urgency(now time.Time) (urgency, int64) {
	if e.rec.has() && e.rec.proves(e.want) {
		if e.rec.OCSP.revoked() {
			return urgent, e.rec.OCSP.Revoked
		}
		return urgencyOf(unix(e.rec.Renewal), unix(e.rec.NotAfter), now), e.rec.NotAfter
	}
	return first, e.since.UnixNano()
}

// dueHeap holds entries by the time they are due.
type dueHeap []*entry

func (h dueHeap) Len() int           { return len(h) }
func (h dueHeap) Less(i, j int) bool { return h[i].due.Before(h[j].due) }
func (h dueHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}
func (h *dueHeap) Push(x any) {
	e := x.(*entry)
	e.index = len(*h)
	*h = append(*h, e)
}
func (h *dueHeap) Pop() any {
	old := *h
	e := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	e.index = -1
	return e
}

// at puts an entry at its time, or takes it out with the zero time.
func (h *dueHeap) at(e *entry, due time.Time) {
	switch {
	case due.IsZero() && e.index >= 0:
		heap.Remove(h, e.index)
	case due.IsZero():
	case e.index >= 0:
		e.due = due
		heap.Fix(h, e.index)
	default:
		e.due = due
		heap.Push(h, e)
	}
}
