package certs

import (
	"fmt"
	"net"
	"testing"

	"github.com/miekg/dns"
)

// resolver is what the CA asks in a run of stock Caddy, which has 1,000 names
// validated at once, each three times over a TCP connection of its own: more
// than our name server lets one client have. Every name has the address
// 127.0.0.1; challenges are asked for at zone.
func (w *world) resolver(b *testing.B, zone int) {
	b.Helper()
	at := fmt.Sprintf("127.0.0.1:%d", w.dns)
	l, err := net.Listen("tcp", at)
	if err != nil {
		b.Fatal(err)
	}
	server := &dns.Server{Listener: l, Handler: dns.HandlerFunc(func(rw dns.ResponseWriter, req *dns.Msg) {
		answer := new(dns.Msg).SetReply(req)
		switch q := req.Question[0]; q.Qtype {
		case dns.TypeA:
			answer.Answer = []dns.RR{&dns.A{Hdr: dns.RR_Header{Name: q.Name, Rrtype: dns.TypeA, Class: dns.ClassINET}, A: net.IPv4(127, 0, 0, 1)}}
		case dns.TypeTXT:
			got, err := dns.Exchange(req, fmt.Sprintf("127.0.0.1:%d", zone))
			if err != nil {
				answer.Rcode = dns.RcodeServerFailure
				break
			}
			answer = got
		}
		_ = rw.WriteMsg(answer) // the CA asks again
	})}
	go func() { _ = server.ActivateAndServe() }() // ends with Shutdown
	b.Cleanup(func() { _ = server.Shutdown() })
}
