package dnsprovider

import (
	"encoding/binary"
	"fmt"
	"sync"
	"time"

	"github.com/miekg/dns"
)

// maxChain bounds how many CNAMEs one answer follows.
const maxChain = 8

// Source is one zone that an Authority serves: a *Zone or a *ZoneFile.
type Source interface {
	// apex is the zone's name in wire form, lower case.
	apex() []byte
	// find looks s.name, which lies in the zone, up and fills s.result.
	find(s *scratch, qtype uint16)
}

// Authority is the set of zones that are served. It is immutable; what its
// zones hold changes under it.
type Authority struct {
	zones map[string]*served
	// fewest and most labels of any zone's name.
	fewest, most int
	// other counts what lies outside every zone.
	other *zoneCounters
}

type served struct {
	source   Source
	labels   int
	counters *zoneCounters
}

// NewAuthority serves the given zones. It is an error if two have one name.
func NewAuthority(sources ...Source) (*Authority, error) {
	a := &Authority{zones: make(map[string]*served, len(sources)), fewest: maxLabels, other: countersOf(noZone)}
	for _, src := range sources {
		apex, name := src.apex(), presentation(src.apex())
		if a.zones[string(apex)] != nil {
			return nil, fmt.Errorf("serving zones: %s is configured twice", name)
		}
		labels := dns.CountLabel(name)
		a.zones[string(apex)] = &served{src, labels, countersOf(name)}
		a.fewest, a.most = min(a.fewest, labels), max(a.most, labels)
	}
	return a, nil
}

// scratch is what one answer is worked out in. It is reused.
type scratch struct {
	query  query
	name   wireName
	msg    message
	result result
	// now is the time in Unix seconds, once something asked for it.
	now int64
	// rel and alt hold names in presentation form.
	rel, alt [maxNameOctets + 1]byte
	// zone is what the answer is counted under.
	zone *zoneCounters
}

func (s *scratch) time() int64 {
	if s.now == 0 {
		s.now = time.Now().Unix()
	}
	return s.now
}

var scratches = sync.Pool{New: func() any { return new(scratch) }}

// Answer writes the answer to the request req into resp, over what it holds
// and up to its capacity, and returns it; nil is silence. tcp says that the
// answer may be as long as its capacity, else EDNS0 decides. It does not
// allocate, keeps neither slice and may be called concurrently; the two must
// not overlap.
func (a *Authority) Answer(req, resp []byte, tcp bool) []byte {
	s := scratches.Get().(*scratch)
	out := a.answer(s, req, resp, tcp)
	scratches.Put(s)
	return out
}

func (a *Authority) answer(s *scratch, req, resp []byte, tcp bool) []byte {
	q := &s.query
	rcode, ok := q.parse(req, &s.name)
	limit := min(q.limit(tcp), cap(resp))
	if !ok || limit < q.end+optLen {
		return nil
	}
	s.zone, s.now = a.other, 0
	m := &s.msg
	m.nknown = 0
	m.b = append(resp[:0], req[:q.end]...)
	clear(m.b[4:headerLen])
	if q.end > headerLen {
		m.b[5] = 1
		m.remember(headerLen, s.name.n, 1)
	}
	m.limit = limit
	if q.edns {
		m.limit -= optLen
	}
	flags := flagQR | q.flags&(0xf<<11|flagRD|flagCD)
	if rcode == dns.RcodeSuccess {
		var more uint16
		rcode, more = a.resolve(s)
		flags |= more
	}
	if q.edns {
		m.b = append(m.b, 0, 0, byte(dns.TypeOPT), udpPayload>>8, udpPayload&0xff, byte(rcode>>4), 0, 0, 0, 0, 0)
		if q.do {
			m.b[len(m.b)-4] = 0x80
		}
		binary.BigEndian.PutUint16(m.b[10:], binary.BigEndian.Uint16(m.b[10:])+1)
	}
	binary.BigEndian.PutUint16(m.b[2:], flags|uint16(rcode&0xf))
	s.zone.count(q.qtype, rcode, tcp)
	return m.b
}

// resolve writes the three sections and returns the response code with the
// flags AA and TC as they are due.
func (a *Authority) resolve(s *scratch) (rcode int, flags uint16) {
	q := &s.query
	switch {
	case q.edns && q.version != 0:
		return dns.RcodeBadVers, 0
	case q.qclass != dns.ClassINET:
		return dns.RcodeRefused, 0
	case q.qtype == dns.TypeAXFR, q.qtype == dns.TypeIXFR:
		return dns.RcodeRefused, 0
	case q.qtype == dns.TypeOPT, q.qtype == dns.TypeNone:
		return dns.RcodeFormatError, 0
	case q.qtype >= 128 && q.qtype < dns.TypeANY:
		return dns.RcodeNotImplemented, 0 // RFC 6895 section 3.1: further meta types
	}
	z := a.match(&s.name, q.qtype)
	if z == nil {
		return dns.RcodeRefused, 0
	}
	s.zone = z.counters
	flags = flagAA
	for step := 0; ; step++ {
		s.result = result{}
		z.source.find(s, q.qtype)
		if step == 0 && s.result.kind == referral {
			flags = 0
		}
		rcode, ok := s.write(z)
		if !ok {
			return rcode, flags | s.truncate()
		}
		if s.result.kind != alias || step == maxChain-1 {
			return rcode, flags
		}
		if s.visited() {
			return rcode, flags
		}
		if z = a.match(&s.name, q.qtype); z == nil {
			return rcode, flags
		}
	}
}

// match finds the closest zone around name. A DS record belongs to the parent
// of the zone that it is about (RFC 4035 section 3.1.4.1).
func (a *Authority) match(name *wireName, qtype uint16) *served {
	var apex *served
	for l := min(name.labels, a.most); l >= a.fewest; l-- {
		z := a.zones[string(name.suffix(l))]
		if z == nil {
			continue
		}
		if qtype == dns.TypeDS && l == name.labels {
			apex = z
			continue
		}
		return z
	}
	return apex
}

// truncate cuts the answer down to its question (RFC 2181 section 9) and
// returns the TC flag.
func (s *scratch) truncate() uint16 {
	s.msg.b = s.msg.b[:s.query.end]
	clear(s.msg.b[6:headerLen])
	return flagTC
}
