package issuance

import (
	"encoding/base64"
	"encoding/hex"
	"strings"
	"unique"
)

// packed is a Want and a dossier in little memory: a million of them must fit a
// small machine. It holds what a hostname usually has, which is a certificate
// that was obtained for the record that wants it, or none yet, and no trouble
// and no order. All else is loose.
type packed struct {
	uid   [16]byte
	owner text
	// asked is Want.CertificateAuthority.
	asked  text
	origin unique.Handle[origin] // zero: no certificate
	serial [20]byte              // at most so long: RFC 5280 section 4.1.2.2
	// Seconds since 1970.
	notBefore, notAfter, renewal uint32
	ariStart, ariEnd, ariPoll    uint32
	serialLen                    uint8
	bits                         bits
}

// bits are what is yes or no in a packed.
type bits uint8

const (
	bitUID    bits = 1 << iota // there is one
	bitDNS01                   // of the Want, as the following
	bitHTTP01                  //
	bitSince                   // Since is set; the entry has it
	bitARI                     // there is renewal information
)

// loose is what does not fit a packed: other forms of identifiers, an order, a
// trouble, a certificate of another record.
type loose struct {
	want Want
	rec  dossier
}

// origin is what the certificates of one CA have in common.
type origin struct {
	ca, issuer, challenge string
	// ari is what their ARI identifiers begin with: the key of the issuer (RFC
	// 9773 section 4.1). The serial number follows.
	ari string
}

// text is a string that many entries share; the zero value is the empty one.
type text = unique.Handle[string]

func shared(s string) text {
	if s == "" {
		return text{}
	}
	return unique.Make(s)
}

func unshared(t text) string {
	if t == (text{}) {
		return ""
	}
	return t.Value()
}

// pack takes a Want and a dossier over, if they fit: if they can be read back
// as they were. The hostname, and when Since is, are the entry's to hold. With
// wanted false only the dossier counts.
func (p *packed) pack(w Want, wanted bool, r *dossier) bool {
	*p = packed{}
	if !wanted {
		w = Want{UID: r.UID, Owner: r.Owner}
	}
	w.Hostname, w.Since = "", min(w.Since, 1)
	if w.UID != "" && parseUID(&p.uid, w.UID) {
		p.bits |= bitUID
	}
	if w.DNS01 {
		p.bits |= bitDNS01
	}
	if w.HTTP01 {
		p.bits |= bitHTTP01
	}
	if w.Since != 0 {
		p.bits |= bitSince
	}
	p.owner, p.asked = shared(w.Owner), shared(w.CertificateAuthority)
	if r.has() {
		p.packCertificate(r)
	}
	back := p.dossier()
	if back.ARI != nil && r.ARI != nil && *back.ARI == *r.ARI {
		back.ARI = r.ARI
	}
	return back == *r && p.want() == w
}

// packCertificate takes over what fits.
func (p *packed) packCertificate(r *dossier) {
	p.packSerial(r.Serial)
	p.notBefore, p.notAfter, p.renewal = uint32(r.NotBefore), uint32(r.NotAfter), uint32(r.Renewal)
	o := origin{ca: r.CA, issuer: r.Issuer, challenge: r.Challenge}
	if a := r.ARI; a != nil {
		p.bits |= bitARI
		p.ariStart, p.ariEnd, p.ariPoll = uint32(a.Start), uint32(a.End), uint32(a.Poll)
		var ok bool
		if o.ari, ok = strings.CutSuffix(a.ID, p.ariSerial()); !ok {
			return // without an origin, which is not shared in vain
		}
	}
	p.origin = unique.Make(o)
}

func (p *packed) uidText() string {
	if p.bits&bitUID == 0 {
		return ""
	}
	return formatUID(&p.uid)
}

// want is the Want that was packed, without hostname; Since is 1 if it is set.
func (p *packed) want() Want {
	return Want{UID: p.uidText(), Owner: unshared(p.owner), CertificateAuthority: unshared(p.asked),
		DNS01: p.bits&bitDNS01 != 0, HTTP01: p.bits&bitHTTP01 != 0, Since: int64(p.bits & bitSince / bitSince)}
}

// dossier is the dossier that was packed.
func (p *packed) dossier() dossier {
	if p.notAfter == 0 || p.origin == (unique.Handle[origin]{}) {
		return dossier{}
	}
	o := p.origin.Value()
	r := dossier{
		UID: p.uidText(), Owner: unshared(p.owner), CA: o.ca, Issuer: o.issuer, Challenge: o.challenge, Serial: p.serialText(),
		NotBefore: int64(p.notBefore), NotAfter: int64(p.notAfter), Renewal: int64(p.renewal),
	}
	if p.bits&bitARI != 0 {
		r.ARI = &renewalInfo{ID: o.ari + p.ariSerial(), Start: int64(p.ariStart), End: int64(p.ariEnd), Poll: int64(p.ariPoll)}
	}
	return r
}

// parseUID reads a UUID in its canonical form (RFC 9562 section 4).
func parseUID(to *[16]byte, s string) bool {
	if len(s) != 36 || s[8] != '-' || s[13] != '-' || s[18] != '-' || s[23] != '-' {
		return false
	}
	for i, at := range [16]int{0, 2, 4, 6, 9, 11, 14, 16, 19, 21, 24, 26, 28, 30, 32, 34} {
		hi, lo := nibble(s[at]), nibble(s[at+1])
		if hi|lo > 15 {
			return false
		}
		to[i] = hi<<4 | lo
	}
	return true
}

// nibble is the value of a lower-case hexadecimal digit; 255: it is none.
func nibble(c byte) byte {
	switch {
	case c >= '0' && c <= '9':
		return c - '0'
	case c >= 'a' && c <= 'f':
		return c - 'a' + 10
	}
	return 255
}

func formatUID(uid *[16]byte) string {
	var b [36]byte
	hex.Encode(b[0:8], uid[0:4])
	hex.Encode(b[9:13], uid[4:6])
	hex.Encode(b[14:18], uid[6:8])
	hex.Encode(b[19:23], uid[8:10])
	hex.Encode(b[24:36], uid[10:16])
	b[8], b[13], b[18], b[23] = '-', '-', '-', '-'
	return string(b[:])
}

// packSerial reads a serial number as setCertificate writes it: hexadecimal
// without leading zeros.
func (p *packed) packSerial(s string) {
	n := (len(s) + 1) / 2
	if n > len(p.serial) {
		return
	}
	odd := len(s) % 2
	for i := range len(s) {
		at := (i + odd) / 2
		p.serial[at] = p.serial[at]<<4 | nibble(s[i])&15
	}
	p.serialLen = uint8(n)
}

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
