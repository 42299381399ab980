package dnsprovider

import (
	"bytes"
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"
)

func edns(version uint8, size uint16, do bool, options ...dns.EDNS0) func(*dns.Msg) {
	return func(m *dns.Msg) {
		opt := &dns.OPT{Hdr: dns.RR_Header{Name: ".", Rrtype: dns.TypeOPT}, Option: options}
		opt.SetVersion(version)
		opt.SetUDPSize(size)
		opt.SetDo(do)
		m.Extra = append(m.Extra, opt)
	}
}

func TestProtocol(t *testing.T) {
	a := mustAuthority(t, mustZone(t, testConfig(), testRecords(), nil))
	const owner = "api.example.com." + testZone
	answer := "NOERROR aa\napi.example.com.cname.example.net. 300 IN A 203.0.113.10"
	good := question(t, owner, dns.TypeA)
	patched := func(f func(b []byte) []byte) []byte { return f(bytes.Clone(good)) }
	for _, tc := range []struct {
		name string
		req  []byte
		want string
	}{
		{"an empty packet is met with silence", nil, "silence"},
		{"less than a header is met with silence", good[:11], "silence"},
		{"a response is met with silence", patched(func(b []byte) []byte { b[2] |= 0x80; return b }), "silence"},
		{"a malformed response is met with silence", patched(func(b []byte) []byte { b[2] |= 0x80; return b[:13] }), "silence"},
		{"a header alone is malformed", good[:12], "FORMERR"},
		{"a question cut short is malformed", good[:len(good)-1], "FORMERR"},
		{"octets after the question are malformed", append(bytes.Clone(good), 0), "FORMERR"},
		{"no question is malformed", patched(func(b []byte) []byte { b[5] = 0; return b[:12] }), "FORMERR"},
		{"two questions are malformed", patched(func(b []byte) []byte { b[5] = 2; return append(b, b[12:]...) }), "FORMERR"},
		{"an answer in a query is malformed", patched(func(b []byte) []byte { b[7] = 1; return b }), "FORMERR"},
		{"a pointer as question is malformed", patched(func(b []byte) []byte { return append(b[:12], 0xc0, 12, 0, 1, 0, 1) }), "FORMERR"},
		{"a label of 64 is malformed", patched(func(b []byte) []byte { b[12] = 64; return b }), "FORMERR"},
		{"an announced record that is missing is malformed", patched(func(b []byte) []byte { b[11] = 1; return b }), "FORMERR"},
		{"three additional records are malformed", question(t, owner, dns.TypeA, edns(0, 1232, false), edns(0, 1232, false), edns(0, 1232, false)), "FORMERR"},
		{"two OPT records are malformed", question(t, owner, dns.TypeA, edns(0, 1232, false), edns(0, 1232, false)), "FORMERR"},
		{"NOTIFY is not implemented", question(t, owner, dns.TypeSOA, func(m *dns.Msg) { m.Opcode = dns.OpcodeNotify }), "NOTIMP"},
		{"UPDATE is not implemented", question(t, owner, dns.TypeSOA, func(m *dns.Msg) { m.Opcode = dns.OpcodeUpdate }), "NOTIMP"},
		{"another opcode is not implemented whatever follows", patched(func(b []byte) []byte { b[2] |= 6 << 3; return b[:14] }), "NOTIMP"},
		{"class CH is refused", question(t, "version.bind", dns.TypeTXT, func(m *dns.Msg) { m.Question[0].Qclass = dns.ClassCHAOS }), "REFUSED"},
		{"class ANY is refused", question(t, owner, dns.TypeA, func(m *dns.Msg) { m.Question[0].Qclass = dns.ClassANY }), "REFUSED"},
		{"an unknown EDNS version is BADVERS", question(t, owner, dns.TypeA, edns(1, 1232, false)), "BADVERS"},
		{"unknown EDNS options are ignored", question(t, owner, dns.TypeA, edns(0, 1232, false,
			&dns.EDNS0_LOCAL{Code: 65001, Data: []byte("x")}, &dns.EDNS0_COOKIE{Code: dns.EDNS0COOKIE, Cookie: "0123456789abcdef"},
			&dns.EDNS0_SUBNET{Code: dns.EDNS0SUBNET, Family: 1, SourceNetmask: 24, Address: net.IPv4(192, 0, 2, 0)})), answer},
		{"an option longer than its record is malformed", func() []byte {
			b := question(t, owner, dns.TypeA, edns(0, 1232, false, &dns.EDNS0_LOCAL{Code: 65001, Data: []byte("x")}))
			b[len(b)-2] = 9
			return b
		}(), "FORMERR"},
		{"an IXFR with its SOA is refused", question(t, testZone, dns.TypeIXFR, func(m *dns.Msg) {
			rr, _ := dns.NewRR(testZone + ". 0 IN SOA a. b. 1 2 3 4 5")
			m.Ns = append(m.Ns, rr)
		}), "REFUSED"},
		{"a name of 255 octets is answered", question(t, longName(t, 255), dns.TypeA), "NXDOMAIN aa" + negativeSOA},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, show(ask(t, a, tc.req, false))); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// longName is a name in the test zone of that many octets in wire form.
func longName(t *testing.T, octets int) string {
	t.Helper()
	name := testZone
	for left := octets - (len(testZone) + 2); left > 0; {
		n := min(left-1, 63)
		if left-1-n == 1 {
			n--
		}
		name = strings.Repeat("x", n) + "." + name
		left -= n + 1
	}
	return name
}

func TestEDNSIsEchoed(t *testing.T) {
	a := mustAuthority(t, mustZone(t, testConfig(), testRecords(), nil))
	m := ask(t, a, question(t, "api.example.com."+testZone, dns.TypeA, edns(0, 4096, true)), false)
	opt := m.IsEdns0()
	if opt == nil || opt.UDPSize() != 1232 || !opt.Do() || opt.Version() != 0 || len(opt.Option) != 0 {
		t.Errorf("OPT %v", opt)
	}
	if m := ask(t, a, question(t, "api.example.com."+testZone, dns.TypeA), false); m.IsEdns0() != nil {
		t.Error("OPT without having been asked for")
	}
}

// TestSameAsMiekg packs each answer's records anew with miekg/dns: the octets
// must say the same and be no more.
func TestSameAsMiekg(t *testing.T) {
	f := mustFile(t, "customer.test", customerZone)
	a := mustAuthority(t, mustZone(t, testConfig(), testRecords(), nil), f)
	for _, owner := range []string{
		"api.example.com." + testZone, "Plain.Example.com.cName.example.net", "_acme-challenge.api.example.com." + testZone,
		"none." + testZone, "com." + testZone, "_apoxy-verify." + testZone, testZone, "ns2.dns." + testZone, "example.net",
		"customer.test", "www.customer.test", "shop.customer.test", "two.customer.test", "x.wild.customer.test",
		"host.sub.customer.test", "loop1.customer.test", "ent.customer.test", "srv.customer.test", "nowhere.customer.test",
	} {
		for _, qtype := range []uint16{dns.TypeA, dns.TypeAAAA, dns.TypeTXT, dns.TypeCNAME, dns.TypeNS, dns.TypeSOA, dns.TypeMX,
			dns.TypeCAA, dns.TypeANY, dns.TypeDS, dns.TypeSRV} {
			for _, req := range [][]byte{question(t, owner, qtype), question(t, owner, qtype, edns(0, 1232, true))} {
				ours := a.Answer(req, make([]byte, 0, 4096), false)
				m := new(dns.Msg)
				if err := m.Unpack(ours); err != nil {
					t.Fatalf("%s %s: %v", owner, dns.TypeToString[qtype], err)
				}
				m.Compress = true
				theirs, err := m.Pack()
				if err != nil {
					t.Fatal(err)
				}
				again := new(dns.Msg)
				if err := again.Unpack(theirs); err != nil {
					t.Fatal(err)
				}
				if m.String() != again.String() {
					t.Errorf("%s %s: ours\n%v\ntheirs\n%v", owner, dns.TypeToString[qtype], m, again)
				}
				if len(ours) > len(theirs) {
					t.Errorf("%s %s: %d octets, miekg/dns needs %d\n%v", owner, dns.TypeToString[qtype], len(ours), len(theirs), m)
				}
			}
		}
	}
}

func TestTruncation(t *testing.T) {
	var zone strings.Builder
	zone.WriteString("@ 60 SOA ns hostmaster 1 2 3 4 60\n@ 60 NS ns\nns 60 A 192.0.2.1\n")
	for i := range 40 {
		zone.WriteString("big 60 TXT \"" + strings.Repeat("v", 40) + string(rune('A'+i/26)) + string(rune('A'+i%26)) + "\"\n")
	}
	a := mustAuthority(t, mustFile(t, "customer.test", zone.String()))
	for _, tc := range []struct {
		name string
		edit []func(*dns.Msg)
	}{
		{"without EDNS at 512 octets", nil},
		{"with EDNS at its size", []func(*dns.Msg){edns(0, 700, false)}},
		{"with a huge EDNS size at 1232 octets", []func(*dns.Msg){edns(0, 65535, false)}},
		{"with a tiny EDNS size at 512 octets", []func(*dns.Msg){edns(0, 1, false)}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			req := question(t, "big.customer.test", dns.TypeTXT, tc.edit...)
			if got := show(ask(t, a, req, false)); got != "NOERROR aa tc" {
				t.Errorf("over UDP: %s", got)
			}
			if got := ask(t, a, req, true); got.Truncated || len(got.Answer) != 40 {
				t.Errorf("over TCP: %d answers, truncated %v", len(got.Answer), got.Truncated)
			}
		})
	}
}

