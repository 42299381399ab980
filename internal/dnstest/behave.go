package dnstest

import (
	"fmt"
	"net"
	"time"

	"github.com/miekg/dns"
)

// Exchange is one query at a server, and what it would honestly answer.
type Exchange struct {
	Server          *Server
	Writer          dns.ResponseWriter
	Request, Honest *dns.Msg
}

// UDP reports whether the query came by UDP.
func (x Exchange) UDP() bool {
	_, ok := x.Writer.RemoteAddr().(*net.UDPAddr)
	return ok
}

// wait returns after d, or at once when the world ends.
func (x Exchange) wait(d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-x.Server.world.done:
		return false
	}
}

// Behaviour answers a query in place of the honest server.
type Behaviour func(x Exchange)

// Silent never answers.
func Silent(Exchange) {}

// Fail answers every query with a response code.
func Fail(rcode int) Behaviour {
	return func(x Exchange) {
		m := new(dns.Msg)
		m.SetRcode(x.Request, rcode)
		x.Writer.WriteMsg(m)
	}
}

// ForType behaves by b when asked for a type, and is honest about all others.
func ForType(qtype uint16, b Behaviour) Behaviour {
	return func(x Exchange) {
		if x.Request.Question[0].Qtype == qtype {
			b(x)
			return
		}
		send(x.Writer, x.Request, x.Honest)
	}
}

// Slow answers honestly, after d.
func Slow(d time.Duration) Behaviour {
	return func(x Exchange) {
		if x.wait(d) {
			send(x.Writer, x.Request, x.Honest)
		}
	}
}

// OnlyTCP drops what comes by UDP.
func OnlyTCP(x Exchange) {
	if !x.UDP() {
		send(x.Writer, x.Request, x.Honest)
	}
}

// Truncated answers every UDP query with the truncation bit and nothing else.
func Truncated(x Exchange) {
	if !x.UDP() {
		send(x.Writer, x.Request, x.Honest)
		return
	}
	m := new(dns.Msg)
	m.SetReply(x.Request)
	m.Truncated = true
	x.Writer.WriteMsg(m)
}

// Drip forces the asker to TCP and then sends one byte every interval.
func Drip(interval time.Duration) Behaviour {
	return func(x Exchange) {
		if x.UDP() {
			Truncated(x)
			return
		}
		conn := x.Server.world.conns.of(x.Writer.RemoteAddr())
		raw, err := x.Honest.Pack()
		if err != nil || conn == nil {
			return
		}
		for _, b := range append([]byte{byte(len(raw) >> 8), byte(len(raw))}, raw...) {
			if !x.wait(interval) {
				return
			}
			if _, err := conn.Write([]byte{b}); err != nil {
				return
			}
		}
	}
}

// Giant answers with as many records as a message holds.
func Giant(x Exchange) {
	if x.UDP() {
		Truncated(x)
		return
	}
	m := x.Honest.Copy()
	name := x.Request.Question[0].Name
	for i := range 2000 {
		rr, err := dns.NewRR(fmt.Sprintf("%s 60 IN A 10.%d.%d.%d", name, i>>16, i>>8&255, i&255))
		if err != nil {
			return
		}
		m.Answer = append(m.Answer, rr)
	}
	m.Rcode = dns.RcodeSuccess
	m.Compress = true
	x.Writer.WriteMsg(m)
}

// ReferTo answers every query with a referral of owner to the named servers, and
// the given glue records in presentation form, true or not.
func ReferTo(owner string, servers []string, glue ...string) Behaviour {
	return func(x Exchange) {
		m := new(dns.Msg)
		m.SetReply(x.Request)
		for _, s := range servers {
			m.Ns = append(m.Ns, &dns.NS{
				Hdr: dns.RR_Header{Name: absolute(owner), Rrtype: dns.TypeNS, Class: dns.ClassINET, Ttl: 60},
				Ns:  absolute(s),
			})
		}
		for _, text := range glue {
			if rr, err := dns.NewRR(text); err == nil {
				m.Extra = append(m.Extra, rr)
			}
		}
		x.Writer.WriteMsg(m)
	}
}

// NotAuthoritative answers honestly, but without the authority bit, as a
// forwarder does that was listed as a name server.
func NotAuthoritative(x Exchange) {
	x.Honest.Authoritative = false
	send(x.Writer, x.Request, x.Honest)
}

// AsResolver answers honestly, as a recursive resolver would: with recursion
// available and without the authority bit.
func AsResolver(x Exchange) {
	x.Honest.Authoritative, x.Honest.RecursionAvailable = false, true
	send(x.Writer, x.Request, x.Honest)
}

// OtherQuestion answers a question that nobody asked.
func OtherQuestion(x Exchange) {
	x.Honest.Question[0].Name = "elsewhere.invalid."
	x.Writer.WriteMsg(x.Honest)
}

// Garbage answers with bytes that are no message.
func Garbage(x Exchange) {
	raw := make([]byte, 64)
	raw[0], raw[1] = byte(x.Request.Id>>8), byte(x.Request.Id)
	for i := 2; i < len(raw); i++ {
		raw[i] = 0xff
	}
	x.Writer.Write(raw)
}
