package dnsprovider

import (
	"encoding/binary"

	"github.com/miekg/dns"
)

// The second octet pair of the header.
const (
	flagQR = 1 << 15
	flagAA = 1 << 10
	flagTC = 1 << 9
	flagRD = 1 << 8
	flagCD = 1 << 4
)

const (
	// udpPayload is the largest datagram we send and what we say we receive:
	// what passes every path unfragmented (DNS flag day 2020).
	udpPayload = 1232
	// minPayload is what every client without EDNS0 takes (RFC 1035 section 2.3.4).
	minPayload = 512
	// maxPayload is what TCP's length field can say.
	maxPayload = 65535
	// optLen is how long our OPT record is.
	optLen = 11
)

// query is a request as far as an answer depends on it.
type query struct {
	id, flags uint16
	// end is where the question ends in the request; headerLen: there is none
	// that could be echoed.
	end           int
	qtype, qclass uint16
	edns          bool
	// size is the client's payload size, version its EDNS version.
	size    uint16
	version uint8
	do      bool
	// cookie is where the data of the COOKIE option (RFC 7873) stands in the
	// request, 0 if there is none; cookieLen is how long it is, and well-formed.
	cookie, cookieLen int
	// bare: there is no question, which a COOKIE option may come without.
	bare bool
}

// parse reads a request. ok is false if it deserves silence: it is shorter
// than a header or is itself a response. Otherwise rcode is what the form alone
// decides: FORMERR, NOTIMP, or NOERROR to go on.
func (q *query) parse(req []byte, name *wireName) (rcode int, ok bool) {
	*q = query{end: headerLen}
	if len(req) < headerLen {
		return 0, false
	}
	q.id = binary.BigEndian.Uint16(req)
	q.flags = binary.BigEndian.Uint16(req[2:])
	if q.flags&flagQR != 0 {
		return 0, false
	}
	opcode := q.flags >> 11 & 0xf
	qd, an := binary.BigEndian.Uint16(req[4:]), binary.BigEndian.Uint16(req[6:])
	ns, ar := binary.BigEndian.Uint16(req[8:]), binary.BigEndian.Uint16(req[10:])
	malformed := dns.RcodeFormatError
	if opcode != dns.OpcodeQuery {
		malformed = dns.RcodeNotImplemented
	}
	if qd == 0 && opcode == dns.OpcodeQuery && an == 0 && ns == 0 && ar <= 2 {
		return q.parseBare(req, int(ar)), true
	}
	if qd != 1 {
		return malformed, true
	}
	off, fine := name.read(req, headerLen)
	if !fine || off+4 > len(req) {
		return malformed, true
	}
	q.qtype = binary.BigEndian.Uint16(req[off:])
	q.qclass = binary.BigEndian.Uint16(req[off+2:])
	off += 4
	q.end = off
	if opcode != dns.OpcodeQuery {
		return dns.RcodeNotImplemented, true
	}
	// An IXFR carries the SOA that the client holds. Nothing else has a record
	// before the additional section, and that holds OPT and TSIG at the most.
	if an != 0 || ns > 1 || ns == 1 && q.qtype != dns.TypeIXFR || ar > 2 {
		return dns.RcodeFormatError, true
	}
	return q.rrs(req, off, int(ns), int(ar)), true
}

// parseBare reads a request without a question, by which a client asks for a
// server cookie or about the one it has (RFC 7873 section 5.4). Without a COOKIE
// option it is malformed.
func (q *query) parseBare(req []byte, ar int) (rcode int) {
	if rcode := q.rrs(req, headerLen, 0, ar); rcode != dns.RcodeSuccess || q.cookie == 0 {
		return dns.RcodeFormatError
	}
	q.bare = true
	return dns.RcodeSuccess
}

// rrs reads the authority and the additional section, which are to end with
// the request.
func (q *query) rrs(req []byte, off, ns, ar int) (rcode int) {
	for i := range ns + ar {
		var fine bool
		if off, fine = q.rr(req, off, i >= ns); !fine {
			return dns.RcodeFormatError
		}
	}
	if off != len(req) {
		return dns.RcodeFormatError
	}
	return dns.RcodeSuccess
}

// rr reads the record at req[off:] and returns where it ends. An OPT record
// (RFC 6891) is kept, every other passed over.
func (q *query) rr(req []byte, off int, additional bool) (int, bool) {
	root := off < len(req) && req[off] == 0
	off, ok := skipName(req, off)
	if !ok || off+10 > len(req) {
		return 0, false
	}
	typ := binary.BigEndian.Uint16(req[off:])
	class := binary.BigEndian.Uint16(req[off+2:])
	ttl := binary.BigEndian.Uint32(req[off+4:])
	data := off + 10
	end := data + int(binary.BigEndian.Uint16(req[off+8:]))
	if end > len(req) {
		return 0, false
	}
	if typ != dns.TypeOPT {
		return end, true
	}
	if !root || q.edns || !additional {
		return 0, false
	}
	q.edns, q.size, q.version, q.do = true, class, uint8(ttl>>16), ttl&0x8000 != 0
	for data < end {
		if data+4 > end {
			return 0, false
		}
		n := int(binary.BigEndian.Uint16(req[data+2:]))
		// Of several cookies the first one counts (RFC 7873 section 5.2).
		if binary.BigEndian.Uint16(req[data:]) == dns.EDNS0COOKIE && q.cookie == 0 {
			if !cookieOK(n) || data+4+n > end {
				return 0, false
			}
			q.cookie, q.cookieLen = data+4, n
		}
		data += 4 + n
	}
	return end, data == end
}

// cookieData is the data of the COOKIE option, if there is one.
func (q *query) cookieData(req []byte) []byte { return req[q.cookie : q.cookie+q.cookieLen] }

// limit is how long the answer may be.
func (q *query) limit(tcp bool) int {
	switch {
	case tcp:
		return maxPayload
	case !q.edns:
		return minPayload
	default:
		return min(max(int(q.size), minPayload), udpPayload)
	}
}
