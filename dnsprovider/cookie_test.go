package dnsprovider

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// The results of the reference implementation (vectors.h) for the key 00 01 … 0f
// and the messages of no octets, 00, 00 01 and so on.
func TestSipHash(t *testing.T) {
	var key [16]byte
	message := make([]byte, 64)
	for i := range message {
		message[i] = byte(i)
	}
	copy(key[:], message)
	k := newSipKey(key)
	for n, want := range map[int]uint64{
		0: 0x726fdb47dd0e0e31, 1: 0x74f839c593dc67fd, 7: 0xab0200f58b01d137, 8: 0x93f5f5799a932462,
		15: 0xa129ca6149be45e5, 63: 0x958a324ceb064572,
	} {
		if got := k.sum(message[:n]); got != want {
			t.Errorf("%d octets: %x, want %x", n, got, want)
		}
	}
}

// keyed makes cookies with one key on every day.
func keyed(t *testing.T, hexKey string, now int64) *cookies {
	t.Helper()
	k := newSipKey([16]byte(unhex(t, hexKey)))
	c := new(cookies)
	c.keys.Store(&cookieKeys{now / keyLife, [3]sipKey{k, k, k}})
	return c
}

// RFC 9018 appendix A: what the server gets, with which key that was made, and
// what it answers with its own at which time.
func TestCookiesOfRFC9018(t *testing.T) {
	const key, older, newer = "e5e973e5a6b2a43f48e7dc849e37bfcf", "dd3bdf9344b678b185a6f5cb60fca715", "445536bcd2513298075a5d379663c962"
	for _, tc := range []struct {
		name, addr, query string
		made              string // with which key
		state             cookieState
		now               int64
		key, answer       string
	}{
		{"A.1 learning a new server cookie", "198.51.100.100", "2464c4abcf10c957",
			key, noCookie, 1559731985, key, "2464c4abcf10c957010000005cf79f111f8130c3eee29480"},
		{"A.2 the same client learning a renewed server cookie", "198.51.100.100", "2464c4abcf10c957010000005cf79f111f8130c3eee29480",
			key, oldCookie, 1559734385, key, "2464c4abcf10c957010000005cf7a871d4a564a1442aca77"},
		{"A.3 another client learning a renewed server cookie, the reserved octets not zero", "203.0.113.203", "fc93fc62807ddb8601abcdef5cf78f71a314227b6679ebf5",
			key, badCookie /* older than an hour */, 1559734700, key, "fc93fc62807ddb86010000005cf7a9acf73a7810aca2381e"},
		{"A.3 the same query while its cookie was valid", "203.0.113.203", "fc93fc62807ddb8601abcdef5cf78f71a314227b6679ebf5",
			key, freshCookie, 1559728000, key, ""},
		{"A.4 IPv6 query with rolled over secret", "2001:db8:220:1:59de:d0f4:8769:82b8", "22681ab97d52c298010000005cf7c57926556bd0934c72f8",
			older, freshCookie, 1559741961, newer, "22681ab97d52c298010000005cf7c609a6bb79d16625507a"},
		{"A.4 the same query at a server that never had the old secret", "2001:db8:220:1:59de:d0f4:8769:82b8", "22681ab97d52c298010000005cf7c57926556bd0934c72f8",
			newer, badCookie, 1559741961, newer, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			addr, query := netip.MustParseAddr(tc.addr), unhex(t, tc.query)
			if got := keyed(t, tc.made, tc.now).verify(query, addr, tc.now); got != tc.state {
				t.Errorf("state %d, want %d", got, tc.state)
			}
			if tc.answer == "" {
				return
			}
			if got := hex.EncodeToString(keyed(t, tc.key, tc.now).appendCookie(nil, query, addr, tc.now)); got != tc.answer {
				t.Errorf("answer %s, want %s", got, tc.answer)
			}
		})
	}
}

