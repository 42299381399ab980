package issuance

import (
	"time"

	"github.com/google/uuid"

	"github.com/apoxy-dev/caddy-apoxy/internal/times"
	"github.com/apoxy-dev/caddy-apoxy/issuance/acme"
	"github.com/apoxy-dev/caddy-apoxy/issuance/fairqueue"
)

// entry is what memory has of one hostname. There may be a million of them, so what only
// few have is behind pointers.
type entry struct {
	hostname string // never changes, so it may be read without the lock
	// What is wanted and known: packed if loose is nil. want, dossier and the
	// questions below read them, set writes them.
	packed packed
	loose  *loose

	revision int64 // of the store's copy of the dossier
	// since is when the hostname could be ordered first, or became known if it is not
	// wanted, in Unix nanoseconds. Older entries go first.
	since int64

	wanted bool
	// dropped reports that Forget was called: the entry is kept for its certificate, or
	// for as long as its failures count, and not for a Want that may still come.
	dropped bool
	// looked reports that storage need not be searched for a certificate that the index
	// does not know: it was searched, or a certificate is known.
	looked bool
	// soon reports that a retry was asked for: the pause after a failure does not count.
	soon bool

	// An entry stands in one place at most: in the heap, or where its turn says.
	slot int32 // its place in the heap, -1 if it is not there
	due  int64 // when it is due, if it is in the heap, in Unix nanoseconds
	turn *turn // nil if it is neither in a lane nor in flight
}

// turn is where an entry stands that is due: in a lane or in flight. The other one is nil.
type turn struct {
	ready  *fairqueue.Item[waiting]
	flight *flight
}

// ready is the entry's place in a lane, nil if it is in none.
func (e *entry) ready() *fairqueue.Item[waiting] {
	if e.turn == nil {
		return nil
	}
	return e.turn.ready
}

// flight is nil if the entry is not in flight.
func (e *entry) flight() *flight {
	if e.turn == nil {
		return nil
	}
	return e.turn.flight
}

// set sets the Want, which counts only if wanted is set, and the dossier.
func (e *entry) set(w Want, r dossier) {
	e.put(w, r, e.upload())
}

// put is set with the customer's own certificate, nil for none.
func (e *entry) put(w Want, r dossier, u *upload) {
	if u == nil && e.packed.pack(w, e.wanted, &r) {
		e.loose = nil
		return
	}
	e.packed = packed{}
	r.intern()
	w.Hostname, w.CertificateAuthority, w.Owner = e.hostname, intern(w.CertificateAuthority), intern(w.Owner)
	e.loose = &loose{want: w, rec: r, upload: u}
}

// upload is the customer's own certificate, nil for none.
func (e *entry) upload() *upload {
	if e.loose != nil {
		return e.loose.upload
	}
	return nil
}

// wish sets the Want and marks the entry as wanted.
func (e *entry) wish(w Want, now time.Time) {
	rec := e.dossier()
	rec.Trouble = rec.Trouble.renewedBy(w, now)
	switch {
	case w.Since != 0:
		e.since = times.Unix(w.Since).UnixNano()
	case !e.wanted || e.since == 0:
		e.since = now.UnixNano()
	}
	e.wanted, e.dropped = true, false
	e.set(w, rec)
}

// want is the Want; one with nothing but the hostname if the entry is not wanted.
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

// dossier is a copy of the dossier.
func (e *entry) dossier() dossier {
	if e.loose != nil {
		return e.loose.rec
	}
	return e.packed.dossier()
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

// poll is what to ask about the certificate next (ARI or OCSP), and when.
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

// empty reports whether the dossier holds nothing, see dossier.empty.
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
	return e.packed.asked()
}

// tenant is Want.Owner.
func (e *entry) tenant() string {
	if e.loose != nil {
		return e.loose.want.Owner
	}
	return e.packed.owner()
}

// possible reports whether any challenge can succeed.
func (e *entry) possible() bool {
	if e.loose != nil {
		return e.loose.want.DNS01 || e.loose.want.HTTP01
	}
	return e.packed.bits&(bitDNS01|bitHTTP01) != 0
}

// startable is Want.startable: before it no new order may be placed.
func (e *entry) startable() time.Time {
	if e.loose != nil {
		return e.loose.want.startable()
	}
	return time.Time{} // a packed Want waits for nothing
}

// expired reports whether the certificate has.
func (e *entry) expired(now time.Time) bool {
	_, notAfter := e.times()
	return !now.Before(times.Unix(notAfter))
}

// gone reports whether storage lacks the certificate of the dossier.
func (e *entry) gone() bool { return e.loose != nil && e.loose.rec.gone() }

// goneSince is when it was missed first, in Unix seconds; it must be gone.
func (e *entry) goneSince() int64 { return e.loose.rec.Loss.Since }

// revoked is when the CA revoked the certificate, Unix seconds; 0: it has not.
func (e *entry) revoked() int64 {
	if l := e.loose; l != nil && l.rec.OCSP.IsRevoked() {
		return l.rec.OCSP.Revoked
	}
	return 0
}

// working is an order that its CA was found to be still working on, nil for none.
func (e *entry) working() *acme.Order {
	if l := e.loose; l != nil && l.rec.Order != nil && l.rec.Order.Since != 0 {
		return l.rec.Order
	}
	return nil
}

// replaces reports whether an order at a CA may name the certificate.
func (e *entry) replaces(c *ca) bool {
	if l := e.loose; l != nil {
		return l.rec.replaces(l.want, c) != ""
	}
	return e.packed.bits&bitARI != 0 && e.issuer() == c.Key
}

// foreign reports whether the certificate, if there is one, was issued for a record
// of another owner than the one with this uid. It does not allocate.
func (e *entry) foreign(uid, owner string) bool {
	if !e.has() {
		return false
	}
	if l := e.loose; l != nil {
		return !l.rec.proves(Want{UID: uid, Owner: owner})
	}
	if e.packed.owner() == owner {
		return e.packed.bits&bitUID == 0
	}
	own, err := uuid.Parse(uid)
	return err != nil || own != e.packed.uid || e.packed.bits&bitUID == 0
}
