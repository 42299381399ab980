package webhook

import (
	"cmp"
	"slices"
	"time"
)

const (
	// MaxWaiting bounds the entries that wait for one endpoint: of more, the oldest
	// is dropped. MaxGivenUp bounds those that are kept for replay.
	MaxWaiting = 10_000
	MaxGivenUp = 1_000
	// maxFlights is how many deliveries are under way to one endpoint.
	maxFlights = 4
	// outage is after how many failures of the endpoint, one after the other, all
	// that has waited for it is due as soon as it is well again.
	outage = 3
)

// item is what is known in memory of an entry.
type item struct {
	id, record string
	queued     time.Time
	tries      int
	next       time.Time // zero: at once
	reason     string
	givenUp    time.Time
	flying     bool
}

// line is an endpoint's queue. It is not safe for concurrent use.
type line struct {
	items    []*item // by queued, then id
	state    state
	waiting  int // of items, those that are not given up
	flights  int
	failures int       // of the endpoint itself, one after the other
	paused   time.Time // nothing is sent before
}

func byAge(a, b *item) int { return cmp.Or(a.queued.Compare(b.queued), cmp.Compare(a.id, b.id)) }

// find is the place of an item.
func (l *line) find(it *item) (int, bool) { return slices.BinarySearchFunc(l.items, it, byAge) }

func (l *line) has(id string) bool {
	return slices.ContainsFunc(l.items, func(it *item) bool { return it.id == id })
}

// add takes an item in.
func (l *line) add(it *item) {
	at, found := l.find(it)
	if found {
		return
	}
	l.items = slices.Insert(l.items, at, it)
	if it.givenUp.IsZero() {
		l.waiting++
	}
}

// remove takes an item out.
func (l *line) remove(it *item) {
	at, found := l.find(it)
	if !found || l.items[at] != it {
		return
	}
	l.items = slices.Delete(l.items, at, at+1)
	if it.givenUp.IsZero() {
		l.waiting--
	}
}

// giveUp keeps an item for replay alone.
func (l *line) giveUp(it *item, now time.Time) {
	if it.givenUp.IsZero() {
		it.givenUp = now
		l.waiting--
	}
}

// surplus is what there is too much of, the oldest first, and not under way.
func (l *line) surplus() (dropped []*item) {
	waiting, givenUp := l.waiting-MaxWaiting, len(l.items)-l.waiting-MaxGivenUp
	for _, it := range l.items {
		if waiting <= 0 && givenUp <= 0 {
			break
		}
		left := &waiting
		if !it.givenUp.IsZero() {
			left = &givenUp
		}
		if *left > 0 && !it.flying {
			*left--
			dropped = append(dropped, it)
		}
	}
	return dropped
}

// stale is what is to be given up, and what is to be forgotten, for its age.
func (l *line) stale(now time.Time) (giveUp, forget []*item) {
	for _, it := range l.items {
		switch {
		case it.flying:
		case it.givenUp.IsZero() && now.Sub(it.queued) >= keepFor:
			giveUp = append(giveUp, it)
		case !it.givenUp.IsZero() && now.Sub(it.givenUp) >= keepFor:
			forget = append(forget, it)
		}
	}
	return giveUp, forget
}

// pick takes what is to be sent now: the oldest that is due, of a record of which
// nothing is under way. If nil, there may be something at the time that it returns; the
// zero time: not before something changes.
func (l *line) pick(now time.Time) (*item, time.Time) {
	most := maxFlights
	if l.failures > 0 {
		most = 1 // a probe
	}
	if !l.state.Gone.IsZero() || l.flights >= most {
		return nil, time.Time{}
	}
	if now.Before(l.paused) {
		return nil, l.paused
	}
	var busy map[string]bool
	if l.flights > 0 {
		busy = map[string]bool{}
		for _, it := range l.items {
			if it.flying {
				busy[it.record] = true
			}
		}
	}
	var soonest time.Time
	for _, it := range l.items {
		switch {
		case it.flying || !it.givenUp.IsZero() || it.record != "" && busy[it.record]:
		case it.next.After(now):
			if soonest.IsZero() || it.next.Before(soonest) {
				soonest = it.next
			}
		default:
			it.flying = true
			l.flights++
			return it, time.Time{}
		}
	}
	return nil, soonest
}

// landed ends what pick began, after settle and once the store has what came of it.
func (l *line) landed(it *item) {
	it.flying = false
	l.flights--
}

// settle says of an item that was picked what became of it. It returns whether the
// item is done with.
func (l *line) settle(it *item, o outcome, now time.Time) (done bool) {
	if o.verdict == aborted {
		return false
	}
	l.note(o, now)
	if o.verdict == delivered {
		return true
	}
	it.tries++
	it.reason = o.reason
	it.next = now.Add(pause(entryPauses, it.tries, it.id))
	if o.notBefore.After(it.next) {
		it.next = o.notBefore
	}
	if now.Sub(it.queued) >= keepFor {
		l.giveUp(it, now)
	}
	if o.verdict == gone {
		for _, other := range l.items {
			if other == it || !other.flying {
				other.reason = o.reason
				l.giveUp(other, now)
			}
		}
	}
	return false
}

// note says what a try tells of the endpoint.
func (l *line) note(o outcome, now time.Time) {
	if o.verdict == delivered {
		l.state.LastSuccess, l.state.Gone = now, time.Time{}
	} else {
		l.state.LastFailure, l.state.Reason = now, o.reason
	}
	switch o.verdict {
	case unwell:
		l.failures++
		l.paused = now.Add(pause(endpointPauses, l.failures, l.state.Reason))
		if o.notBefore.After(l.paused) {
			l.paused = o.notBefore
		}
	case gone:
		l.state.Gone = now
	default: // it answers
		if l.failures >= outage {
			l.due()
		}
		l.failures, l.paused = 0, time.Time{}
	}
}

// due makes everything that waits due now.
func (l *line) due() {
	for _, it := range l.items {
		it.next = time.Time{}
	}
}

// nextTry is when the next try comes; zero: none is waited for.
func (l *line) nextTry() (next time.Time) {
	if !l.state.Gone.IsZero() {
		return next
	}
	found := false
	for _, it := range l.items {
		if it.givenUp.IsZero() && (!found || it.next.Before(next)) {
			next, found = it.next, true
		}
	}
	if found && next.Before(l.paused) {
		next = l.paused
	}
	return next
}