func TestAnswerDoesNotAllocate(t *testing.T) {
	c := testConfig()
	c.OnQuery = func([]byte, bool) {}
	a := mustAuthority(t, mustZone(t, c, testRecords(), nil), mustFile(t, "customer.test", customerZone))
	resp := make([]byte, 0, udpPayload)
	for _, owner := range []string{"api.example.com." + testZone, "_acme-challenge.api.example.com." + testZone,
		"_wildcard.wild.example.com." + testZone, "fresh.example.com." + testZone, "www.customer.test", "shop.customer.test",
		"x.wild.customer.test", "host.sub.customer.test", "example.org"} {
		req := question(t, owner, dns.TypeA, edns(0, 1232, false))
		if n := testing.AllocsPerRun(200, func() { a.Answer(req, resp, false) }); n != 0 {
			t.Errorf("%s: %v allocations", owner, n)
		}
	}
}

func FuzzAnswer(f *testing.F) {
	a := mustAuthority(f, mustZone(f, testConfig(), testRecords(), nil), mustFile(f, "customer.test", customerZone)).Limited(0)
	g := NewGuard([32]byte{7})
	from := peer{addr: netip.MustParseAddr("192.0.2.7")}
	for _, cookie := range []string{"00", "0123456789abcdef", "0123456789abcdef0100000000000000fedcba9876543210"} {
		f.Add(question(f, testZone, dns.TypeSOA, withCookie(cookie)), false)
		bare := question(f, ".", dns.TypeSOA, withCookie(cookie))
		bare[5] = 0
		f.Add(append(bare[:headerLen:headerLen], bare[headerLen+5:]...), false)
	}
	for _, owner := range []string{"api.example.com." + testZone, "_acme-challenge.api.example.com." + testZone, "shop.customer.test",
		"host.sub.customer.test", "loop1.customer.test", "."} {
		f.Add(question(f, owner, dns.TypeA), false)
		f.Add(question(f, owner, dns.TypeANY, edns(0, 512, true)), true)
	}
	f.Fuzz(func(t *testing.T, req []byte, tcp bool) {
		from.tcp = tcp
		out := a.answerPooled(g, req, make([]byte, 0, maxPayload), from)
		if out == nil {
			return
		}
		if len(req) < headerLen || req[2]&0x80 != 0 {
			t.Fatal("an answer where silence is due")
		}
		if !tcp && len(out) > udpPayload {
			t.Fatalf("%d octets over UDP", len(out))
		}
		m := new(dns.Msg)
		if err := m.Unpack(out); err != nil {
			t.Fatalf("%v\nquery %x\nanswer %x", err, req, out)
		}
		if !m.Response || !bytes.Equal(out[:2], req[:2]) {
			t.Fatalf("header %v", m.MsgHdr)
		}
	})
}
