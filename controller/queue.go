package controller

import (
	"container/heap"
	"time"
)

// perDomain bounds the looks at names of one registered domain at a time, once
// one has shown that its servers are quick; before that, and where they are
// not, there is one.
const perDomain = 4

// queue decides what is worked on next. It has no lock of its own.
type queue struct {
	memory  memory
	timer   timers
	tracks  [tracks]trackState
	domains map[string]*domainState
	parked  int  // items that are parked, in all domains
	moved   bool // an item has been found in a track that is not its own any more
}

type trackState struct {
	limit, running int
	turn           int
	urgent         fifo
	unparked       fifo // had to let others of the same domain finish
	demanded       fifo
	timed          fifo
}

type domainState struct {
	running int
	parked  fifo
	behind  map[*item]struct{} // queued where slower ones are; see learn
}

func newQueue(concurrency int) queue {
	q := queue{domains: make(map[string]*domainState), memory: newMemory()}
	for i := range q.tracks {
		q.tracks[i].limit = places(track(i), concurrency)
	}
	return q
}

// schedule sets the timer of e.
func (q *queue) schedule(e *item, at time.Time) {
	e.due = at.UnixNano()
	switch {
	case e.place >= 0:
		heap.Fix(&q.timer, int(e.place))
	case e.state == idle && !e.gone && !e.elsewhere:
		heap.Push(&q.timer, e)
	}
}

// demand asks for work on e as soon as may be.
func (q *queue) demand(e *item, what work) {
	if e.gone || e.elsewhere && len(e.known().waiters) == 0 {
		return
	}
	if what&workLook != 0 {
		q.memory.stir(e.domain())
		if what&workHinted == 0 {
			what |= workOwed
		}
	}
	what &^= workHinted
	before := e.pending
	e.pending |= what
	switch {
	case e.state == running:
	case e.state == idle:
		q.enqueue(e, false)
	case what&workUrgent > before&workUrgent, what&workLook > before&workLook, what&workGlance > before&workGlance:
		// It waits already, as something lesser: now also here. Whoever comes
		// first finds it; the other finds it no longer waiting there.
		q.enqueue(e, false)
	}
}

// enqueue puts e where its pending work belongs.
func (q *queue) enqueue(e *item, timed bool) {
	if e.place >= 0 {
		heap.Remove(&q.timer, int(e.place))
	}
	e.state = queued
	l := q.join(e)
	switch {
	case e.pending&workUrgent != 0:
		l.urgent.push(e)
	case timed:
		l.timed.push(e)
	default:
		l.demanded.push(e)
	}
}

// join finds the track of e.
func (q *queue) join(e *item) *trackState {
	switch e.track = trackJudge; {
	case e.pending&workLook != 0:
		e.track = q.memory.of(e.domain())
	case e.pending&workGlance != 0:
		e.track = trackGlance
	}
	switch e.track {
	case trackSlow, trackDoubt, trackDead:
		d := q.domain(e.domain())
		if d.behind == nil {
			d.behind = make(map[*item]struct{})
		}
		d.behind[e] = struct{}{}
	default:
		q.ahead(e)
	}
	return &q.tracks[e.track]
}

