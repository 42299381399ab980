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
	// interval is the time between two answers over UDP to one network that has
	// proven nothing; 0: as many as are asked for.
	interval time.Duration
}

type served struct {
	source   Source
	labels   int
	counters *zoneCounters
}

// NewAuthority serves the given zones. It is an error if two have one name.
func NewAuthority(sources ...Source) (*Authority, error) {
	a := &Authority{zones: make(map[string]*served, len(sources)), fewest: maxLabels, other: countersOf(noZone),
		interval: time.Second / DefaultRateLimit}
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

// Limited returns the same zones with another rate limit than DefaultRateLimit: the
// answers a second of each kind to one network over UDP, from 1 to MaxRateLimit;
// 0: none. It binds clients that have no DNS cookie.
func (a *Authority) Limited(perSecond int) *Authority {
	b := *a
	b.interval = 0
	if perSecond > 0 {
		b.interval = time.Second / time.Duration(min(perSecond, MaxRateLimit))
	}
	return &b
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
	// tally holds what was answered until it is counted; nil: it is counted at once.
	tally *tally
	// guard makes cookies and limits answers; nil: nothing does.
	guard *Guard
	// cookie is what the query's DNS cookie proves. proven says that the client
	// receives what is sent to its address: by a cookie of ours, or over TCP.
	cookie cookieState
	proven bool
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
// not overlap. It knows no client, and so neither cookies nor limits.
func (a *Authority) Answer(req, resp []byte, tcp bool) []byte {
	return a.answerPooled(nil, req, resp, peer{tcp: tcp})
}

func (a *Authority) answerPooled(g *Guard, req, resp []byte, from peer) []byte {
	s := scratches.Get().(*scratch)
	s.guard = g
	out := a.answer(s, req, resp, from)
	scratches.Put(s)
	return out
}

func (a *Authority) answer(s *scratch, req, resp []byte, from peer) []byte {
	q := &s.query
	rcode, ok := q.parse(req, &s.name)
	limit := min(q.limit(from.tcp), cap(resp))
	if !ok || limit < q.end+optLen+cookieOptionLen {
		return nil
	}
	s.zone, s.now, s.cookie, s.proven = a.other, 0, noCookie, from.tcp
	if q.cookie != 0 {
		s.identify(req, from)
	}
	m := &s.msg
	m.nknown = 0
	m.b = append(resp[:0], req[:q.end]...)
	clear(m.b[4:headerLen])
	if q.end > headerLen {
		m.b[5] = 1
		m.remember(headerLen, s.name.n, 1)
	}
	m.limit = limit - q.optRecordLen()
	flags := flagQR | q.flags&(0xf<<11|flagRD|flagCD)
	switch {
	case q.bare:
		rcode = s.answerBare()
	case rcode == dns.RcodeSuccess:
		var more uint16
		rcode, more = a.resolve(s)
		flags |= more
	}
	if a.interval > 0 && !s.proven && s.guard != nil {
		switch s.guard.take(from.addr, kindOf(rcode), a.interval) {
		case drop:
			return nil
		case truncate:
			flags |= s.truncate()
			rcode = dns.RcodeSuccess
		}
	}
	if q.edns {
		s.opt(rcode, req, from)
	}
	binary.BigEndian.PutUint16(m.b[2:], flags|uint16(rcode&0xf))
	s.tally.add(s.zone.of(q.qtype, rcode, from.tcp))
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
		if step == 0 && (s.result.kind == referral || s.result.kind == unknown) {
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
