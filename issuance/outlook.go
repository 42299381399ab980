package issuance

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"github.com/apoxy-dev/caddy-apoxy/internal/times"
)

// Outlook is what an authority has to do for this node, and when it will be done.
type Outlook struct {
	// Name is how records name it, Directory the URL of its ACME directory.
	Name, Directory string
	// Waiting is how many hostnames wait for an order there, InFlight how many orders
	// are under way.
	Waiting, InFlight int
	// Held is until when nothing is asked of it, and Why; the zero time: it is not held.
	Held time.Time
	Why  string
	// Done is when the last that waits has its turn, by the order budget; the zero time:
	// none waits, or it has no budget.
	Done time.Time
}

// Outlook tells of each authority of the current configuration, in order. It costs the
// same however many wait.
func (s *Scheduler) Outlook() []Outlook { return s.entries.outlook() }

// Expiries are the ends of certificates, as they were counted at the last minute.
func (s *Scheduler) Expiries() Expiries {
	if x := s.expiries.Load(); x != nil {
		return *x
	}
	return Expiries{}
}

func (es *entries) outlook() []Outlook {
	es.mu.Lock()
	defer es.mu.Unlock()
	now, cas := es.now(), es.issuers.cas()
	out := make([]Outlook, 0, len(cas))
	for _, c := range cas {
		o := Outlook{Name: c.Auth.Name(), Directory: c.Auth.URL(), InFlight: es.ordersAt(c)}
		counted, exempt := es.waitAt(c)
		o.Waiting = counted + exempt
		if h, held := es.ledger.heldCA(c, now); held {
			o.Held, o.Why = h.Until, h.why()
		}
		if counted > 0 && c.Auth.OrderBudget().Orders > 0 {
			o.Done = times.Later(now.Add(es.ledger.forecast(c, now, counted-1)), o.Held)
		}
		out = append(out, o)
	}
	return out
}

// waitAt is how many wait for an order of a CA, those apart that its limits do not count.
// es.mu must be held.
func (es *entries) waitAt(c *ca) (counted, exempt int) {
	counted = es.heldAt[c.Key]
	add := func(l *lane) {
		switch {
		case l == nil || l.ca == nil || l.ca.Key != c.Key:
		case l.exempt:
			exempt += l.queue.Len()
		default:
			counted += l.queue.Len()
		}
	}
	for _, l := range es.lanes {
		add(l)
	}
	for _, l := range es.stale {
		add(l)
	}
	return counted, exempt
}

// ordersAt is how many orders of a CA are in flight. es.mu must be held.
func (es *entries) ordersAt(c *ca) (n int) {
	for f := range es.flights {
		if f.order && f.ca == c.Auth.Host() {
			n++
		}
	}
	return n
}

// why says in a sentence why a hold is there, and who ends it.
func (h hold) why() string {
	reason := h.Reason
	if h.down {
		reason = "it does not answer: " + reason
	}
	if h.Mend != "" {
		reason = strings.TrimSuffix(reason, ".") + ". " + h.Mend
	}
	return reason
}

// Place is where a hostname stands that waits for an order.
type Place struct {
	// Authority is the name of the CA; empty: none can be asked.
	Authority string
	// Ahead is how many are before it; -1: it is not in a queue.
	Ahead int
	// Due is when it has its turn, by the order budget or when a pause is over; the zero
	// time: now, or that is not known.
	Due time.Time
	// InFlight: its order is under way.
	InFlight bool
	// Why it waits; empty: for its turn.
	Why string
}

// Place tells where a hostname stands; false: nothing is to be ordered for it now.
func (s *Scheduler) Place(hostname string) (p Place, ok bool) {
	s.entries.read(hostname, func(e *entry) {
		if e != nil && e.wanted {
			p, ok = s.entries.placeOf(e, s.entries.now())
		}
	})
	return p, ok
}

// placeOf is Place. es.mu must be held.
func (es *entries) placeOf(e *entry, now time.Time) (p Place, ok bool) {
	if f := e.flight(); f != nil {
		return Place{Authority: es.nameOf(f.ca), Ahead: -1, InFlight: true}, f.order
	}
	if it := e.ready(); it != nil && it.Value.lane.ca != nil && !it.Value.lane.stale {
		l := it.Value.lane
		p = Place{Authority: l.ca.Auth.Name(), Ahead: l.queue.Ahead(it)}
		if wait := es.ledger.forecast(l.ca, now, p.Ahead); wait >= time.Second && !l.exempt {
			p.Due = now.Add(wait)
		}
		return p, true
	}
	st, at := e.next(now)
	if st != stepOrder && e.trouble() == nil || e.proven() && e.trouble() == nil && at.After(now) {
		return p, false // it waits for nothing, for the customer, or for its renewal
	}
	_, message, mend, until := es.work(e, now)
	if message == "" {
		return p, false
	}
	p.Ahead, p.Why = -1, message
	if mend != "" {
		p.Why = fmt.Sprintf("%s. %s", strings.TrimSuffix(message, "."), mend)
	}
	if c, _ := es.leastHeld(e, now); c != nil {
		p.Authority = c.Auth.Name()
	}
	if p.Due = until; until.IsZero() && at.After(now) {
		p.Due = at
	}
	return p, true
}

// nameOf is the name of the current CA of a host, or the host.
func (es *entries) nameOf(host string) string {
	for _, c := range es.issuers.cas() {
		if c.Auth.Host() == host {
			return c.Auth.Name()
		}
	}
	return cmp.Or(host, "a certificate authority")
}
