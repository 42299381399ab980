package controller

import (
	"container/heap"
	"time"
)

// Lane is where an entry waits and whose places it takes. Slow looks have places
// of their own, so that dead zones, however many, never delay others.
type lane uint8

const (
	laneFast lane = iota
	laneSlow
	laneJudge
	lanes
)

// PerDomain bounds the looks at names of one registered domain at a time, once
// one has shown that its servers are quick; before that, and where they are
// not, there is one.
const perDomain = 4

// PaceLimit and paceFor bound how many domains' paces are remembered, and for how
// long.
const (
	paceLimit = 1 << 16
	paceFor   = 10 * time.Minute
)

// SlowAfter is how long a look may take before its place is given to another.
const slowAfter = 300 * time.Millisecond

// Queue decides what is worked on next. It has no lock of its own.
type queue struct {
	quick *lru[bool] // by domain: was the last look at a name of it

	timer   timers
	lanes   [lanes]laneState
	domains map[string]*domainState
	turn    int
}

type laneState struct {
	limit, running int
	urgent         fifo
	unparked       fifo // had to let others of the same domain finish
	demanded       fifo
	timed          fifo
}

type domainState struct {
	running int
	parked  fifo
}

func newQueue(concurrency int) queue {
	q := queue{domains: make(map[string]*domainState), quick: newLRU[bool](paceLimit)}
	q.lanes[laneFast].limit = concurrency
	q.lanes[laneSlow].limit = max(concurrency/4, 1)
	q.lanes[laneJudge].limit = max(concurrency/4, 1)
	return q
}

// Schedule sets the timer of e.
func (q *queue) schedule(e *entry, at time.Time) {
	e.due = at.UnixNano()
	switch {
	case e.place >= 0:
		heap.Fix(&q.timer, int(e.place))
	case e.state == idle && !e.gone:
		heap.Push(&q.timer, e)
	}
}

// Demand asks for work on e as soon as may be.
func (q *queue) demand(e *entry, what work) {
	if e.gone {
		return
	}
	before := e.pending
	e.pending |= what
	switch {
	case e.state == running:
	case e.state == idle:
		q.enqueue(e, false)
	case what&workUrgent > before&workUrgent, what&workLook > before&workLook:
		// It waits already, as something lesser: now also here. Whoever comes
		// first finds it; the other finds it no longer waiting there.
		q.enqueue(e, false)
	}
}

// Enqueue puts e where its pending work belongs.
func (q *queue) enqueue(e *entry, timed bool) {
	if e.place >= 0 {
		heap.Remove(&q.timer, int(e.place))
	}
	e.state = queued
	e.lane = laneFast
	switch {
	case e.pending&workLook == 0:
		e.lane = laneJudge
	case q.isSlow(e):
		e.lane = laneSlow
	}
	l := &q.lanes[e.lane]
	switch {
	case e.pending&workUrgent != 0:
		l.urgent.push(e)
	case timed:
		l.timed.push(e)
	default:
		l.demanded.push(e)
	}
}

// Next returns an entry to be worked on now, its place taken, or nil.
func (q *queue) next(now time.Time) *entry {
	for len(q.timer) > 0 && q.timer[0].due <= now.UnixNano() {
		e := q.timer[0]
		e.pending |= workLook
		if e.hintDue <= e.due {
			e.hintDue = 0
		}
		q.enqueue(e, true)
	}
	for i := range q.lanes {
		l := &q.lanes[i]
		for l.running < l.limit {
			e := q.pop(l, lane(i))
			if e == nil {
				break
			}
			if !q.admit(e) {
				continue
			}
			e.state = running
			l.running++
			return e
		}
	}
	return nil
}

