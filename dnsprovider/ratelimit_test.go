package dnsprovider

import (
	"fmt"
	"hash/maphash"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"
)

func TestLimiter(t *testing.T) {
	const interval = time.Second / 10
	l := &limiter{seed: maphash.MakeSeed()}
	addr := netip.MustParseAddr("203.0.113.7")
	took := func(at time.Duration, n int) (sent, truncated, dropped int) {
		var got [3]int
		for range n {
			got[l.take(addr, kindAnswer, interval, at)]++
		}
		return got[send], got[truncate], got[drop]
	}
	now := 5 * time.Second
	for _, tc := range []struct {
		name                     string
		after                    time.Duration
		ask                      int
		sent, truncated, dropped int
	}{
		{"a second's worth comes at once", 0, 10, 10, 0, 0},
		{"what is over is truncated and dropped in turns", 0, 5, 0, 3, 2},
		{"an interval later one more is due", interval, 3, 1, 1, 1},
		{"a flood gets one answer each interval all the while", 2 * interval, 100, 2, 49, 49},
		{"after a pause a second's worth is due again, not more", time.Hour, 12, 10, 1, 1},
	} {
		now += tc.after
		if sent, truncated, dropped := took(now, tc.ask); sent != tc.sent || truncated != tc.truncated || dropped != tc.dropped {
			t.Errorf("%s: %d sent, %d truncated, %d dropped, want %d, %d, %d", tc.name, sent, truncated, dropped, tc.sent, tc.truncated, tc.dropped)
		}
	}
}

// Networks and kinds have buckets of their own. By chance two of the 81 share one in
// every twentieth run, four in one of four million.
func TestLimiterBuckets(t *testing.T) {
	l := &limiter{seed: maphash.MakeSeed()}
	of := func(addr string, kind answerKind) uint64 { return l.bucket(netip.MustParseAddr(addr), kind) }
	for _, same := range [][2]string{
		{"203.0.113.7", "203.0.113.255"},
		{"2001:db8:1:200::1", "2001:db8:1:2ff:ffff:ffff:ffff:ffff"},
	} {
		if of(same[0], kindAnswer) != of(same[1], kindAnswer) {
			t.Errorf("%s and %s are counted apart", same[0], same[1])
		}
	}
	seen := map[uint64]bool{}
	for i := range 20 {
		for kind := range answerKinds {
			seen[of(fmt.Sprintf("203.0.%d.7", i), kind)] = true
		}
		seen[of(fmt.Sprintf("2001:db8:1:%x00::1", i), kindAnswer)] = true
	}
	// The octets of 203.0.1.0/24, as IPv6.
	seen[of("cb00:0100::1", kindAnswer)] = true
	if len(seen) < 78 {
		t.Errorf("81 networks and kinds have %d buckets", len(seen))
	}
}

// Two networks in one bucket share its rate: an attacker can fill a bucket of
// somebody else, never empty it.
func TestLimiterCollision(t *testing.T) {
	l := &limiter{seed: maphash.MakeSeed()}
	one := netip.MustParseAddr("10.0.0.1")
	other, want := one, l.bucket(one, kindAnswer)
	for i := range 1 << 24 { // all networks, of which some 256 share a bucket
		other = netip.AddrFrom4([4]byte{byte(i >> 16), byte(i >> 8), byte(i), 1})
		if l.bucket(other, kindAnswer) == want && other.As4()[0] != 10 {
			break
		}
	}
	for range 5 {
		l.take(one, kindAnswer, time.Second/10, time.Minute)
		l.take(other, kindAnswer, time.Second/10, time.Minute)
	}
	if got := l.take(one, kindAnswer, time.Second/10, time.Minute); got == send {
		t.Error("a bucket is refilled by another network")
	}
}