// next returns an item to be worked on now, its place taken, or nil.
func (q *queue) next(now time.Time) *item {
	for len(q.timer) > 0 && q.timer[0].due <= now.UnixNano() {
		e := q.timer[0]
		e.pending |= workLook
		if owed := e.known().hintDue; owed == 0 || owed > e.due {
			e.pending |= workOwed
		} else {
			e.forget(func(r *rare) { r.hintDue = 0 })
		}
		q.enqueue(e, true)
	}
	for q.moved = true; q.moved; {
		q.moved = false
		for i := range q.tracks {
			l := &q.tracks[i]
			for l.running < l.limit {
				e := q.pop(l, track(i))
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
	}
	return nil
}

// pop takes from a track: what is urgent first; then one by the timer
// after three that were demanded, so that neither starves.
func (q *queue) pop(l *trackState, which track) *item {
	order := [...]*fifo{&l.urgent, &l.unparked, &l.demanded, &l.timed}
	if l.turn++; l.turn%4 == 0 {
		order[2], order[3] = order[3], order[2]
	}
	for _, f := range order {
		for e := f.pop(); e != nil; e = f.pop() {
			switch {
			case e.gone || e.elsewhere && e.state == idle:
				q.unpark(q.domains[e.domain()]) // it may have been its domain's turn
				q.leaveDomain(e.domain())
			case e.state != queued || e.track != which:
			case which < trackJudge && which != q.memory.of(e.domain()): // so it has turned out meanwhile
				q.enqueue(e, false)
				q.moved = true
			default:
				return e
			}
		}
	}
	return nil
}

// unpark lets the next of a domain's parked items try again.
func (q *queue) unpark(d *domainState) {
	for d != nil {
		e := d.parked.pop()
		if e == nil {
			return
		}
		q.parked--
		if e.state == queued && !e.gone {
			q.join(e).unparked.push(e)
			return
		}
	}
}

// leaveDomain forgets a domain of which nothing runs or is parked.
func (q *queue) leaveDomain(domain string) {
	if d := q.domains[domain]; d != nil && d.running == 0 && len(d.parked) == 0 && len(d.behind) == 0 {
		delete(q.domains, domain)
	}
}

// domain returns the state of a domain, new if there is none.
func (q *queue) domain(name string) *domainState {
	d := q.domains[name]
	if d == nil {
		d = &domainState{}
		q.domains[name] = d
	}
	return d
}

// ahead says that e does not wait where slower ones are.
func (q *queue) ahead(e *item) {
	if d := q.domains[e.domain()]; d != nil {
		delete(d.behind, e)
		q.leaveDomain(e.domain())
	}
}

// limit is how many names of a domain may be looked at together.
func (q *queue) limit(domain string) int {
	if q.memory.of(domain) == trackFast {
		return perDomain
	}
	return 1
}

// learn records how a look at e went. If its domain is better than was held of
// it, its other names no longer wait among those that are as it was.
func (q *queue) learn(e *item, took time.Duration, heard bool, now time.Time) {
	before := q.memory.of(e.domain())
	after := trackAfter(before, took, heard)
	q.memory.put(e.domain(), after, now)
	if d := q.domains[e.domain()]; d != nil && after < before {
		for e := range d.behind {
			q.enqueue(e, false)
		}
	}
}

// admit counts e in its domain, or parks it there if the domain has its fill.
func (q *queue) admit(e *item) bool {
	if e.track >= trackJudge {
		return true
	}
	d := q.domain(e.domain())
	delete(d.behind, e)
	if d.running >= q.limit(e.domain()) {
		d.parked.push(e)
		q.parked++
		return false
	}
	d.running++
	return true
}

// outlasts moves a running look whose track's patience is over to the places of
// those that are like it. False: there is none left; the look is to be given up,
// and begins again among them.
func (q *queue) outlasts(e *item, heard bool, now time.Time) bool {
	if e.state != running {
		return true
	}
	to := outlasting(e.track, heard)
	if to == e.track {
		return true
	}
	if q.tracks[to].running >= q.tracks[to].limit {
		q.memory.put(e.domain(), to, now)
		return false
	}
	q.tracks[e.track].running--
	q.tracks[to].running++
	e.track = to
	return true
}

// done gives back what e held, and queues it again if more was demanded.
func (q *queue) done(e *item) {
	q.tracks[e.track].running--
	if e.track < trackJudge {
		d := q.domains[e.domain()]
		d.running--
		for range q.limit(e.domain()) - d.running {
			q.unpark(d)
		}
		q.leaveDomain(e.domain())
	}
	e.state = idle
	switch {
	case e.gone:
	case e.elsewhere && len(e.known().waiters) == 0:
		e.pending, e.due = 0, 0
	case e.pending != 0:
		q.enqueue(e, false)
	case e.due != 0 && !e.elsewhere:
		heap.Push(&q.timer, e)
	}
}

// leave takes e out until it is this node's again. A look under way, or one that somebody
// waits for, ends by itself.
func (q *queue) leave(e *item) {
	e.elsewhere, e.gained = true, false
	if e.place >= 0 {
		heap.Remove(&q.timer, int(e.place))
	}
	if e.state == running || len(e.known().waiters) > 0 {
		return
	}
	q.ahead(e)
	e.state, e.pending, e.due = idle, 0, 0
	e.forget(func(r *rare) { r.hintDue = 0 })
}

// remove takes e out for good. A look under way ends by itself.
func (q *queue) remove(e *item) {
	e.gone = true
	q.ahead(e)
	if e.place >= 0 {
		heap.Remove(&q.timer, int(e.place))
	}
}

// wait is how long nothing will be due.
func (q *queue) wait(now time.Time) time.Duration {
	const most = time.Minute
	if len(q.timer) == 0 {
		return most
	}
	return min(max(time.Duration(q.timer[0].due-now.UnixNano()), 0), most)
}

// waiting is how many items are due and not yet worked on. It is asked after every look
// and does not walk the domains, of which there may be as many as there are records.
func (q *queue) waiting() int {
	n := q.parked
	for i := range q.tracks {
		l := &q.tracks[i]
		n += len(l.urgent) + len(l.unparked) + len(l.demanded) + len(l.timed)
	}
	return n
}