// Pop takes from a lane: what is urgent first; then one by the timer
// after three that were demanded, so that neither starves.
func (q *queue) pop(l *laneState, which lane) *entry {
	order := [...]*fifo{&l.urgent, &l.unparked, &l.demanded, &l.timed}
	if q.turn++; q.turn%4 == 0 {
		order[2], order[3] = order[3], order[2]
	}
	for _, f := range order {
		for e := f.pop(); e != nil; e = f.pop() {
			switch {
			case e.gone:
				q.unpark(q.domains[e.domain]) // it may have been its domain's turn
				q.leaveDomain(e.domain)
			case e.state != queued || e.lane != which:
			case which == laneFast && q.isSlow(e): // so it has turned out meanwhile
				q.enqueue(e, false)
			default:
				return e
			}
		}
	}
	return nil
}

// Unpark lets the next of a domain's parked entries try again.
func (q *queue) unpark(d *domainState) {
	for d != nil {
		e := d.parked.pop()
		if e == nil {
			return
		}
		if e.state == queued && !e.gone {
			q.lanes[e.lane].unparked.push(e)
			return
		}
	}
}

// LeaveDomain forgets a domain of which nothing runs or is parked.
func (q *queue) leaveDomain(domain string) {
	if d := q.domains[domain]; d != nil && d.running == 0 && d.parked.empty() {
		delete(q.domains, domain)
	}
}

// IsSlow reports whether looks at e, or at others of its domain, were slow.
func (q *queue) isSlow(e *entry) bool {
	quick, known := q.quick.get(e.domain)
	return known && !quick
}

// Limit is how many names of a domain may be looked at together.
func (q *queue) limit(domain string) int {
	if quick, _ := q.quick.get(domain); quick {
		return perDomain
	}
	return 1
}

// Paced records how a look at e went.
func (q *queue) paced(e *entry, quick bool) { q.quick.put(e.domain, quick, paceFor) }

// Admit counts e in its domain, or parks it there if the domain has its fill.
func (q *queue) admit(e *entry) bool {
	if e.lane == laneJudge {
		return true
	}
	d := q.domains[e.domain]
	if d == nil {
		d = &domainState{}
		q.domains[e.domain] = d
	}
	if d.running >= q.limit(e.domain) {
		d.parked.push(e)
		return false
	}
	d.running++
	return true
}

// Outlasts moves a running look to the slow lane's places. False: there is none
// left, and the look is to be given up.
func (q *queue) outlasts(e *entry) bool {
	if e.state != running || e.lane != laneFast {
		return true
	}
	if q.lanes[laneSlow].running >= q.lanes[laneSlow].limit {
		return false
	}
	q.lanes[laneFast].running--
	q.lanes[laneSlow].running++
	e.lane = laneSlow
	return true
}

// Done gives back what e held, and queues it again if more was demanded.
func (q *queue) done(e *entry) {
	q.lanes[e.lane].running--
	if e.lane != laneJudge {
		d := q.domains[e.domain]
		d.running--
		for range q.limit(e.domain) - d.running {
			q.unpark(d)
		}
		q.leaveDomain(e.domain)
	}
	e.state = idle
	switch {
	case e.gone:
	case e.pending != 0:
		q.enqueue(e, false)
	case e.due != 0:
		heap.Push(&q.timer, e)
	}
}

// Remove takes e out for good. A look under way ends by itself.
func (q *queue) remove(e *entry) {
	e.gone = true
	if e.place >= 0 {
		heap.Remove(&q.timer, int(e.place))
	}
}

// Wait is how long nothing will be due.
func (q *queue) wait(now time.Time) time.Duration {
	const most = time.Minute
	if len(q.timer) == 0 {
		return most
	}
	return min(max(time.Duration(q.timer[0].due-now.UnixNano()), 0), most)
}

// Waiting is how many entries are due and not yet worked on.
func (q *queue) waiting() int {
	n := 0
	for i := range q.lanes {
		l := &q.lanes[i]
		n += l.urgent.len() + l.unparked.len() + l.demanded.len() + l.timed.len()
	}
	for _, d := range q.domains {
		n += d.parked.len()
	}
	return n
}