func TestLimiterCountsExactlyUnderConcurrency(t *testing.T) {
	const interval = time.Second / 1000
	l := &limiter{seed: maphash.MakeSeed()}
	var got [3]atomic.Int64
	var wg sync.WaitGroup
	for i := range 8 {
		addr := netip.AddrFrom4([4]byte{203, 0, 113, byte(i)})
		wg.Go(func() {
			for range 1000 {
				got[l.take(addr, kindNXDomain, interval, time.Minute)].Add(1)
			}
		})
	}
	wg.Wait()
	if got[send].Load() != 1000 || got[truncate].Load() != 3500 || got[drop].Load() != 3500 {
		t.Errorf("%d sent, %d truncated, %d dropped, want 1000, 3500, 3500", got[send].Load(), got[truncate].Load(), got[drop].Load())
	}
}

func TestRateLimit(t *testing.T) {
	const rate = 5
	a := mustAuthority(t, mustZone(t, testConfig(), testRecords(), nil)).Limited(rate)
	const owner, client = "api.example.com." + testZone, "0123456789abcdef"
	good := func(g *Guard, addr string) string {
		return cookieOf(exchange(t, a, g, question(t, owner, dns.TypeA, withCookie(client)), addr, true))
	}
	answer := "NOERROR aa\napi.example.com.cname.example.net. 300 IN A 203.0.113.10"
	for _, tc := range []struct {
		name    string
		a       *Authority
		addr    string
		tcp     bool
		owner   string
		cookie  func(*Guard, string) string
		limited bool
		first   string // what the first answer is
	}{
		{"no cookie", a, "203.0.113.7", false, owner, nil, true, answer},
		{"no cookie, IPv6", a, "2001:db8::7", false, owner, nil, true, answer},
		{"a client's cookie alone", a, "203.0.113.7", false, owner, func(*Guard, string) string { return client }, true, answer},
		{"another's cookie", a, "203.0.113.7", false, owner, func(g *Guard, _ string) string { return good(g, "203.0.113.8") }, true, answer},
		{"a name that does not exist", a, "203.0.113.7", false, "none." + testZone, nil, true, "NXDOMAIN aa" + negativeSOA},
		{"a zone that is not served", a, "203.0.113.7", false, "example.org", nil, true, "REFUSED"},
		{"its cookie", a, "203.0.113.7", false, owner, good, false, answer},
		{"TCP", a, "203.0.113.7", true, owner, nil, false, answer},
		{"loopback", a, "127.0.0.1", false, owner, nil, false, answer},
		{"loopback, IPv6", a, "::1", false, owner, nil, false, answer},
		{"no limit", a.Limited(0), "203.0.113.7", false, owner, nil, false, answer},
	} {
		t.Run(tc.name, func(t *testing.T) {
			g := newClocked()
			var edit []func(*dns.Msg)
			if tc.cookie != nil {
				edit = append(edit, withCookie(tc.cookie(g.Guard, tc.addr)))
			}
			req := question(t, tc.owner, dns.TypeA, edit...)
			var whole, truncated, silent int
			for i := range 3 * rate {
				m := exchange(t, tc.a, g.Guard, req, tc.addr, tc.tcp)
				switch {
				case m == nil:
					silent++
				case m.Truncated:
					truncated++
					if m.Rcode != dns.RcodeSuccess || len(m.Question) != 1 || len(m.Answer)+len(m.Ns) != 0 {
						t.Errorf("truncated to %s", show(m))
					}
					if m.IsEdns0() != nil && len(cookieOf(m)) != 48 {
						t.Error("truncated without the cookie that would help")
					}
				default:
					if whole++; i == 0 && show(m) != tc.first {
						t.Errorf("answered %s", show(m))
					}
				}
			}
			want := [3]int{3 * rate, 0, 0}
			if tc.limited {
				want = [3]int{rate, rate, rate}
			}
			if got := [3]int{whole, truncated, silent}; got != want {
				t.Errorf("%v whole, truncated and silent, want %v", got, want)
			}
		})
	}
}

