package dnsprovider

import (
	"hash/maphash"
	"net/netip"
	"time"

	"github.com/miekg/dns"
)

// Guard keeps our answers over UDP from being turned against others by whoever
// writes their addresses on questions. It makes the DNS cookies (RFC 7873) by
// which a client proves that it gets what is sent to its address, and bounds what
// is sent to clients without one. All servers of a process share one Guard.
type Guard struct {
	cookies cookies
	limiter limiter
	// unix is the time in Unix seconds; elapsed a clock that never falls.
	unix    func() int64
	elapsed func() time.Duration
}

// NewGuard makes a Guard. The secret is 32 random octets, of this process, or of
// all machines that answer at one address: they take each other's cookies then.
func NewGuard(secret [32]byte) *Guard {
	start := time.Now()
	return &Guard{
		cookies: cookies{secret: secret},
		limiter: limiter{seed: maphash.MakeSeed()},
		unix:    func() int64 { return time.Now().Unix() },
		elapsed: func() time.Duration { return time.Since(start) },
	}
}

// take asks whether an answer of a kind may be sent to addr over UDP. One to a
// loopback address always may: it never leaves the machine, whoever has asked.
func (g *Guard) take(addr netip.Addr, kind answerKind, interval time.Duration) verdict {
	if addr.IsLoopback() {
		return send
	}
	v := g.limiter.take(addr, kind, interval, g.elapsed())
	if v != send {
		rateLimited[kind][v-truncate].Add(1)
	}
	return v
}

// peer is who sent a query.
type peer struct {
	// addr is its address, no IPv4-mapped one.
	addr netip.Addr
	// tcp says that it came over TCP, whose handshake proves the address.
	tcp bool
}

// identify reads the cookie of a request that has one.
func (s *scratch) identify(req []byte, from peer) {
	q := &s.query
	if s.guard == nil {
		q.cookie = 0 // an option like any that we do not know
		return
	}
	s.now = s.guard.unix()
	s.cookie = s.guard.cookies.verify(q.cookieData(req), from.addr, s.now)
	s.proven = from.tcp || s.cookie >= oldCookie
}

// answerBare answers a request without a question (RFC 7873 section 5.4): BADCOOKIE
// if the server cookie in it is none of ours.
func (s *scratch) answerBare() (rcode int) {
	switch {
	case s.query.cookie == 0:
		return dns.RcodeFormatError
	case s.cookie == badCookie:
		return dns.RcodeBadCookie
	}
	return dns.RcodeSuccess
}

// optRecordLen is how long the OPT record of the answer will be.
func (q *query) optRecordLen() int {
	switch {
	case !q.edns:
		return 0
	case q.cookie == 0:
		return optLen
	}
	return optLen + cookieOptionLen
}

// opt writes the OPT record (RFC 6891), with what is due to a cookie: the server
// cookie that the client has while it is fresh, else a new one.
func (s *scratch) opt(rcode int, req []byte, from peer) {
	q, m := &s.query, &s.msg
	m.b = append(m.b, 0, 0, byte(dns.TypeOPT), udpPayload>>8, udpPayload&0xff, byte(rcode>>4), 0, 0, 0, 0, 0)
	if q.do {
		m.b[len(m.b)-4] = 0x80
	}
	m.counted(additionalCount, 1)
	if q.cookie == 0 {
		return
	}
	m.b[len(m.b)-1] = cookieOptionLen
	m.b = append(m.b, 0, byte(dns.EDNS0COOKIE), 0, cookieOptionLen-4)
	data := q.cookieData(req)
	if s.cookie == freshCookie {
		m.b = append(m.b, data...)
		return
	}
	m.b = s.guard.cookies.appendCookie(m.b, data, from.addr, s.now)
}
