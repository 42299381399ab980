package issuance

import (
	"context"
	"time"

	"github.com/apoxy-dev/caddy-apoxy/internal/times"
	"github.com/apoxy-dev/caddy-apoxy/issuance/fairqueue"
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
	ready  *fairqueue.Item[waiting]
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

// dueSince is when the certificate, or its renewal, became due.
func (e *entry) dueSince() time.Time {
	since := time.Unix(0, e.since)
	if renewal, _ := e.times(); e.has() {
		since = times.Later(since, times.Unix(renewal))
	}
	return since
}

// poll is what is to be asked about the certificate next, and when.
func (e *entry) poll() (step, time.Time) {
	switch {
	case e.loose != nil:
		return e.loose.rec.poll()
	case e.packed.bits&bitARI != 0:
		return stepARI, times.Unix(int64(e.packed.ariPoll))
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

// startable is when an order may be placed first, as DNS has it; zero: now. Orders
// that the CA works on do not depend on it.
func (e *entry) startable() time.Time {
	if e.loose != nil {
		return e.loose.want.startable()
	}
	return time.Time{} // a packed Want waits for nothing
}

// flight is work under way on a hostname.
type flight struct {
	began     time.Time
	ca        string
	challenge string
	order     bool // it may order, as opposed to looking into storage
	ready     bool // DNS was looked at, and lets it
	ocsp      bool // it asks an OCSP responder
	cancel    context.CancelFunc
	done      chan struct{}
	changed   bool // a Want or Forget came meanwhile
	// missed is the last record of the store that came meanwhile, nil for none.
	missed *learnt
	booked *ca // whose budget it was taken up for and has not spent from; nil: none
}