func TestCookieLife(t *testing.T) {
	c := &cookies{secret: [32]byte{1}}
	addr, client := netip.MustParseAddr("192.0.2.7"), unhex(t, "0123456789abcdef")
	// A quarter of an hour before a new day, and before 32 bits are over.
	for _, made := range []int64{20000*keyLife - 900, 1<<32 - 900} {
		data := c.appendCookie(nil, client, addr, made)
		for _, tc := range []struct {
			name string
			at   int64
			want cookieState
		}{
			{"just made", 0, freshCookie},
			{"by a server five minutes ahead", -300, freshCookie},
			{"by a server further ahead", -301, badCookie},
			{"half an hour old", 1800, freshCookie},
			{"older than that", 1801, oldCookie},
			{"an hour old", 3600, oldCookie},
			{"older than that", 3601, badCookie},
			{"a day old", keyLife, badCookie},
		} {
			if got := c.verify(data, addr, made+tc.at); got != tc.want {
				t.Errorf("made at %d, %s: state %d, want %d", made, tc.name, got, tc.want)
			}
		}
	}
}

func TestCookieKeys(t *testing.T) {
	const now = 20000*keyLife + 7
	addr, client := netip.MustParseAddr("192.0.2.7"), unhex(t, "0123456789abcdef")
	c := &cookies{secret: [32]byte{1}}
	data := c.appendCookie(nil, client, addr, now)
	if c.verify(data, netip.MustParseAddr("192.0.2.8"), now) != badCookie {
		t.Error("another address has the cookie, too")
	}
	if (&cookies{secret: [32]byte{1}}).verify(data, addr, now) != freshCookie {
		t.Error("a server with the same secret does not take the cookie")
	}
	if (&cookies{secret: [32]byte{2}}).verify(data, addr, now) != badCookie {
		t.Error("a server with another secret takes the cookie")
	}
	for i := range data {
		forged := append([]byte(nil), data...)
		forged[i] ^= 1
		if c.verify(forged, addr, now) != badCookie {
			t.Errorf("the cookie is good with octet %d changed", i)
		}
	}
	if got := c.verify(append(data, 0), addr, now); got != badCookie {
		t.Errorf("a longer cookie: state %d", got)
	}
	if *c.key(now, now) == *c.key(now+keyLife, now+keyLife) {
		t.Error("two days have one key")
	}
}

// clocked is a Guard whose clocks the test sets.
type clocked struct {
	*Guard
	now     int64
	passing time.Duration
}

func newClocked() *clocked {
	c := &clocked{Guard: NewGuard([32]byte{7}), now: 20000 * keyLife}
	c.unix = func() int64 { return c.now }
	c.elapsed = func() time.Duration { return c.passing }
	return c
}

// exchange answers a query that came from addr.
func exchange(t testing.TB, a *Authority, g *Guard, req []byte, addr string, tcp bool) *dns.Msg {
	t.Helper()
	out := a.answerPooled(g, req, make([]byte, 0, maxPayload), peer{netip.MustParseAddr(addr), tcp})
	if out == nil {
		return nil
	}
	m := new(dns.Msg)
	if err := m.Unpack(out); err != nil {
		t.Fatalf("answer does not unpack: %v\n%x", err, out)
	}
	return m
}

func withCookie(cookie string) func(*dns.Msg) {
	return edns(0, 1232, false, &dns.EDNS0_COOKIE{Code: dns.EDNS0COOKIE, Cookie: cookie})
}

// cookieOf is the cookie of an answer, in hexadecimal digits; "" is none.
func cookieOf(m *dns.Msg) string {
	if opt := m.IsEdns0(); opt != nil {
		for _, o := range opt.Option {
			if c, ok := o.(*dns.EDNS0_COOKIE); ok {
				return c.Cookie
			}
		}
	}
	return ""
}

