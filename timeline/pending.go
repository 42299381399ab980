package timeline

import (
	"strings"
	"sync"
	"time"
)

// pending holds what is to be written, by record, in the order in which each came first.
type pending struct {
	mu     sync.Mutex
	of     map[string]*waiting // by uid
	order  []string            // their uids
	weight int                 // events and endings that wait
	most   int                 // of them
}

// waiting is what waits for one record.
type waiting struct {
	uid   string
	since time.Time // of the first
	line  Line      // with the events that are to be added
	gone  bool      // the record has ended: its time line goes
}

func newPending(most int) *pending { return &pending{of: map[string]*waiting{}, most: most} }

// add has an event wait; false: there is no room.
func (p *pending) add(uid, hostname string, created time.Time, e Event, now time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	w := p.of[uid]
	switch {
	case w != nil && w.gone:
		return true // a look that outlasted its record
	case p.weight >= p.most:
		return false
	case w == nil:
		w = p.enter(uid, now)
		w.line.Hostname, w.line.Created = strings.Clone(hostname), created
	}
	if before := len(w.line.Events); w.line.Add(e) {
		p.weight += len(w.line.Events) - before
	}
	return true
}

// end has a record's time line removed in place of all that waits for it; false: there is
// no room.
func (p *pending) end(uid string, now time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	w := p.of[uid]
	switch {
	case w != nil:
		p.weight += 1 - w.weight()
	case p.weight >= p.most:
		return false
	default:
		w = p.enter(uid, now)
		p.weight++
	}
	w.gone, w.line = true, Line{}
	return true
}

// enter makes room for a record. p.mu is held.
func (p *pending) enter(uid string, now time.Time) *waiting {
	w := &waiting{uid: strings.Clone(uid), since: now} // it may be a part of a record
	p.of[w.uid] = w
	p.order = append(p.order, w.uid)
	return w
}

func (w *waiting) weight() int {
	if w.gone {
		return 1
	}
	return len(w.line.Events)
}

// take takes out the oldest that have waited since a time or before, most at most. Once
// the room is half used up, it does not matter how long they have waited.
func (p *pending) take(until time.Time, most int) (batch []*waiting) {
	p.mu.Lock()
	defer p.mu.Unlock()
	soon := p.weight > p.most/2
	for len(p.order) > 0 && len(batch) < most {
		w := p.of[p.order[0]]
		if w.since.After(until) && !soon {
			break
		}
		p.order = p.order[1:]
		delete(p.of, w.uid)
		p.weight -= w.weight()
		batch = append(batch, w)
	}
	if len(p.order) == 0 {
		p.order = nil
	}
	return batch
}

// back puts what could not be written in again, as of now; it returns how many records
// there was no room for.
func (p *pending) back(batch []*waiting, now time.Time) (lost int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, w := range batch {
		later := p.of[w.uid]
		switch {
		case later == nil && p.weight >= p.most:
			lost++
			continue
		case later == nil:
			w.since = now
			p.of[w.uid] = w
			p.order = append(p.order, w.uid)
			p.weight += w.weight()
		case !later.gone:
			p.weight -= later.weight()
			for _, e := range later.line.Events {
				w.line.Add(e)
			}
			later.line, later.gone = w.line, w.gone
			p.weight += later.weight()
		}
	}
	return lost
}

// next is when the oldest has waited for a while; false: none waits.
func (p *pending) next(while time.Duration) (time.Time, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.order) == 0 {
		return time.Time{}, false
	}
	w := p.of[p.order[0]]
	if p.weight > p.most/2 {
		return w.since, true
	}
	return w.since.Add(while), true
}

// events are a copy of what waits for a record, and whether it has ended.
func (p *pending) events(uid string) (l Line, gone bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if w := p.of[uid]; w != nil {
		l, gone = w.line, w.gone
		l.Events = append([]Event(nil), w.line.Events...)
	}
	return l, gone
}

// len is how many records wait.
func (p *pending) len() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.of)
}
