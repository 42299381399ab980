package dnsprovider

import (
	"encoding/binary"

	"github.com/miekg/dns"
)

// rrset is an RRset ready to be written. It is never modified once it can be
// reached by a query.
type rrset struct {
	typ uint16
	ttl uint32
	// rdata of each record in wire form, names uncompressed.
	rdata [][]byte
	// expires says until when each record is answered, in Unix seconds; 0: for
	// ever. Nil: none of them expires.
	expires []int64
}

// live counts the records that are answered at now.
func (r *rrset) live(now int64) int {
	if r.expires == nil {
		return len(r.rdata)
	}
	n := 0
	for _, t := range r.expires {
		if t == 0 || now < t {
			n++
		}
	}
	return n
}

// message is an answer under construction.
type message struct {
	b []byte
	// limit is how long b may become; its capacity is at least that.
	limit int
	// known holds where names and their suffixes stand in b, with their
	// uncompressed length, for compression (RFC 1035 section 4.1.4).
	known  [64]knownName
	nknown int
}

type knownName struct {
	off  uint16
	left uint8
}

// remember registers the name of n octets that begins at off in b, and every
// suffix of it longer than left octets, the part that is known already.
func (m *message) remember(off, n, left int) {
	for n > left && m.nknown < len(m.known) && off < 0x4000 {
		m.known[m.nknown] = knownName{uint16(off), uint8(n)}
		m.nknown++
		l := 1 + int(m.b[off])
		off += l
		n -= l
	}
}

// at reports whether the name at off in b is name, case aside.
func (m *message) at(off int, name []byte) bool {
	for {
		l := m.b[off]
		if l&0xc0 == 0xc0 {
			off = int(binary.BigEndian.Uint16(m.b[off:]) & 0x3fff)
			continue
		}
		if l != name[0] {
			return false
		}
		if l == 0 {
			return true
		}
		for i := 1; i <= int(l); i++ {
			if lower[m.b[off+i]] != lower[name[i]] {
				return false
			}
		}
		off += 1 + int(l)
		name = name[1+l:]
	}
}

// name writes an uncompressed wire name, compressed against what the message
// holds. It reports false if there is no room.
func (m *message) name(name []byte) bool {
	start := len(m.b)
	rest := name
	for len(rest) > 1 {
		for i := range m.known[:m.nknown] {
			k := m.known[i]
			if int(k.left) == len(rest) && m.at(int(k.off), rest) {
				if len(m.b)+2 > m.limit {
					m.b = m.b[:start]
					return false
				}
				m.b = append(m.b, 0xc0|byte(k.off>>8), byte(k.off))
				m.remember(start, len(name), len(rest))
				return true
			}
		}
		l := 1 + int(rest[0])
		if len(m.b)+l > m.limit {
			m.b = m.b[:start]
			return false
		}
		m.b = append(m.b, rest[:l]...)
		rest = rest[l:]
	}
	if len(m.b)+1 > m.limit {
		m.b = m.b[:start]
		return false
	}
	m.b = append(m.b, 0)
	m.remember(start, len(name), 1)
	return true
}

// rr writes one record. It reports false, and writes nothing, if there is
// no room.
func (m *message) rr(owner []byte, typ uint16, ttl uint32, rdata []byte) bool {
	start, known := len(m.b), m.nknown
	if !m.name(owner) || len(m.b)+10 > m.limit {
		m.b, m.nknown = m.b[:start], known
		return false
	}
	m.b = binary.BigEndian.AppendUint16(m.b, typ)
	m.b = append(m.b, 0, dns.ClassINET)
	m.b = binary.BigEndian.AppendUint32(m.b, ttl)
	m.b = append(m.b, 0, 0)
	data := len(m.b)
	if !m.rdata(typ, rdata) {
		m.b, m.nknown = m.b[:start], known
		return false
	}
	binary.BigEndian.PutUint16(m.b[data-2:], uint16(len(m.b)-data))
	return true
}

// rdata writes a record's data, with the names of those types compressed that
// every resolver knows (RFC 3597 section 4).
func (m *message) rdata(typ uint16, rdata []byte) bool {
	fixed, names := 0, 0
	switch typ {
	case dns.TypeCNAME, dns.TypeNS, dns.TypePTR:
		names = 1
	case dns.TypeMX:
		fixed, names = 2, 1
	case dns.TypeSOA:
		names = 2
	}
	if !m.raw(rdata[:fixed]) {
		return false
	}
	rdata = rdata[fixed:]
	for ; names > 0; names-- {
		end, ok := skipName(rdata, 0)
		if !ok || !m.name(rdata[:end]) {
			return false
		}
		rdata = rdata[end:]
	}
	return m.raw(rdata)
}

func (m *message) raw(b []byte) bool {
	if len(m.b)+len(b) > m.limit {
		return false
	}
	m.b = append(m.b, b...)
	return true
}

// set writes every record of an RRset that is live at now and returns how many
// that were. It reports false if there was no room for all of them.
func (m *message) set(owner []byte, s *rrset, ttl uint32, now int64) (int, bool) {
	n := 0
	for i, rdata := range s.rdata {
		if s.expires != nil && s.expires[i] != 0 && s.expires[i] <= now {
			continue
		}
		if !m.rr(owner, s.typ, ttl, rdata) {
			return n, false
		}
		n++
	}
	return n, true
}
