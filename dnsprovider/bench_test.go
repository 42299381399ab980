package dnsprovider

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"net/netip"
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

func (x *indexed) Whole() bool               { return true }
func (x *indexed) HasBelow(name []byte) bool { return x.above[string(name)] > 0 }

func BenchmarkAnswer(b *testing.B) {
	const n = 100_000
	a := mustAuthority(b, mustZone(b, testConfig(), newIndexed(n), nil), mustFile(b, "customer.test", customerZone)).Limited(MaxRateLimit)
	record := func(i int) string { return fmt.Sprintf("www%d.customer%d.example.com.%s", i%3, i, testZone) }
	loopback := func(int) netip.Addr { return netip.IPv6Loopback() }
	outside := func(i int) netip.Addr { return netip.AddrFrom4([4]byte{203, byte(i >> 8), byte(i), 7}) }
	g := NewGuard([32]byte{7})
	for _, bc := range []struct {
		name  string
		qtype uint16
		owner func(i int) string
		from  func(i int) netip.Addr
		// cookie that comes with the question, for the address it comes from.
		cookie func(addr netip.Addr) []byte
	}{
		{"record", dns.TypeA, record, loopback, nil},
		{"challenge", dns.TypeTXT, func(i int) string {
			return fmt.Sprintf("_acme-challenge.www%d.customer%d.example.com.%s", i%3, i, testZone)
		}, loopback, nil},
		{"nxdomain", dns.TypeA, func(i int) string { return fmt.Sprintf("none%d.example.com.%s", i, testZone) }, loopback, nil},
		{"file", dns.TypeA, func(int) string { return "www.customer.test" }, loopback, nil},
		{"record/limited", dns.TypeA, record, outside, nil},
		{"record/firstcookie", dns.TypeA, record, outside, func(netip.Addr) []byte { return []byte("CLIENT's") }},
		{"record/cookie", dns.TypeA, record, outside, func(addr netip.Addr) []byte {
			return g.cookies.appendCookie(nil, []byte("CLIENT's"), addr, g.unix())
		}},
	} {
		b.Run(bc.name, func(b *testing.B) {
			reqs := make([][]byte, 4096)
			peers := make([]peer, len(reqs))
			for i := range reqs {
				peers[i].addr = bc.from(i)
				edit := edns(0, 1232, false)
				if bc.cookie != nil {
					edit = withCookie(hex.EncodeToString(bc.cookie(peers[i].addr)))
				}
				reqs[i] = question(b, bc.owner(i*n/len(reqs)), bc.qtype, edit)
			}
			s := scratch{guard: g}
			resp := make([]byte, 0, udpPayload)
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if a.answer(&s, reqs[i%len(reqs)], resp, peers[i%len(reqs)]) == nil {
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
