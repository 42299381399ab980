package dnsprovider

import (
	"encoding/binary"

	"github.com/miekg/dns"
)

type kind uint8

// What a look-up found.
const (
	// nxdomain: there is no such name.
	nxdomain kind = iota
	// nodata: the name exists, without the type.
	nodata
	// found: result.set answers.
	found
	// alias: result.set holds the name's CNAME.
	alias
	// referral: the name lies at or below a delegation.
	referral
	// unknown: this server cannot tell at present.
	unknown
)

// result is what a zone found for a name.
type result struct {
	kind kind
	// set answers (found, alias), ttl is its TTL.
	set *rrset
	ttl uint32
	// soa goes with negative answers, its TTL being the negative one; serial
	// takes the place of its own, if it is not 0.
	soa    *rrset
	serial uint32
	// cut is how many labels the delegated name has (referral), ns its name
	// servers; glue holds addresses to be added.
	cut  int
	ns   *rrset
	glue []glue
}

// glue are the addresses of one name server.
type glue struct {
	name []byte
	sets []*rrset
}

// node is one name of a zone with its RRsets, none for an empty non-terminal.
type node struct {
	sets []*rrset
}

func (n *node) set(typ uint16) *rrset {
	for _, s := range n.sets {
		if s.typ == typ {
			return s
		}
	}
	return nil
}

// rfc8482 answers ANY (RFC 8482 section 4.2) at every name that has records.
var rfc8482 = &rrset{typ: dns.TypeHINFO, ttl: 3600, rdata: [][]byte{append([]byte{7}, "RFC8482\x00"...)}}

// pick answers from one name's RRsets.
func (s *scratch) pick(n *node, qtype uint16) {
	r := &s.result
	r.kind = nodata
	var cname *rrset
	for _, set := range n.sets {
		if set.expires != nil && set.live(s.time()) == 0 {
			continue
		}
		switch {
		case qtype == dns.TypeANY:
			s.found(rfc8482, rfc8482.ttl)
			return
		case set.typ == qtype:
			s.found(set, set.ttl)
			return
		case set.typ == dns.TypeCNAME:
			cname = set
		}
	}
	if cname != nil {
		r.kind, r.set, r.ttl = alias, cname, cname.ttl
	}
}

func (s *scratch) found(set *rrset, ttl uint32) {
	s.result.kind, s.result.set, s.result.ttl = found, set, ttl
}

// Offsets of the section counts in the header.
const (
	answerCount     = 6
	authorityCount  = 8
	additionalCount = 10
)

func (m *message) counted(section, n int) {
	binary.BigEndian.PutUint16(m.b[section:], binary.BigEndian.Uint16(m.b[section:])+uint16(n))
}

// write adds the result to the message and returns the response code as it
// stands with it. It reports false if something did not fit.
func (s *scratch) write(z *served) (rcode int, ok bool) {
	m, r := &s.msg, &s.result
	switch r.kind {
	case found, alias:
		var now int64
		if r.set.expires != nil {
			now = s.time()
		}
		n, ok := m.set(s.name.bytes(), r.set, r.ttl, now)
		m.counted(answerCount, n)
		if r.set.typ == dns.TypeSOA && r.serial != 0 && ok {
			binary.BigEndian.PutUint32(m.b[len(m.b)-20:], r.serial)
		}
		if ok {
			s.additional()
		}
		return dns.RcodeSuccess, ok
	case referral:
		n, ok := m.set(s.name.suffix(r.cut), r.ns, r.ns.ttl, 0)
		m.counted(authorityCount, n)
		// Glue below the cut that does not fit must be asked for again over TCP
		// (RFC 9471 section 3).
		return dns.RcodeSuccess, ok && s.additional()
	}
	switch r.kind {
	case nxdomain:
		rcode = dns.RcodeNameError
	case unknown:
		return dns.RcodeServerFailure, true
	}
	if !m.rr(s.name.suffix(z.labels), dns.TypeSOA, r.soa.ttl, r.soa.rdata[0]) {
		return rcode, false
	}
	if r.serial != 0 {
		binary.BigEndian.PutUint32(m.b[len(m.b)-20:], r.serial)
	}
	m.counted(authorityCount, 1)
	return rcode, true
}

// additional adds the result's glue and reports whether all of it fitted.
func (s *scratch) additional() bool {
	for _, g := range s.result.glue {
		for _, set := range g.sets {
			n, ok := s.msg.set(g.name, set, set.ttl, 0)
			s.msg.counted(additionalCount, n)
			if !ok {
				return false
			}
		}
	}
	return true
}

// visited makes the alias' target the name that is looked up next. It reports
// true if that name was looked up before: the chain is a loop.
func (s *scratch) visited() bool {
	if !s.name.set(s.result.set.rdata[0]) {
		return true
	}
	m := &s.msg
	off := s.query.end
	if m.at(headerLen, s.name.bytes()) {
		return true
	}
	// Every record so far is a CNAME of the chain. The last is the one just
	// written: its owner cannot be its target unless the chain is a loop.
	for n := binary.BigEndian.Uint16(m.b[answerCount:]); n > 0; n-- {
		if m.at(off, s.name.bytes()) {
			return true
		}
		off, _ = skipName(m.b, off)
		off += 10 + int(binary.BigEndian.Uint16(m.b[off+8:]))
	}
	return false
}
