package issuance

import (
	"encoding/base64"
	"encoding/hex"
	"strings"
	"unique"

	"github.com/google/uuid"
)

// packed is a Want and a dossier in little memory, because a million of them must fit a
// small machine. It can hold what most hostnames have: no trouble, no order, and no
// certificate or one that was obtained for the record that wants it. Anything else is
// kept in a loose.
type packed struct {
	uid    uuid.UUID             // RFC 9562
	whose  unique.Handle[whose]  // zero: neither
	origin unique.Handle[origin] // zero: no certificate
	serial [20]byte              // at most so long: RFC 5280 section 4.1.2.2
	// Seconds since 1970.
	notBefore, notAfter, renewal uint32
	ariStart, ariEnd, ariPoll    uint32
	serialLen                    uint8
	bits                         bits
}

// bits are the yes-or-no values of a packed.
type bits uint8

const (
	bitUID      bits = 1 << iota // uid is set
	bitDNS01                     // Want.DNS01
	bitHTTP01                    // Want.HTTP01
	bitSince                     // Want.Since is set; its value is entry.since
	bitARI                       // there is renewal information
	bitVerified                  // Want.Verified
)

// loose is a Want and a dossier that do not fit a packed.
type loose struct {
	want Want
	rec  dossier
	// upload is the customer's own certificate, nil for none. It is replaced and never
	// changed.
	upload *upload
}

// whose is what many Wants have in common: Want.Owner and Want.CertificateAuthority.
type whose struct{ owner, asked string }

// origin is what the certificates of one CA have in common.
type origin struct {
	ca, issuer, challenge string
	// ari is the first half of their ARI identifiers, which names the issuer's key (RFC
	// 9773 section 4.1). The second half is the serial number.
	ari string
}

// owner is Want.Owner.
func (p *packed) owner() string {
	if p.whose == (unique.Handle[whose]{}) {
		return ""
	}
	return p.whose.Value().owner
}

// asked is Want.CertificateAuthority.
func (p *packed) asked() string {
	if p.whose == (unique.Handle[whose]{}) {
		return ""
	}
	return p.whose.Value().asked
}

// pack sets p to a Want and a dossier. It reports whether they fit, which they do if they
// can be read back unchanged. The hostname and the value of Since are in the entry. With
// wanted false only the dossier counts.
func (p *packed) pack(w Want, wanted bool, r *dossier) bool {
	*p = packed{}
	if !wanted {
		w = Want{UID: r.UID, Owner: r.Owner}
	}
	w.Hostname, w.Since = "", min(w.Since, 1)
	if uid, err := uuid.Parse(w.UID); err == nil {
		p.uid, p.bits = uid, bitUID
	}
	if w.DNS01 {
		p.bits |= bitDNS01
	}
	if w.HTTP01 {
		p.bits |= bitHTTP01
	}
	if w.Verified {
		p.bits |= bitVerified
	}
	if w.Since != 0 {
		p.bits |= bitSince
	}
	if of := (whose{w.Owner, w.CertificateAuthority}); of != (whose{}) {
		p.whose = unique.Make(of)
	}
	if r.has() {
		p.packCertificate(r)
	}
	back := p.dossier()
	if back.ARI != nil && r.ARI != nil && *back.ARI == *r.ARI {
		back.ARI = r.ARI
	}
	return back == *r && p.want() == w
}

// packCertificate packs the certificate of a dossier, as far as it fits.
func (p *packed) packCertificate(r *dossier) {
	p.packSerial(r.Serial)
	p.notBefore, p.notAfter, p.renewal = uint32(r.NotBefore), uint32(r.NotAfter), uint32(r.Renewal)
	o := origin{ca: r.CA, issuer: r.Issuer, challenge: r.Challenge}
	if a := r.ARI; a != nil {
		p.bits |= bitARI
		p.ariStart, p.ariEnd, p.ariPoll = uint32(a.Start), uint32(a.End), uint32(a.Poll)
		var ok bool
		if o.ari, ok = strings.CutSuffix(a.ID, p.ariSerial()); !ok {
			return // it does not fit, so no origin needs to be shared
		}
	}
	p.origin = unique.Make(o)
}

func (p *packed) uidText() string {
	if p.bits&bitUID == 0 {
		return ""
	}
	return p.uid.String()
}

// want is the Want that was packed, without hostname; Since is 1 if it is set.
func (p *packed) want() Want {
	return Want{UID: p.uidText(), Owner: p.owner(), CertificateAuthority: p.asked(),
		DNS01: p.bits&bitDNS01 != 0, HTTP01: p.bits&bitHTTP01 != 0, Verified: p.bits&bitVerified != 0, Since: int64(p.bits & bitSince / bitSince)}
}

// dossier is the dossier that was packed.
func (p *packed) dossier() dossier {
	if p.notAfter == 0 || p.origin == (unique.Handle[origin]{}) {
		return dossier{}
	}
	o := p.origin.Value()
	r := dossier{
		UID: p.uidText(), Owner: p.owner(), CA: o.ca, Issuer: o.issuer, Challenge: o.challenge, Serial: p.serialText(),
		NotBefore: int64(p.notBefore), NotAfter: int64(p.notAfter), Renewal: int64(p.renewal),
	}
	if p.bits&bitARI != 0 {
		r.ARI = &renewalInfo{ID: o.ari + p.ariSerial(), Start: int64(p.ariStart), End: int64(p.ariEnd), Poll: int64(p.ariPoll)}
	}
	return r
}

// packSerial packs a serial number in hexadecimal, as setCertificate writes it. One that
// does not fit leaves none.
func (p *packed) packSerial(s string) {
	if len(s)%2 != 0 {
		s = "0" + s
	}
	if b, err := hex.DecodeString(s); err == nil && len(b) <= len(p.serial) {
		p.serialLen = uint8(copy(p.serial[:], b))
	}
}

// serialText is the serial number in hexadecimal without leading zeros.
func (p *packed) serialText() string {
	var b [2 * len(p.serial)]byte
	n := hex.Encode(b[:], p.serial[:p.serialLen])
	if b[0] == '0' {
		return string(b[1:n])
	}
	return string(b[:n])
}

// ariSerial is the second half of an ARI identifier with its dot: the serial
// number as DER has it, that is with a zero byte before a first bit that is set.
func (p *packed) ariSerial() string {
	der := make([]byte, 0, 1+len(p.serial))
	if p.serial[0] >= 0x80 {
		der = append(der, 0)
	}
	return "." + base64.RawURLEncoding.EncodeToString(append(der, p.serial[:p.serialLen]...))
}
