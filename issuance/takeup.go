package issuance

import (
	"context"
	"time"
)

const (
	// resortInterval is how often all due entries are placed anew, because what has
	// waited for long may have become urgent.
	resortInterval = time.Hour
	// batch is how many entries are moved while the lock is held once: an Observe must
	// not wait for long when a million hostnames are due.
	batch = 256
)

// takeUp moves entries that have become due into lanes, and puts as many in flight as
// there is room for. Their work ends with ctx.
func (es *entries) takeUp(ctx context.Context) []taken {
	for ctx.Err() == nil && es.sort() {
	}
	es.mu.Lock()
	defer es.mu.Unlock()
	now := es.now()
	var out []taken
	moved := 0
	for _, l := range es.lanes {
		for l.queue.Len() > 0 && moved < batch && es.open(l, now) {
			w, _ := l.queue.Pop()
			e := w.entry
			e.turn = nil
			if st, ok := es.stillDue(e, l, now); ok {
				out = append(out, es.start(ctx, e, st, l, now))
				continue
			}
			es.place(e)
			moved++
		}
	}
	if moved >= batch {
		es.poke() // there may be more
	}
	es.measure(now)
	return out
}

// stillDue returns what an entry needs whose turn in a lane it is; false: it does not
// belong into this lane any more.
func (es *entries) stillDue(e *entry, l *lane, now time.Time) (step, bool) {
	st, at := e.next(now)
	if st == stepNone || at.After(now) || st == stepOrder && l.ca == nil {
		return st, false
	}
	if st == stepOrder {
		if _, held := es.ledger.held(l.ca, e.hostname, now); held {
			return st, false
		}
	}
	return st, true
}

// sort places a batch of the entries that have become due or were marked by reroute. It
// reports whether there may be more.
func (es *entries) sort() bool {
	es.mu.Lock()
	defer es.mu.Unlock()
	now := es.now()
	if now.Sub(es.sorted) > resortInterval {
		es.reroute() // what waited long may have become pressing
	}
	moved := 0
	for e := range es.freed {
		if moved == batch {
			return true
		}
		moved++
		es.resume(e)
		if e.flight() == nil {
			es.place(e)
		}
	}
	for range batch {
		if n := len(es.stale); n > 0 {
			if w, ok := es.stale[n-1].queue.Pop(); ok {
				w.entry.turn = nil
				es.place(w.entry)
			} else {
				es.stale[n-1] = nil
				es.stale = es.stale[:n-1]
			}
			continue
		}
		if len(es.due) == 0 || es.due[0].due > now.UnixNano() {
			return false
		}
		e := es.due[0]
		es.place(e)
		if e.slot >= 0 && e.due <= now.UnixNano() {
			return false // it is due again at once, so pause waits before the next round
		}
	}
	return true
}

// measure sets the gauges and forgets empty lanes. es.mu must be held.
func (es *entries) measure(now time.Time) {
	depth, forecast, age := 0, time.Duration(0), time.Duration(0)
	for key, l := range es.lanes {
		n := l.queue.Len()
		depth += n
		if l.ca != nil && !l.exempt && n > 0 {
			forecast = max(forecast, es.ledger.forecast(l.ca, now, n-1))
		}
		if w, ok := l.queue.Next(); ok {
			age = max(age, now.Sub(w.entry.dueSince()))
		}
		if n == 0 {
			delete(es.lanes, key)
		}
	}
	queueDepth.Set(float64(depth))
	queueForecast.Set(forecast.Seconds())
	queueAge.Set(age.Seconds())
}

// open reports whether an entry of a lane may be put in flight. es.mu must be held.
func (es *entries) open(l *lane, now time.Time) bool {
	switch {
	case l.ocsp:
		return es.asking < ocspConcurrency
	case l.ca == nil:
		return es.beside < besideConcurrency
	case es.flying >= es.orders || es.closed:
		return false
	}
	if _, held := es.ledger.heldCA(l.ca, now); held {
		return true // takeUp then places its entries elsewhere
	}
	return l.exempt || es.spare(l.ca, now)
}

// spare reports whether the budget of a CA allows more orders than those in flight that
// have not spent from it yet. No more are taken up: otherwise the first of them that is
// done with DNS would spend what another one's turn was, and a slow one might never
// spend.
func (es *entries) spare(c *ca, now time.Time) bool {
	return es.ledger.room(c, now) > es.booked[c.LedgerKey()]
}

// pause is how long Run may sleep: until an entry becomes due or a budget has room again.
func (es *entries) pause() time.Duration {
	es.mu.Lock()
	defer es.mu.Unlock()
	now := es.now()
	next := now.Add(time.Hour)
	if len(es.due) > 0 && es.due[0].due < next.UnixNano() {
		next = time.Unix(0, es.due[0].due)
	}
	for _, l := range es.lanes {
		switch {
		case l.queue.Len() == 0:
		case es.open(l, now):
			next = now // it was filled after takeUp had looked at it
		case l.ca == nil || l.exempt || es.closed || es.flying >= es.orders:
			// Run is woken when work lands
		case es.ledger.room(l.ca, now) > 0:
			// Run is woken when a flight has spent what it booked
		default:
			if free := es.ledger.free(l.ca, now); free.Before(next) {
				next = free
			}
		}
	}
	return max(next.Sub(now), time.Millisecond)
}
