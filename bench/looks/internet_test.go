package looks

import (
	"encoding/binary"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"
)

const (
	// latency is what every name server and the resolver takes to answer.
	latency = 20 * time.Millisecond
	// nameServers is how many live ones share the domains; each domain has two.
	nameServers = 32
)

// internet is a DNS whose content follows from the names: the registered
// domains c000000.example, c000001.example, … have two name servers each, and
// those whose number dead says have two that never answer.
type internet struct {
	tb        testing.TB
	dead      func(domain int) bool
	resolver  *net.UDPConn
	port      int // of the name servers
	published sync.Map
	queries   atomic.Int64 // to name servers that live
}

func newInternet(tb testing.TB, dead func(domain int) bool) *internet {
	n := &internet{tb: tb, dead: dead}
	n.resolver = n.listen("127.0.0.1", 0, n.recurse)
	first := n.listen(liveAddr(0), 0, n.answer)
	n.port = first.LocalAddr().(*net.UDPAddr).Port
	for i := 1; i < nameServers; i++ {
		n.listen(liveAddr(i), n.port, n.answer)
	}
	for i := range 2 {
		n.listen(deadAddr(i), n.port, nil)
	}
	return n
}

func liveAddr(i int) string { return fmt.Sprintf("127.77.0.%d", i+1) }
func deadAddr(i int) string { return fmt.Sprintf("127.77.1.%d", i+1) }

// listen answers what comes to an address by handle, after the latency, until
// the test ends; a nil handle answers nothing.
func (n *internet) listen(addr string, port int, handle func(query []byte) []byte) *net.UDPConn {
	n.tb.Helper()
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.ParseIP(addr), Port: port})
	if err != nil {
		n.tb.Fatal(err)
	}
	if err := conn.SetReadBuffer(4 << 20); err != nil {
		n.tb.Fatal(err)
	}
	var done sync.WaitGroup
	n.tb.Cleanup(func() { conn.Close(); done.Wait() })
	done.Go(func() {
		buf := make([]byte, 4096)
		for {
			size, from, err := conn.ReadFromUDPAddrPort(buf)
			if err != nil {
				return
			}
			if handle == nil {
				continue
			}
			if out := handle(buf[:size]); out != nil {
				time.AfterFunc(latency, func() { _, _ = conn.WriteToUDPAddrPort(out, from) }) // a lost answer is asked for again
			}
		}
	})
	return conn
}

// question reads the only question of a query.
func question(query []byte) (name string, qtype uint16, end int, ok bool) {
	var b strings.Builder
	at := 12
	for {
		if at >= len(query) {
			return "", 0, 0, false
		}
		l := int(query[at])
		at++
		if l == 0 {
			break
		}
		if at+l > len(query) {
			return "", 0, 0, false
		}
		b.Write(query[at : at+l])
		b.WriteByte('.')
		at += l
	}
	if at+4 > len(query) {
		return "", 0, 0, false
	}
	return strings.ToLower(b.String()), binary.BigEndian.Uint16(query[at:]), at + 4, true
}

// answer is an authoritative name server's: what was published, else NXDOMAIN
// with the SOA of the domain. Written out by hand, so that the servers take
// little of the processor that is being measured.
func (n *internet) answer(query []byte) []byte {
	name, _, end, ok := question(query)
	if !ok {
		return nil
	}
	n.queries.Add(1)
	out := make([]byte, end, end+96)
	copy(out, query[:end])
	out[2], out[3] = 0x84, 0 // response, authoritative
	clear(out[6:12])
	if target, ok := n.published.Load(name); ok {
		out[7] = 1
		return record(out, 12, dns.TypeCNAME, target.([]byte))
	}
	out[3] = dns.RcodeNameError
	out[9] = 1
	// The domain begins two labels from the name's end.
	apex := 12
	for labels := strings.Count(name, "."); labels > 2; labels-- {
		apex += 1 + int(query[apex])
	}
	soa := append([]byte{0, 0}, make([]byte, 20)...)
	binary.BigEndian.PutUint32(soa[18:], 60)
	return record(out, apex, dns.TypeSOA, soa)
}

// record adds a record whose owner stands at an offset of the message.
func record(out []byte, owner int, typ uint16, data []byte) []byte {
	out = binary.BigEndian.AppendUint16(out, 0xc000|uint16(owner))
	out = binary.BigEndian.AppendUint16(out, typ)
	out = binary.BigEndian.AppendUint16(out, dns.ClassINET)
	out = binary.BigEndian.AppendUint32(out, 60)
	out = binary.BigEndian.AppendUint16(out, uint16(len(data)))
	return append(out, data...)
}

// recurse is the recursive resolver: it knows the domains' name servers, fails
// for what lies on dead ones, and asks nobody.
func (n *internet) recurse(query []byte) []byte {
	q := new(dns.Msg)
	if q.Unpack(query) != nil || len(q.Question) != 1 {
		return nil
	}
	name := strings.ToLower(q.Question[0].Name)
	m := new(dns.Msg).SetReply(q)
	m.RecursionAvailable = true
	var domain int
	labels := dns.SplitDomainName(name)
	switch {
	case len(labels) == 3 && labels[1] == "ns":
		if q.Question[0].Qtype == dns.TypeA {
			m.Answer = append(m.Answer, rr("%s 300 IN A %s", name, strings.ReplaceAll(labels[0], "-", ".")))
		}
	case len(labels) >= 2 && scan(labels[len(labels)-2], &domain):
		apex := strings.Join(labels[len(labels)-2:], ".") + "."
		switch {
		case name == apex && q.Question[0].Qtype == dns.TypeNS:
			for i := range 2 {
				addr := liveAddr((domain + i) % nameServers)
				if n.dead(domain) {
					addr = deadAddr(i)
				}
				m.Answer = append(m.Answer, rr("%s 300 IN NS %s.ns.example.", name, strings.ReplaceAll(addr, ".", "-")))
			}
		case n.dead(domain):
			m.Rcode = dns.RcodeServerFailure
		default:
			m.Rcode = dns.RcodeNameError
			m.Ns = append(m.Ns, rr("%s 60 IN SOA . . 1 3600 600 86400 60", apex))
		}
	default:
		m.Rcode = dns.RcodeNameError
	}
	out, err := m.Pack()
	if err != nil {
		return nil
	}
	return out
}

func scan(label string, domain *int) bool {
	_, err := fmt.Sscanf(label, "c%06d", domain)
	return err == nil
}

func rr(format string, args ...any) dns.RR {
	out, err := dns.NewRR(fmt.Sprintf(format, args...))
	if err != nil {
		panic(err) // the formats above are right
	}
	return out
}

// publish makes a CNAME appear.
func (n *internet) publish(name, target string) {
	buf := make([]byte, 256)
	size, err := dns.PackDomainName(target, buf, 0, nil, false)
	if err != nil {
		n.tb.Fatal(err)
	}
	n.published.Store(strings.ToLower(name), buf[:size])
}