func TestCookiesAreAnswered(t *testing.T) {
	a := mustAuthority(t, mustZone(t, testConfig(), testRecords(), nil))
	g := newClocked()
	const owner, here, client = "api.example.com." + testZone, "203.0.113.7", "0123456789abcdef"
	ask := func(t *testing.T, addr string, edit ...func(*dns.Msg)) (*dns.Msg, string) {
		t.Helper()
		m := exchange(t, a, g.Guard, question(t, owner, dns.TypeA, edit...), addr, false)
		if m.Rcode == dns.RcodeSuccess && len(m.Answer) != 1 {
			t.Errorf("answered %s", show(m))
		}
		return m, cookieOf(m)
	}
	_, first := ask(t, here, withCookie(client))
	if len(first) != 48 || first[:16] != client || first[16:24] != "01000000" {
		t.Fatalf("cookie %q", first)
	}
	if _, got := ask(t, here); got != "" {
		t.Errorf("without a cookie: %q", got)
	}
	if _, got := ask(t, here, edns(0, 1232, false)); got != "" {
		t.Errorf("without a cookie in EDNS: %q", got)
	}
	g.now += 60
	if _, got := ask(t, here, withCookie(first)); got != first {
		t.Errorf("a fresh cookie is answered %s, not with itself, %s", got, first)
	}
	if _, got := ask(t, "203.0.113.8", withCookie(first)); got == first || len(got) != 48 {
		t.Errorf("somebody else's cookie is answered %q", got)
	}
	if _, got := ask(t, here, withCookie(client+"00112233445566778899aabbccddeeff0011223344556677"+"8899aabbccddeeff")); len(got) != 48 {
		t.Errorf("a cookie of another server's kind is answered %q", got)
	}
	g.now += cookieRenew
	_, renewed := ask(t, here, withCookie(first))
	if renewed == first || renewed[:16] != client {
		t.Errorf("an old cookie is answered %s", renewed)
	}
	if m, got := ask(t, here, edns(1, 1232, false, &dns.EDNS0_COOKIE{Code: dns.EDNS0COOKIE, Cookie: client})); m.Rcode != dns.RcodeBadVers || len(got) != 48 {
		t.Errorf("another EDNS version: %s, cookie %q", show(m), got)
	}
	two := edns(0, 1232, false, &dns.EDNS0_COOKIE{Code: dns.EDNS0COOKIE, Cookie: client}, &dns.EDNS0_COOKIE{Code: dns.EDNS0COOKIE, Cookie: "00"})
	if _, got := ask(t, here, two); len(got) != 48 || got[:16] != client {
		t.Errorf("of two cookies the first one counts, answered %q", got)
	}
	for _, octets := range []int{0, 1, 7, 9, 15, 41, 100} {
		m, got := ask(t, here, withCookie(hex.EncodeToString(make([]byte, octets))))
		if m.Rcode != dns.RcodeFormatError || got != "" {
			t.Errorf("a COOKIE option of %d octets: %s, cookie %q", octets, show(m), got)
		}
	}
	for _, octets := range []int{8, 16, 24, 40} {
		if m, got := ask(t, here, withCookie(hex.EncodeToString(make([]byte, octets)))); m.Rcode != dns.RcodeSuccess || len(got) != 48 {
			t.Errorf("a COOKIE option of %d octets: %s, cookie %q", octets, show(m), got)
		}
	}
}

// A question is not needed to ask for a cookie (RFC 7873 section 5.4).
func TestCookieWithoutQuestion(t *testing.T) {
	a := mustAuthority(t, mustZone(t, testConfig(), testRecords(), nil))
	g := newClocked()
	const here, client = "203.0.113.7", "0123456789abcdef"
	bare := func(edit ...func(*dns.Msg)) *dns.Msg {
		m := &dns.Msg{MsgHdr: dns.MsgHdr{Id: 4711}}
		for _, e := range edit {
			e(m)
		}
		b, err := m.Pack()
		if err != nil {
			t.Fatal(err)
		}
		return exchange(t, a, g.Guard, b, here, false)
	}
	m := bare(withCookie(client))
	cookie := cookieOf(m)
	if show(m) != "NOERROR" || len(m.Question) != 0 || len(cookie) != 48 {
		t.Fatalf("asked for a cookie: %s, %q", m, cookie)
	}
	if m := bare(withCookie(cookie)); show(m) != "NOERROR" || cookieOf(m) != cookie {
		t.Errorf("asked about a good cookie: %s", m)
	}
	if m := bare(withCookie(cookie[:46] + "00")); m.Rcode != dns.RcodeBadCookie || len(cookieOf(m)) != 48 {
		t.Errorf("asked about a bad cookie: %s", m)
	}
	if m := bare(edns(0, 1232, false)); show(m) != "FORMERR" {
		t.Errorf("neither question nor cookie: %s", m)
	}
	if m := bare(withCookie("00")); show(m) != "FORMERR" {
		t.Errorf("no question and a malformed cookie: %s", m)
	}
}

