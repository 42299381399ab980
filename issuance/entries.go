package issuance

import (
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// entries are the hostnames that are wanted or known. Each stands in one place: in
// the heap until it is due, in a lane while it waits for its turn, or in flight
// while it is worked on. They own the lock over all of that; nothing is asked of
// storage, of the store or of anybody else while it is held.
type entries struct {
	now    func() time.Time
	ledger *ledger
	orders int           // in flight at most
	wake   chan struct{} // has a token once something may be taken up sooner than pause said
	// uploaded is set once an upload was known: until then handshakes need not ask.
	uploaded atomic.Bool
	// mine reports whether a hostname is worked on here, and not on another node.
	mine func(hostname string) bool
	// term is Config.Term.
	term func() string
	// left is called for hostnames that are dropped, with the lock held.
	left func(hostname string)

	mu      sync.Mutex
	loaded  bool
	indexed int           // hostnames in the index at the start
	known   chan struct{} // closed once the index is loaded
	of      *nameIndex
	due     dueHeap
	issuers *Issuers // of the current configuration, nil for none
	closed  bool     // no order is taken up until admit allows it

	lanes  map[laneKey]*lane
	parked *lane             // entries that are due, but may use no configured CA
	putOff map[*entry]string // entries that are due, but whose CAs are all held, with the key of the one that is first released
	ended  map[string]int64  // revisions of uploads that were removed here and that the store has not told of yet
	freed  map[*entry]string // entries that were put off before the last reroute and are to be placed anew
	heldAt map[string]int    // how many of both there are, by that key
	stale  []*lane           // lanes of before the last reroute, whose entries are to be placed anew
	sorted time.Time         // when the last reroute was

	flying  int              // orders in flight
	asking  int              // questions to OCSP responders in flight
	beside  int              // other steps in flight
	flights map[*flight]bool // all in flight
	booked  map[string]int   // orders in flight that have not spent from their budget yet, by CA and account
}

func newEntries(now func() time.Time, l *ledger, orders int, left func(hostname string)) *entries {
	return &entries{now: now, ledger: l, orders: orders, left: left, mine: func(string) bool { return true }, term: func() string { return "ever" }, wake: make(chan struct{}, 1), known: make(chan struct{}),
		of: newNameIndex(), lanes: map[laneKey]*lane{}, booked: map[string]int{}, putOff: map[*entry]string{}, freed: map[*entry]string{}, heldAt: map[string]int{}, flights: map[*flight]bool{}, ended: map[string]int64{},
		parked: &lane{parked: true}}
}

// poke wakes Run.
func (es *entries) poke() {
	select {
	case es.wake <- struct{}{}:
	default:
	}
}

// use makes the CAs of is the current ones. closed: no order is taken up until admit
// allows it.
func (es *entries) use(is *Issuers, closed bool) {
	es.mu.Lock()
	es.issuers, es.closed = is, closed
	es.reroute()
	es.mu.Unlock()
	es.poke()
}

// admit allows orders to be taken up, or forbids it.
func (es *entries) admit(orders bool) {
	es.mu.Lock()
	es.closed = !orders
	es.mu.Unlock()
	es.poke()
}

// authorities are the current CAs in order.
func (es *entries) authorities() []*ca {
	es.mu.Lock()
	defer es.mu.Unlock()
	return es.issuers.cas()
}

// candidates are the CAs that a Want may use which names one, or none.
func candidates(cas []*ca, named string) []*ca {
	return slices.DeleteFunc(slices.Clone(cas), func(c *ca) bool { return !c.Auth.Named(named) })
}

// want takes a Want over.
func (es *entries) want(w Want) {
	es.mu.Lock()
	defer es.mu.Unlock()
	e := es.of.get(w.Hostname)
	switch {
	case e == nil:
		e = es.add(w.Hostname)
	case e.wanted && e.want() == w:
		return
	}
	e.wish(w, es.now())
	es.place(e)
	es.stir(e)
}

// add makes the entry of a hostname. es.mu must be held.
func (es *entries) add(hostname string) *entry {
	e := &entry{hostname: hostname, slot: -1}
	es.of.add(e)
	return e
}

// stir wakes Run if an entry that has just been placed is due before Run would look.
// es.mu must be held.
func (es *entries) stir(e *entry) {
	if e.slot == 0 || e.ready() != nil && !e.ready().Value.lane.parked {
		es.poke()
	}
}

// forget notes that a hostname is wanted no more; false: it was not wanted.
func (es *entries) forget(hostname string) bool {
	es.mu.Lock()
	defer es.mu.Unlock()
	e := es.of.get(hostname)
	if e == nil || !e.wanted {
		return false
	}
	rec := e.dossier()
	e.wanted, e.soon, e.dropped, e.since = false, false, true, es.now().UnixNano()
	e.set(Want{}, rec)
	if e.flight() != nil {
		e.flight().cancel()
	}
	es.place(e)
	es.stir(e)
	return true
}

// retry has a hostname tried without waiting for the pause after its last failure.
func (es *entries) retry(hostname string) {
	es.mu.Lock()
	defer es.mu.Unlock()
	e := es.of.get(hostname)
	if e == nil || !e.wanted {
		return
	}
	e.soon = true
	if e.flight() == nil {
		es.place(e)
		es.stir(e)
	}
}

// amend lets change change the dossier of a hostname that is not in flight. change
// reports whether it did, and so does amend.
func (es *entries) amend(hostname string, change func(e *entry, r *dossier) bool) bool {
	es.mu.Lock()
	defer es.mu.Unlock()
	e := es.of.get(hostname)
	if e == nil || e.flight() != nil {
		return false
	}
	r := e.dossier()
	if !change(e, &r) {
		return false
	}
	e.set(e.want(), r)
	es.place(e)
	es.stir(e)
	return true
}

// learnt is a dossier that was read from the store.
type learnt struct {
	hostname string
	rec      dossier
	revision int64
	replaced bool // it has another certificate than the one known before
}

// learn takes over a dossier from the store. It reports whether others must hear of it:
// while the index is read for the first time, nobody has asked for it yet.
func (es *entries) learn(l *learnt) bool {
	es.mu.Lock()
	defer es.mu.Unlock()
	return es.takeOver(l) && es.loaded
}

// takeOver takes over a dossier from the store; false: it is not newer than what is
// known, or the hostname is in flight, which keeps it until it lands. es.mu must be held.
func (es *entries) takeOver(l *learnt) bool {
	e := es.of.get(l.hostname)
	if e == nil {
		e = es.add(strings.Clone(l.hostname)) // it is a part of a longer string
		e.since = es.now().UnixNano()
	}
	if l.revision <= e.revision {
		return false
	}
	if e.flight() != nil {
		missed := *l
		e.flight().missed = &missed
		return false
	}
	before := e.serialNumber()
	l.replaced = before != "" && before != l.rec.Serial
	e.revision = l.revision
	e.looked = e.looked || l.rec.has()
	e.set(e.want(), l.rec)
	es.place(e)
	es.stir(e)
	return true
}

// unlearn takes over that the store has no dossier of a hostname any more: another node
// has dropped one that nobody wants, or revoked a certificate. It returns what others
// must hear of, nil for nothing.
func (es *entries) unlearn(hostname string, revision int64) *learnt {
	es.mu.Lock()
	defer es.mu.Unlock()
	e := es.of.get(hostname)
	if e == nil || e.flight() != nil || revision <= e.revision {
		return nil
	}
	if !e.wanted && e.upload() == nil { // as it is on every node but the one that works on it
		had := e.has()
		es.unplace(e)
		es.drop(e)
		if !had {
			return nil
		}
		return &learnt{hostname: hostname, revision: revision, replaced: true}
	}
	l := &learnt{hostname: e.hostname, rec: dossier{Trouble: e.trouble()}, revision: revision}
	if !e.has() || !es.takeOver(l) {
		return nil
	}
	return l
}

// drop removes an entry. es.mu must be held.
func (es *entries) drop(e *entry) {
	es.of.remove(e.hostname)
	es.left(e.hostname)
}

// complete notes that the index has been read for the first time, and how many hostnames
// it has.
func (es *entries) complete(hostnames int) {
	es.mu.Lock()
	defer es.mu.Unlock()
	if !es.loaded {
		es.loaded, es.indexed = true, hostnames
		close(es.known)
	}
}

// read calls do with the entry of a hostname, nil if there is none. The lock is held.
func (es *entries) read(hostname string, do func(e *entry)) {
	es.mu.Lock()
	defer es.mu.Unlock()
	do(es.of.get(hostname))
}

// each calls do for every entry, with the lock held. It releases the lock now and then,
// so that an Observe does not wait for long.
func (es *entries) each(do func(e *entry)) {
	es.mu.Lock()
	defer es.mu.Unlock()
	for i := range es.of.shards {
		for page := range slices.Chunk(slices.Clone(es.of.shards[i].slots), batch) {
			for _, e := range page {
				if e != nil && es.of.get(e.hostname) == e { // it was not dropped meanwhile
					do(e)
				}
			}
			es.mu.Unlock()
			es.mu.Lock()
		}
	}
}
