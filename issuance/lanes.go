package issuance

import (
	"maps"
	"time"

	"github.com/apoxy-dev/caddy-apoxy/internal/times"
	"github.com/apoxy-dev/caddy-apoxy/issuance/acme"
	"github.com/apoxy-dev/caddy-apoxy/issuance/fairqueue"
)

// lane holds entries that are due, for one CA and one kind of step.
type lane struct {
	laneKey
	ca     *ca // nil: work that asks no CA for an order
	queue  fairqueue.Queue[waiting]
	parked bool // its entries may use no configured CA
	stale  bool // its entries are to be placed anew
}

// laneKey tells lanes apart.
type laneKey struct {
	ca     string // key of the CA, empty for none
	exempt bool   // its orders do not count against the CA's limits and our budget
	ocsp   bool   // it asks OCSP responders; apart, so that slow ones delay nothing else
}

// waiting is an entry in a lane.
type waiting struct {
	entry *entry
	lane  *lane
}

// place puts an entry where it belongs now: into the heap, or into a lane if it is due.
// es.mu must be held.
func (es *entries) place(e *entry) {
	if e.flight() != nil {
		e.flight().changed = true
		return
	}
	es.unplace(e)
	if !es.mine(e.hostname) {
		return
	}
	now := es.now()
	st, at := e.next(now)
	switch {
	case st == stepNone:
		if !e.wanted && e.empty() && e.upload() == nil && es.loaded {
			es.drop(e)
		}
	case at.After(now) || !es.loaded:
		es.due.at(e, at)
	default:
		es.route(e, st, now)
	}
}

// unplace takes an entry out of heap and lane. es.mu must be held.
func (es *entries) unplace(e *entry) {
	es.due.at(e, time.Time{})
	es.resume(e)
	if e.ready() != nil {
		e.ready().Value.lane.queue.Drop(e.ready())
		e.turn = nil
	}
}

// putOffTo notes that an entry waits until a CA is released. es.mu must be held.
func (es *entries) putOffTo(e *entry, c *ca) {
	es.putOff[e] = c.Key
	es.heldAt[c.Key]++
}

// resume notes that an entry waits for no release any more. es.mu must be held.
func (es *entries) resume(e *entry) {
	for _, of := range [...]map[*entry]string{es.putOff, es.freed} {
		key, ok := of[e]
		if !ok {
			continue
		}
		delete(of, e)
		if es.heldAt[key]--; es.heldAt[key] == 0 {
			delete(es.heldAt, key)
		}
	}
}

// route puts a due entry into a lane. If all CAs that it may use are held, it puts it
// into the heap until the first of them may be asked again. es.mu must be held.
func (es *entries) route(e *entry, st step, now time.Time) {
	all := es.issuers.cas()
	switch {
	case len(all) == 0:
		es.enter(e, es.parked, now)
		return
	case st != stepOrder:
		es.enter(e, es.lane(nil, laneKey{ocsp: st == stepOCSP}), now)
		return
	}
	cas := usable(all, e.asks(), e.trouble(), e.soon)
	if len(cas) == 0 {
		es.enter(e, es.parked, now)
		return
	}
	if o := e.working(); o != nil { // to the CA that works on it; its order is spent already
		for _, c := range cas {
			if _, held := es.ledger.held(c, e.hostname, now); o.AtWork(c.Key) && !held {
				es.enter(e, es.lane(c, laneKey{exempt: true}), now)
				return
			}
		}
	}
	var release time.Time
	var first *ca
	for _, c := range cas {
		h, held := es.ledger.held(c, e.hostname, now)
		if !held {
			es.enter(e, es.lane(c, laneKey{exempt: e.replaces(c)}), now)
			return
		}
		if release.IsZero() || h.Until.Before(release) {
			release, first = h.Until, c
		}
	}
	es.putOffTo(e, first)
	es.due.at(e, release.Add(resumeJitter(release.Sub(now), times.Fraction(e.hostname+release.String()))))
}

// lane returns the lane of a CA, nil for none, and a key. es.mu must be held.
func (es *entries) lane(c *ca, key laneKey) *lane {
	if c != nil {
		key.ca = c.Key
	}
	l := es.lanes[key]
	if l == nil {
		l = &lane{laneKey: key}
		es.lanes[key] = l
	}
	l.ca = c // as it is configured now
	return l
}

// enter puts an entry into a lane. es.mu must be held.
func (es *entries) enter(e *entry, l *lane, now time.Time) {
	u, rank := e.urgency(now)
	e.turn = &turn{ready: l.queue.Push(waiting{e, l}, u, e.tenant(), acme.RegisteredDomain(e.hostname), rank)}
}

// reroute marks all entries that are due or put off, so that sort places them anew, a
// batch at a time. es.mu must be held.
func (es *entries) reroute() {
	es.sorted = es.now()
	from := len(es.stale)
	for _, l := range es.lanes {
		es.stale = append(es.stale, l)
	}
	clear(es.lanes)
	es.stale = append(es.stale, es.parked)
	for _, l := range es.stale[from:] {
		l.stale = true
	}
	es.parked = &lane{parked: true}
	if len(es.freed) == 0 {
		es.freed, es.putOff = es.putOff, es.freed
	} else {
		maps.Copy(es.freed, es.putOff)
		clear(es.putOff)
	}
}
