package issuance

import (
	"context"
	"fmt"
	"time"

	"github.com/apoxy-dev/caddy-apoxy/issuance/acme"
)

// flight is work under way on a hostname. Who works on it tells it, through its
// methods, what Observe is to tell; its fields are under the lock of the entries.
type flight struct {
	es      *entries
	entry   *entry
	ca      string // host of the one that is asked for an order, if order is set
	order   bool   // it may order, as opposed to looking into storage
	ready   bool   // DNS was looked at, and lets it
	ocsp    bool   // it asks an OCSP responder
	cancel  context.CancelFunc
	done    chan struct{}
	changed bool // a Want or Forget came meanwhile
	// missed is the last dossier of the store that came meanwhile, nil for none.
	missed *learnt
	booked *ca // whose budget it was taken up for and has not spent from; nil: none
}

// taken is an entry in flight, as it was when it was taken up.
type taken struct {
	flight *flight
	ctx    context.Context // it is to be worked on until this ends
	want   Want
	rec    dossier
	step   step
	cas    []*ca // that may be asked, best first
	told   bool  // what is told of it stands until there is news
}

// fly puts an entry in flight; c is nil for what is no order. es.mu must be held.
func (es *entries) fly(e *entry, st step, c *ca, cancel context.CancelFunc) *flight {
	es.unplace(e)
	f := &flight{es: es, entry: e, order: st == stepOrder, ocsp: st == stepOCSP, cancel: cancel, done: make(chan struct{})}
	if c != nil {
		f.ca = c.Auth.Host()
	}
	e.flight = f
	*es.slots(f)++
	return f
}

// slots are how many flights of its kind there are. es.mu must be held.
func (es *entries) slots(f *flight) *int {
	switch {
	case f.order:
		return &es.flying
	case f.ocsp:
		return &es.asking
	}
	return &es.beside
}

// start takes an entry up whose turn it is in a lane. es.mu must be held.
func (es *entries) start(ctx context.Context, e *entry, st step, l *lane, now time.Time) taken {
	t := taken{step: st, want: e.want(), rec: e.dossier(), told: st != stepOrder || e.working() != nil || e.keptBack() != nil, cas: es.issuers.cas()}
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

// seize takes a hostname up for somebody else than takeUp, after any work under way
// on it; c: for an order at that CA, nil: for something else. may is called with its
// entry, nil if there is none, and the lock held, and says why not.
func (es *entries) seize(ctx context.Context, hostname string, c *ca, may func(*entry) error) (taken, error) {
	for {
		es.mu.Lock()
		e := es.of[hostname]
		if err := may(e); err != nil {
			es.mu.Unlock()
			return taken{}, err
		}
		if f := e.flight; f != nil {
			es.mu.Unlock()
			select {
			case <-f.done:
				continue
			case <-ctx.Done():
				return taken{}, fmt.Errorf("waiting for the work on %s: %w", hostname, ctx.Err())
			}
		}
		t := taken{ctx: ctx, want: e.want(), rec: e.dossier(), step: stepSearch, cas: es.issuers.cas()}
		if c != nil {
			t.step, t.cas = stepOrder, []*ca{c}
		}
		t.flight = es.fly(e, t.step, c, func() {})
		es.mu.Unlock()
		return t, nil
	}
}

// landing is what work on an entry came to.
type landing struct {
	rec    dossier
	save   bool          // rec is to be kept in the store
	looked bool          // storage has been searched
	again  time.Duration // not before; another node is at it
	quiet  bool          // nothing that Observe tells has changed
}

// land takes over what work came to, of which the store has kept the dossier at
// revision, 0 for not; ended: it was cut short. The dossier that it returns was missed
// meanwhile and is news; nil: none is.
func (es *entries) land(f *flight, l landing, revision int64, ended bool) *learnt {
	es.mu.Lock()
	defer es.mu.Unlock()
	defer es.poke()
	now, e := es.now(), f.entry
	e.flight = nil
	es.unbook(f)
	*es.slots(f)--
	close(f.done)
	e.revision = max(e.revision, revision)
	e.looked = e.looked || l.looked || l.rec.has()
	w := e.want()
	if f.changed && e.wanted {
		l.rec.Trouble = l.rec.Trouble.renewedBy(w, now)
	}
	e.set(w, l.rec)
	if t := l.rec.Trouble; f.order && t != nil && (t.Class == acme.ClassCustomer || t.Class == acme.ClassRefused) {
		e.soon = false // the CA has looked a moment ago
	}
	// What was missed may be this work's own, written before a later write that
	// failed; then it is no news.
	failed := l.save && revision == 0
	news := f.missed != nil && !failed && f.missed.rec.Serial != l.rec.Serial && es.takeOver(f.missed)
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

// asks notes which CA is being asked.
func (f *flight) asks(host string) {
	f.es.mu.Lock()
	defer f.es.mu.Unlock()
	f.ca = host
}

// admitted notes that the probes let the order be placed. It reports whether a
// failure of theirs was told until now.
func (f *flight) admitted() bool {
	f.es.mu.Lock()
	defer f.es.mu.Unlock()
	news := !f.ready && f.entry.keptBack() != nil
	f.ready = true
	return news
}

// spent notes that what was booked of a budget is spent, or will not be.
func (f *flight) spent() {
	f.es.mu.Lock()
	f.es.unbook(f)
	f.es.mu.Unlock()
	f.es.poke()
}

// unbook is spent for those who hold es.mu.
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
