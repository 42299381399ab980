package issuance

import (
	"context"
	"fmt"
	"time"

	"github.com/apoxy-dev/caddy-apoxy/issuance/acme"
)

// flight is an entry that is worked on. Its fields are under the lock of the entries; the
// job reports through its methods what Observe is to tell (desk).
type flight struct {
	es      *entries
	entry   *entry
	ca      string // host of the CA that is asked for an order, if order is set
	order   bool   // its step is stepOrder
	probed  bool   // DNS and CAA were asked, and allow the order
	ocsp    bool   // its step is stepOCSP
	cancel  context.CancelFunc
	done    chan struct{} // closed when it has landed
	changed bool          // its entry was to be placed meanwhile: a Want or Forget came
	missed  *learnt       // the last dossier from the store that came meanwhile, nil for none
	booked  *ca           // whose budget has room for it that it has not spent yet, nil for none
}

// taken is a copy of an entry when it was put in flight.
type taken struct {
	flight *flight
	ctx    context.Context // ends the work
	want   Want
	rec    dossier
	step   step
	term   string  // Config.Term when it was put in flight
	upload *upload // the customer's own certificate, nil for none
	warn   int     // of how many days before its end is to be warned, 0 for none
	cas    []*ca   // that may be asked, best first
	// unchanged reports that Observe tells the same as before it was put in flight.
	unchanged bool
}

// fly puts an entry in flight. c is the CA of an order, nil for another step. es.mu must
// be held.
func (es *entries) fly(e *entry, st step, c *ca, cancel context.CancelFunc) *flight {
	es.unplace(e)
	f := &flight{es: es, entry: e, order: st == stepOrder, ocsp: st == stepOCSP, cancel: cancel, done: make(chan struct{})}
	if c != nil {
		f.ca = c.Auth.Host()
	}
	e.turn = &turn{flight: f}
	es.flights[f] = true
	*es.slots(f)++
	return f
}

// slots is the counter of flights of this one's kind. es.mu must be held.
func (es *entries) slots(f *flight) *int {
	switch {
	case f.order:
		return &es.flying
	case f.ocsp:
		return &es.asking
	}
	return &es.beside
}

// start puts an entry in flight whose turn in a lane it is. es.mu must be held.
func (es *entries) start(ctx context.Context, e *entry, st step, l *lane, now time.Time) taken {
	t := taken{step: st, term: es.term(), want: e.want(), rec: e.dossier(), upload: e.upload(), warn: e.warning(now), unchanged: st != stepOrder || e.working() != nil || e.keptBack() != nil, cas: es.issuers.cas()}
	if st == stepOrder {
		cas := usable(t.cas, e.asks(), e.trouble(), e.soon)
		t.cas = []*ca{l.ca}
		for _, other := range cas {
			if _, held := es.ledger.held(other, e.hostname, now); other.Key != l.ca.Key && !held {
				t.cas = append(t.cas, other)
			}
		}
	}
	ctx, cancel := context.WithCancel(ctx)
	t.ctx, t.flight = ctx, es.fly(e, st, l.ca, cancel)
	if e.soon = false; st == stepOrder && !l.exempt {
		t.flight.booked = l.ca
		es.booked[l.ca.LedgerKey()]++
	}
	return t
}

// seize puts a hostname in flight for a caller other than Run, once any other flight of
// it has landed. c is the CA to order at, nil for another step. may is called with the
// entry, nil if there is none, and the lock held; its error is returned.
func (es *entries) seize(ctx context.Context, hostname string, c *ca, may func(*entry) error) (taken, error) {
	for {
		es.mu.Lock()
		e := es.of.get(hostname)
		if err := may(e); err != nil {
			es.mu.Unlock()
			return taken{}, err
		}
		if f := e.flight(); f != nil {
			es.mu.Unlock()
			select {
			case <-f.done:
				continue
			case <-ctx.Done():
				return taken{}, fmt.Errorf("waiting for the work on %s: %w", hostname, ctx.Err())
			}
		}
		t := taken{ctx: ctx, term: es.term(), want: e.want(), rec: e.dossier(), step: stepSearch, cas: es.issuers.cas()}
		if c != nil {
			t.step, t.cas = stepOrder, []*ca{c}
		}
		t.flight = es.fly(e, t.step, c, func() {})
		es.mu.Unlock()
		return t, nil
	}
}

// landing is the result of a job.
type landing struct {
	rec       dossier
	save      bool          // rec must be written to the store
	looked    bool          // storage was searched
	over      bool          // another node may have done it again: what came from the store meanwhile counts
	again     time.Duration // the least time until the next step; 0: as next says
	unchanged bool          // Observe tells the same as before
	// upload takes the place of the customer's own certificate, unless that is a later
	// one; nil: it stays.
	upload *upload
}

// land ends a flight with its result. revision is that at which the store has the
// dossier, 0 if it was not written; ended reports that the work was cancelled. It
// returns a dossier that came from the store meanwhile and has another certificate than
// the result; nil: none.
func (es *entries) land(f *flight, l landing, revision int64, ended bool) *learnt {
	es.mu.Lock()
	defer es.mu.Unlock()
	defer es.poke()
	now, e := es.now(), f.entry
	e.turn = nil
	es.unbook(f)
	delete(es.flights, f)
	*es.slots(f)--
	close(f.done)
	e.revision = max(e.revision, revision)
	e.looked = e.looked || l.looked || l.rec.has()
	w := e.want()
	if f.changed && e.wanted {
		l.rec.Trouble = l.rec.Trouble.renewedBy(w, now)
	}
	if u := e.upload(); l.upload != nil && u != nil && u.revision <= l.upload.revision {
		e.put(w, l.rec, l.upload)
	} else {
		e.set(w, l.rec)
	}
	if t := l.rec.Trouble; f.order && t != nil && (t.Class == acme.ClassCustomer || t.Class == acme.ClassRefused) {
		e.soon = false // the CA itself has just looked
	}
	// If the last write failed, what came from the store may be what this work wrote
	// before that: then it is not news.
	failed := l.save && revision == 0
	news := f.missed != nil && !failed && (l.over || f.missed.rec.Serial != l.rec.Serial) && es.takeOver(f.missed)
	if l.again > 0 && !f.changed {
		es.unplace(e)
		es.due.at(e, now.Add(l.again))
	} else if !ended || f.changed {
		es.place(e)
	}
	if news {
		return f.missed
	}
	return nil
}

// asks notes the host of the CA that is asked.
func (f *flight) asks(host string) {
	f.es.mu.Lock()
	defer f.es.mu.Unlock()
	f.ca = host
}

// admitted notes that DNS and CAA allow the order. It reports whether Observe told of a
// failure of theirs until now.
func (f *flight) admitted() bool {
	f.es.mu.Lock()
	defer f.es.mu.Unlock()
	news := !f.probed && f.entry.keptBack() != nil
	f.probed = true
	return news
}

// spent notes that the flight has spent from the budget, or will not.
func (f *flight) spent() {
	f.es.mu.Lock()
	f.es.unbook(f)
	f.es.mu.Unlock()
	f.es.poke()
}

// unbook is spent where es.mu is held.
func (es *entries) unbook(f *flight) {
	if f.booked == nil {
		return
	}
	key := f.booked.LedgerKey()
	if f.booked = nil; es.booked[key] > 1 {
		es.booked[key]--
	} else {
		delete(es.booked, key)
	}
}