func TestHintTellsWhetherTheAddressIsProven(t *testing.T) {
	c := testConfig()
	var heard []bool
	c.OnQuery = func(_ []byte, proven bool) { heard = append(heard, proven) }
	a := mustAuthority(t, mustZone(t, c, testRecords(), nil))
	g := newClocked()
	const owner, here, client = "fresh.example.com." + testZone, "203.0.113.7", "0123456789abcdef"
	good := cookieOf(exchange(t, a, g.Guard, question(t, testZone, dns.TypeSOA, withCookie(client)), here, false))
	for _, tc := range []struct {
		name   string
		addr   string
		tcp    bool
		edit   []func(*dns.Msg)
		later  int64
		proven bool
	}{
		{"UDP alone proves nothing", here, false, nil, 0, false},
		{"TCP proves the address", here, true, nil, 0, true},
		{"a client's cookie proves nothing", here, false, []func(*dns.Msg){withCookie(client)}, 0, false},
		{"a server cookie proves the address", here, false, []func(*dns.Msg){withCookie(good)}, 0, true},
		{"a server cookie that is to be renewed does, too", here, false, []func(*dns.Msg){withCookie(good)}, cookieAge, true},
		{"one of another address does not", "203.0.113.8", false, []func(*dns.Msg){withCookie(good)}, 0, false},
		{"one that is too old does not", here, false, []func(*dns.Msg){withCookie(good)}, cookieAge + 1, false},
		{"TCP does with a bad cookie, too", here, true, []func(*dns.Msg){withCookie(client + "0011223344556677")}, 0, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			heard = nil
			g.now += tc.later
			exchange(t, a, g.Guard, question(t, owner, dns.TypeA, tc.edit...), tc.addr, tc.tcp)
			g.now -= tc.later
			if len(heard) != 1 || heard[0] != tc.proven {
				t.Errorf("heard %v, want one hint, proven %v", heard, tc.proven)
			}
		})
	}
}

// An answer with a cookie keeps to the client's size, too, whatever its length.
func TestCookieLeavesRoom(t *testing.T) {
	const most = 250
	g, truncated := newClocked(), 0
	for n := range most {
		a := mustAuthority(t, mustFile(t, "customer.test", fmt.Sprintf(
			"@ 60 SOA ns hostmaster 1 2 3 4 60\n@ 60 NS ns\nns 60 A 192.0.2.1\nx 60 TXT %s %s\n",
			strings.Repeat("v", n+1), strings.Repeat("w", 200))))
		req := question(t, "x.customer.test", dns.TypeTXT, edns(0, minPayload, false, &dns.EDNS0_COOKIE{Code: dns.EDNS0COOKIE, Cookie: "0123456789abcdef"}))
		out := a.answerPooled(g.Guard, req, make([]byte, 0, udpPayload), peer{addr: netip.MustParseAddr("192.0.2.9")})
		if len(out) > minPayload {
			t.Fatalf("%d octets for a text of %d", len(out), n+1)
		}
		if binary.BigEndian.Uint16(out[2:])&flagTC != 0 {
			truncated++
		}
	}
	if truncated == 0 || truncated == most {
		t.Errorf("%d of %d answers are truncated: the test does not reach the limit", truncated, most)
	}
}
