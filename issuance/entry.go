package issuance

import (
	"container/heap"
	"context"
	"time"
)

// entry is what the scheduler has in memory of one hostname. There may be a
// million: what only few have is behind pointers.
type entry struct {
	hostname string // never changes, so that it is read without the lock
	// What is wanted and known: packed if loose is nil. want, record and the
	// questions below read them, set writes them.
	packed packed
	loose  *loose

	revision int64 // of the store's copy of the record
	// since is when the hostname became due for the first time, for its age; of
	// one that is not wanted when it came up. Unix nanoseconds.
	since int64

	wanted  bool
	dropped bool // Forget was called: nothing is worth keeping but a certificate
	// looked: storage was searched for a certificate that the index does not
	// know, or need not be.
	looked bool
	// soon overrides waits of our own making, not of a CA's: a retry was asked for.
	soon bool

	// At most one of these is set: due waits in the heap until then; ready
	// stands in a lane; flight is being worked on.
	index  int32 // in the heap, -1 if not there
	due    int64 // Unix nanoseconds
	ready  *item
	flight *flight
}

// set takes over what is wanted, if wanted is set, and what is known.
func (e *entry) set(w Want, r record) {
	if e.packed.pack(w, e.wanted, &r) {
		e.loose = nil
		return
	}
	e.packed = packed{}
	r.intern()
	w.Hostname, w.CertificateAuthority, w.Owner = e.hostname, intern(w.CertificateAuthority), intern(w.Owner)
	e.loose = &loose{want: w, rec: r}
}

// want is the present Want; one with nothing but the hostname if there is none.
func (e *entry) want() Want {
	var w Want
	switch {
	case e.loose != nil:
		w = e.loose.want
	case e.wanted:
		if w = e.packed.want(); w.Since != 0 {
			w.Since = e.since / int64(time.Second)
		}
	}
	w.Hostname = e.hostname
	return w
}

// record is a copy of what is known.
func (e *entry) record() record {
	if e.loose != nil {
		return e.loose.rec
	}
	return e.packed.record()
}

// has reports whether there is a certificate.
func (e *entry) has() bool {
	if e.loose != nil {
		return e.loose.rec.has()
	}
	return e.packed.notAfter != 0
}

// proven reports whether there is a certificate that counts for the Want.
func (e *entry) proven() bool {
	if l := e.loose; l != nil {
		return l.rec.has() && l.rec.proves(l.want)
	}
	return e.packed.notAfter != 0
}

// times are the points of renewal and expiry in Unix seconds; 0: none.
func (e *entry) times() (renewal, notAfter int64) {
	if l := e.loose; l != nil {
		return l.rec.Renewal, l.rec.NotAfter
	}
	return int64(e.packed.renewal), int64(e.packed.notAfter)
}

// poll is what is to be asked about the certificate next, and when.
func (e *entry) poll() (step, time.Time) {
	switch {
	case e.loose != nil:
		return e.loose.rec.poll()
	case e.packed.bits&bitARI != 0:
		return stepARI, unix(int64(e.packed.ariPoll))
	}
	return stepNone, time.Time{}
}

// issuer is the key of the CA that the certificate is from, empty without one.
func (e *entry) issuer() string {
	switch {
	case e.loose != nil:
		return e.loose.rec.CA
	case e.packed.notAfter == 0:
		return ""
	}
	return e.packed.origin.Value().ca
}

// serialNumber is that of the certificate, empty without one.
func (e *entry) serialNumber() string {
	if e.loose != nil {
		return e.loose.rec.Serial
	}
	if e.packed.notAfter == 0 {
		return ""
	}
	return e.packed.serialText()
}

// empty: nothing is worth keeping.
func (e *entry) empty() bool {
	if e.loose != nil {
		return e.loose.rec.empty()
	}
	return e.packed.notAfter == 0
}

// trouble is the failure that keeps the hostname waiting, nil for none.
func (e *entry) trouble() *trouble {
	if e.loose != nil {
		return e.loose.rec.Trouble
	}
	return nil
}

// asks is Want.CertificateAuthority.
func (e *entry) asks() string {
	if e.loose != nil {
		return e.loose.want.CertificateAuthority
	}
	return unshared(e.packed.asked)
}

// tenant is Want.Owner.
func (e *entry) tenant() string {
	if e.loose != nil {
		return e.loose.want.Owner
	}
	return unshared(e.packed.owner)
}

// possible reports whether any challenge can succeed.
func (e *entry) possible() bool {
	if e.loose != nil {
		return e.loose.want.DNS01 || e.loose.want.HTTP01
	}
	return e.packed.bits&(bitDNS01|bitHTTP01) != 0
}