// Nobody who is limited is limited in what they did not ask for.
func TestRateLimitIsPerKindAndNetwork(t *testing.T) {
	const rate = 5
	a := mustAuthority(t, mustZone(t, testConfig(), testRecords(), nil)).Limited(rate)
	g := newClocked()
	flood, whole := question(t, "none."+testZone, dns.TypeA), question(t, "api.example.com."+testZone, dns.TypeA)
	for range 100 {
		exchange(t, a, g.Guard, flood, "203.0.113.7", false)
	}
	for _, tc := range []struct {
		name, addr string
		req        []byte
		limited    bool
	}{
		{"the same kind to a neighbour", "203.0.113.200", flood, true},
		{"another kind", "203.0.113.7", whole, false},
		{"the same kind elsewhere", "203.0.114.7", flood, false},
	} {
		m := exchange(t, a, g.Guard, tc.req, tc.addr, false)
		if got := m == nil || m.Truncated; got != tc.limited {
			t.Errorf("%s: limited %v", tc.name, got)
		}
	}
}

func TestRateLimitedAreCounted(t *testing.T) {
	reg := prometheus.NewPedanticRegistry()
	reg.MustRegister(Collectors()...)
	read := func() map[string]float64 {
		families, err := reg.Gather()
		if err != nil {
			t.Fatal(err)
		}
		got := map[string]float64{}
		for _, f := range families {
			for _, m := range f.GetMetric() {
				name := f.GetName()
				for _, l := range m.GetLabel() {
					name += " " + l.GetValue()
				}
				got[name] = m.GetCounter().GetValue()
			}
		}
		return got
	}
	a := mustAuthority(t, mustZone(t, testConfig(), testRecords(), nil)).Limited(1)
	g := newClocked()
	before := read()
	for range 5 {
		exchange(t, a, g.Guard, question(t, "api.example.com."+testZone, dns.TypeA), "203.0.113.7", false)
		exchange(t, a, g.Guard, question(t, "none."+testZone, dns.TypeA), "203.0.113.7", false)
		exchange(t, a, g.Guard, question(t, "example.org", dns.TypeA), "203.0.113.7", false)
	}
	after := read()
	for name, want := range map[string]float64{
		"apoxy_dns_rate_limited_total truncated answer": 2, "apoxy_dns_rate_limited_total dropped answer": 2,
		"apoxy_dns_rate_limited_total truncated nxdomain": 2, "apoxy_dns_rate_limited_total dropped nxdomain": 2,
		"apoxy_dns_rate_limited_total truncated error": 2, "apoxy_dns_rate_limited_total dropped error": 2,
		// An answer that did not go out is none; a truncated one is.
		"apoxy_dns_queries_total udp NOERROR A " + testZone: 5, "apoxy_dns_queries_total udp NXDOMAIN A " + testZone: 1,
		"apoxy_dns_queries_total udp REFUSED A none": 1,
	} {
		if got := after[name] - before[name]; got != want {
			t.Errorf("%s: %v, want %v (have %v)", name, got, want, after)
		}
	}
}

func TestGuardedAnswerDoesNotAllocate(t *testing.T) {
	a := mustAuthority(t, mustZone(t, testConfig(), testRecords(), nil))
	g := NewGuard([32]byte{7})
	s, resp := &scratch{guard: g}, make([]byte, 0, udpPayload)
	from := peer{addr: netip.MustParseAddr("2001:db8::7")}
	const owner, client = "api.example.com." + testZone, "0123456789abcdef"
	good := cookieOf(exchange(t, a, g, question(t, owner, dns.TypeA, withCookie(client)), "2001:db8::7", false))
	for name, edit := range map[string]func(*dns.Msg){
		"no cookie": edns(0, 1232, false), "a client's cookie": withCookie(client), "a good cookie": withCookie(good),
		"a bad cookie": withCookie(good[:46] + "00"),
	} {
		req := question(t, owner, dns.TypeA, edit)
		// More often than the rate allows: truncated and dropped ones, too.
		if n := testing.AllocsPerRun(3*DefaultRateLimit, func() { a.answer(s, req, resp, from) }); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}
