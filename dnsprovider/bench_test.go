package dnsprovider

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/miekg/dns"
)

// indexed are Names with an index of what lies above them, as the table of
// hostnames has it.
type indexed struct {
	names map[string]Name
	above map[string]int
}

func newIndexed(n int) *indexed {
	x := &indexed{map[string]Name{}, map[string]int{}}
	for i := range n {
		host := fmt.Sprintf("www%d.customer%d.example.com", i%3, i)
		x.names[host] = Name{TTL: 300, TLS: true}
		for rest := []byte(host); ; {
			_, up, ok := bytes.Cut(rest, []byte("."))
			if !ok {
				break
			}
			x.above[string(up)]++
			rest = up
		}
	}
	return x
}

func (x *indexed) Lookup(hostname []byte) (Name, bool) {
	n, ok := x.names[string(hostname)]
	return n, ok
}

func (x *indexed) HasBelow(name []byte) bool { return x.above[string(name)] > 0 }

func BenchmarkAnswer(b *testing.B) {
	const n = 100_000
	a := mustAuthority(b, mustZone(b, testConfig(), newIndexed(n), nil), mustFile(b, "customer.test", customerZone))
	for _, bc := range []struct {
		name  string
		qtype uint16
		owner func(i int) string
	}{
		{"record", dns.TypeA, func(i int) string { return fmt.Sprintf("www%d.customer%d.example.com.%s", i%3, i, testZone) }},
		{"challenge", dns.TypeTXT, func(i int) string {
			return fmt.Sprintf("_acme-challenge.www%d.customer%d.example.com.%s", i%3, i, testZone)
		}},
		{"nxdomain", dns.TypeA, func(i int) string { return fmt.Sprintf("none%d.example.com.%s", i, testZone) }},
		{"file", dns.TypeA, func(int) string { return "www.customer.test" }},
	} {
		b.Run(bc.name, func(b *testing.B) {
			reqs := make([][]byte, 4096)
			for i := range reqs {
				reqs[i] = question(b, bc.owner(i*n/len(reqs)), bc.qtype, edns(0, 1232, false))
			}
			var s scratch
			resp := make([]byte, 0, udpPayload)
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if a.answer(&s, reqs[i%len(reqs)], resp, false) == nil {
					b.Fatal("no answer")
				}
			}
		})
	}
}

// BenchmarkServer is one client on loopback that waits for each answer: mostly
// the kernel's time.
func BenchmarkServer(b *testing.B) {
	a := mustAuthority(b, mustZone(b, testConfig(), newIndexed(100_000), nil))
	s := mustListen(b, "127.0.0.1:0", ServerOptions{}, a)
	conn, err := dns.Dial("udp", s.Addr().String())
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close()
	req := question(b, "www0.customer3.example.com."+testZone, dns.TypeA)
	buf := make([]byte, 4096)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := conn.Conn.Write(req); err != nil {
			b.Fatal(err)
		}
		if _, err := conn.Conn.Read(buf); err != nil {
			b.Fatal(err)
		}
	}
}
