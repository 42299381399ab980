package million

import (
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/miekg/dns"

	"github.com/apoxy-dev/caddy-apoxy/bench"
)

// Where the customers' name servers and the recursive resolver answer.
var (
	nameServers = []string{"127.77.0.1", "127.77.0.2"}
	recursor    = "127.77.0.54"
)

// internet is the DNS of all customers: every hostname has its main record and its
// delegation in place.
type internet struct {
	questions atomic.Int64
}

func newInternet(b *testing.B) *internet {
	n := new(internet)
	for _, addr := range append([]string{recursor}, nameServers...) {
		n.listen(b, addr, addr == recursor)
	}
	return n
}

func (n *internet) listen(b *testing.B, addr string, recursive bool) {
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.ParseIP(addr), Port: 53})
	if err != nil {
		b.Fatal(err)
	}
	if err := conn.SetReadBuffer(4 << 20); err != nil {
		b.Fatal(err)
	}
	var done sync.WaitGroup
	b.Cleanup(func() { conn.Close(); done.Wait() })
	done.Go(func() {
		buf := make([]byte, 4096)
		for {
			size, from, err := conn.ReadFromUDPAddrPort(buf)
			if err != nil {
				return
			}
			q := new(dns.Msg)
			if q.Unpack(buf[:size]) != nil || len(q.Question) != 1 {
				continue
			}
			n.questions.Add(1)
			m := answer(q, recursive)
			if out, err := m.Pack(); err == nil {
				_, _ = conn.WriteToUDPAddrPort(out, from) // a lost answer is asked for again
			}
		}
	})
}

// answer is what the name servers, and the resolver, say.
func answer(q *dns.Msg, recursive bool) *dns.Msg {
	m := new(dns.Msg).SetReply(q)
	m.Authoritative, m.RecursionAvailable = !recursive, recursive
	name, qtype := strings.ToLower(q.Question[0].Name), q.Question[0].Qtype
	labels := dns.SplitDomainName(name)
	domain := ""
	for i, l := range labels {
		if strings.HasPrefix(l, "customer-") {
			domain = strings.Join(labels[i:], ".") + "."
		}
	}
	switch {
	case strings.HasSuffix(name, ".dns.example."):
		if qtype == dns.TypeA {
			m.Answer = append(m.Answer, rr(name+" 3600 IN A "+nameServers[strings.Count(labels[0], "2")]))
		}
		return m
	case domain == "":
		m.Rcode = dns.RcodeNameError
		return m
	case name == domain && qtype == dns.TypeNS:
		m.Answer = append(m.Answer, rr(name+" 3600 IN NS ns1.dns.example."), rr(name+" 3600 IN NS ns2.dns.example."))
		return m
	case name == domain && qtype == dns.TypeSOA:
		m.Answer = append(m.Answer, soa(domain))
		return m
	case name == domain || qtype == dns.TypeCAA || strings.HasPrefix(name, "_apoxy-challenge."):
		if strings.HasPrefix(name, "_apoxy-challenge.") {
			m.Rcode = dns.RcodeNameError
		}
		m.Ns = append(m.Ns, soa(domain))
		return m
	}
	target := name + bench.Zone + "."
	m.Answer = append(m.Answer, rr(name+" 3600 IN CNAME "+target))
	if recursive && qtype == dns.TypeA && !strings.HasPrefix(name, "_") {
		m.Answer = append(m.Answer, rr(target+" 60 IN A "+edge))
	}
	return m
}

func soa(domain string) dns.RR {
	return rr(domain + " 3600 IN SOA ns1.dns.example. . 1 3600 600 86400 60")
}

func rr(text string) dns.RR {
	out, err := dns.NewRR(text)
	if err != nil {
		panic(err) // the texts above are right
	}
	return out
}