// flight is work under way on a hostname.
type flight struct {
	began     time.Time
	ca        string
	challenge string
	order     bool // it may order, as opposed to looking into storage
	ocsp      bool // it asks an OCSP responder
	cancel    context.CancelFunc
	done      chan struct{}
	changed   bool // a Want or Forget came meanwhile
}

// step is what an entry needs next.
type step uint8

const (
	stepNone  step = iota
	stepLook       // search storage
	stepOrder      // obtain or renew
	stepARI        // ask the CA for its renewal window
	stepOCSP       // ask an OCSP responder whether the CA has revoked
	stepDrop       // forget an expired certificate of a hostname without a record
)

// keepExpired is how long the certificate of a hostname without a record is
// remembered after it expired.
const keepExpired = 7 * 24 * time.Hour

// keepUnwanted is how long a start waits for a record to want what the index
// knows of a hostname without a certificate.
const keepUnwanted = time.Hour

// next decides what an entry needs and when; stepNone: nothing until a Want.
func (e *entry) next(now time.Time) (step, time.Time) {
	renewal, notAfter := e.times()
	if !e.wanted {
		switch {
		case e.has():
			return stepDrop, unix(notAfter).Add(keepExpired)
		case e.empty():
			return stepNone, time.Time{}
		case e.dropped:
			return stepDrop, e.remembered(now)
		}
		return stepDrop, later(e.remembered(now), time.Unix(0, e.since).Add(keepUnwanted))
	}
	if !e.looked && !e.has() {
		return stepLook, now
	}
	have := e.proven()
	at := now
	if have {
		at = unix(renewal)
	} else if !e.possible() {
		return stepNone, time.Time{} // no challenge can succeed yet
	}
	if t := e.trouble(); t != nil {
		switch until := unix(t.Until); {
		case e.soon:
		case until.IsZero():
			at = time.Time{} // not again by itself
		case until.After(at):
			at = until
		}
		if spared := e.spared(now); !at.IsZero() && spared.After(at) {
			at = spared
		}
	}
	if have {
		if st, poll := e.poll(); st != stepNone && (at.IsZero() || poll.Before(at)) {
			return st, poll
		}
	}
	if at.IsZero() {
		return stepNone, at
	}
	return stepOrder, at
}

// replaces reports whether an order at a CA may name the certificate.
func (e *entry) replaces(c *ca) bool {
	if l := e.loose; l != nil {
		return l.rec.replaces(l.want, c) != ""
	}
	return e.packed.bits&bitARI != 0 && e.issuer() == c.key
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// spared is the earliest time that leaves the CA's count of failed
// validations, five an hour for a hostname, below its limit.
func (e *entry) spared(now time.Time) time.Time {
	t := e.trouble()
	if t == nil || len(t.Failed) < maxFailed {
		return now
	}
	return unix(t.Failed[len(t.Failed)-maxFailed]).Add(time.Hour)
}

// remembered is how long the failures of a hostname that is wanted no more are
// kept: a CA counts them for an hour, and DNS may come back before.
func (e *entry) remembered(now time.Time) time.Time {
	t := e.trouble()
	if t == nil || len(t.Failed) == 0 {
		return now
	}
	return unix(t.Failed[len(t.Failed)-1]).Add(time.Hour)
}

// maxFailed is one below Let's Encrypt's limit of failed validations an hour.
const maxFailed = 4

// urgency of an entry's order and its rank among its like.
func (e *entry) urgency(now time.Time) (urgency, int64) {
	if e.proven() {
		if l := e.loose; l != nil && l.rec.OCSP.revoked() {
			return urgent, l.rec.OCSP.Revoked
		}
		renewal, notAfter := e.times()
		return urgencyOf(unix(renewal), unix(notAfter), now), notAfter
	}
	return first, e.since
}

// dueHeap holds entries by the time they are due.
type dueHeap []*entry

func (h dueHeap) Len() int           { return len(h) }
func (h dueHeap) Less(i, j int) bool { return h[i].due < h[j].due }
func (h dueHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = int32(i), int32(j)
}
func (h *dueHeap) Push(x any) {
	e := x.(*entry)
	e.index = int32(len(*h))
	*h = append(*h, e)
}
func (h *dueHeap) Pop() any {
	old := *h
	e := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	e.index = -1
	return e
}

// at puts an entry at its time, or takes it out with the zero time.
func (h *dueHeap) at(e *entry, due time.Time) {
	switch {
	case due.IsZero() && e.index >= 0:
		heap.Remove(h, int(e.index))
	case due.IsZero():
	case e.index >= 0:
		e.due = due.UnixNano()
		heap.Fix(h, int(e.index))
	default:
		e.due = due.UnixNano()
		heap.Push(h, e)
	}
}
