package e2e

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/sys/unix"

	"github.com/apoxy-dev/caddy-apoxy/e2e/testnet"
)

// A client of its own, dig, learns a cookie of the zone's name server and is known
// by it: from its address alone, over TCP as over UDP, after a reload, too.
func TestDNSCookieIsWhatDigTakes(t *testing.T) {
	n := network(t)
	p := start(t, n, settings{})
	const client = "0123456789abcdef"
	dig := func(args ...string) string {
		t.Helper()
		out, err := exec.CommandContext(t.Context(), "dig", append([]string{"@" + testnet.ProductAddr, "SOA", testnet.Zone}, args...)...).CombinedOutput()
		if err != nil {
			t.Fatalf("dig %v: %v\n%s", args, err, out)
		}
		return string(out)
	}
	cookie := func(args ...string) string {
		t.Helper()
		out := dig(args...)
		m := regexp.MustCompile(`; COOKIE: ([0-9a-f]{48}) \(good\)`).FindStringSubmatch(out)
		if m == nil || !strings.Contains(out, "status: NOERROR") {
			t.Fatalf("dig %v gets no answer with a good cookie:\n%s", args, out)
		}
		return m[1]
	}
	first := cookie("+cookie=" + client)
	if !strings.HasPrefix(first, client+"01000000") {
		t.Errorf("cookie %s, want the client's and one of version 1", first)
	}
	for _, tc := range []struct {
		name string
		args []string
		same bool
	}{
		{"the client that has it keeps it", nil, true},
		{"over TCP, too", []string{"+tcp"}, true},
		{"another address gets one of its own", []string{"-b", "127.0.0.77"}, false},
	} {
		if got := cookie(append(tc.args, "+cookie="+first)...); (got == first) != tc.same {
			t.Errorf("%s: answered %s to %s", tc.name, got, first)
		}
	}
	if err := p.reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := cookie("+cookie=" + first); got != first {
		t.Errorf("after a reload %s is answered %s", first, got)
	}
	if out := dig("+nocookie", "+ednsopt=10:00"); !strings.Contains(out, "status: FORMERR") {
		t.Errorf("a cookie of one octet:\n%s", out)
	}
	if out := dig("+cookie", "+header-only"); !strings.Contains(out, "status: NOERROR") || !strings.Contains(out, "(good)") {
		t.Errorf("a cookie without a question:\n%s", out)
	}
}

// victim is in whose name others ask: the only address of the network that is not
// a loopback one, for those are not limited.
const (
	victim     = "198.51.100.53"
	victimPort = 4444
	// defaultRate is the product's default of dns_rate_limit.
	defaultRate = 500
)

// Questions that bear a victim's address are answered to it, but fewer of them
// than were asked and in all fewer octets. The victim's own resolver goes on to
// resolve over TCP, and whoever has a cookie is not limited at all.
func TestDNSCookieUnderASpoofedFlood(t *testing.T) {
	n := network(t)
	start(t, n, settings{})
	addVictim(t)
	const resolver = "127.0.0.54"
	unbound, err := testnet.StartResolver(resolver, testnet.Trusting, testnet.ShortCaches, "outgoing-interface: "+victim)
	if err != nil {
		t.Fatal(err)
	}
	defer unbound.Kill()
	got := reflected(t)
	began := time.Now()
	asked, end := flood(t)
	eventually(t, 30*time.Second, "the flood to be limited", func() error {
		if counted(t, "apoxy_dns_rate_limited_total", `action="dropped"`) == 0 {
			return errorf("no answer was dropped, %d questions asked", asked.Load())
		}
		return nil
	})

	good := knownClient(t)
	for i := range 20 {
		if err := good(fmt.Sprintf("cookie%d._apoxy-verify.%s", i, testnet.Zone)); err != nil {
			t.Errorf("a client with a cookie: %v", err)
		}
	}
	// Now and then the resolver's question comes between two of the flood and is
	// answered over UDP.
	overTCP := func() float64 { return counted(t, "apoxy_dns_queries_total", `proto="tcp"`) }
	before := overTCP()
	for i := 0; i < 10 || overTCP() == before; i++ {
		if i == 300 {
			t.Fatal("the victim's resolver never asked over TCP")
		}
		eventually(t, 30*time.Second, "the victim's resolver to resolve", func() error {
			answer, err := testnet.Ask(resolver, fmt.Sprintf("resolver%d._apoxy-verify.%s", i, testnet.Zone), dns.TypeTXT)
			if err == nil && len(answer.Answer) != 1 {
				err = errorf("it answers %v", answer)
			}
			return err
		})
	}
	eventually(t, 30*time.Second, "a flood well over the rate", func() error {
		if asked.Load() < 20_000 {
			return errorf("%d questions are asked", asked.Load())
		}
		return nil
	})
	size := end()
	took := time.Since(began)
	sent, octets := got.packets.Load(), got.octets.Load()
	t.Logf("%d questions of %d octets in %v (%.0f a second): %.3f packets a question, %.3f octets an octet; %d whole, %d truncated",
		asked.Load(), size, took.Round(time.Millisecond), float64(asked.Load())/took.Seconds(),
		float64(sent)/float64(asked.Load()), float64(octets)/float64(asked.Load()*int64(size)), got.whole.Load(), sent-got.whole.Load())
	if most := int64(defaultRate * (took.Seconds() + 1)); got.whole.Load() == 0 || got.whole.Load() > most {
		t.Errorf("%d whole answers in %v, want some and at most %d", got.whole.Load(), took, most)
	}
	if octets >= asked.Load()*int64(size) {
		t.Errorf("the victim got %d octets for %d questions of %d", octets, asked.Load(), size)
	}
	for _, action := range []string{"truncated", "dropped"} {
		if counted(t, "apoxy_dns_rate_limited_total", `kind="answer"`, `action="`+action+`"`) == 0 {
			t.Errorf("no %s answers are counted", action)
		}
	}
}

// addVictim gives the network the victim's address until the test ends.
func addVictim(t *testing.T) {
	t.Helper()
	set := func(request uint, fill func(*unix.Ifreq) error) error {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		req, err := unix.NewIfreq("lo:9")
		if err != nil {
			return err
		}
		if err := fill(req); err != nil {
			return err
		}
		return unix.IoctlIfreq(fd, request, req)
	}
	addr := netip.MustParseAddr(victim).As4()
	if err := set(unix.SIOCSIFADDR, func(r *unix.Ifreq) error { return r.SetInet4Addr(addr[:]) }); err != nil {
		t.Fatalf("adding %s: %v", victim, err)
	}
	t.Cleanup(func() {
		if err := set(unix.SIOCSIFFLAGS, func(r *unix.Ifreq) error { r.SetUint16(0); return nil }); err != nil {
			t.Errorf("removing %s: %v", victim, err)
		}
	})
}

// reflection is what came to the victim.
type reflection struct{ packets, octets, whole atomic.Int64 }

// reflected counts what comes to the victim until the test ends.
func reflected(t *testing.T) *reflection {
	t.Helper()
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.ParseIP(victim), Port: victimPort})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetReadBuffer(4 << 20); err != nil {
		t.Fatal(err)
	}
	r := new(reflection)
	go func() {
		b := make([]byte, 4096)
		for {
			n, err := conn.Read(b)
			if err != nil {
				return // closed
			}
			r.packets.Add(1)
			r.octets.Add(int64(n))
			if binary.BigEndian.Uint16(b[2:])&(1<<9) == 0 {
				r.whole.Add(1)
			}
		}
	}()
	return r
}

// flood asks for the zone's name servers in the victim's name, 5,000 times a second,
// until end is called, which returns how many octets each question has.
func flood(t *testing.T) (asked *atomic.Int64, end func() int) {
	t.Helper()
	question := new(dns.Msg).SetQuestion(testnet.Zone+".", dns.TypeNS).SetEdns0(1232, true)
	payload, err := question.Pack()
	if err != nil {
		t.Fatal(err)
	}
	from, to := netip.MustParseAddr(victim).As4(), netip.MustParseAddr(testnet.ProductAddr).As4()
	// IPv4 (RFC 791; the kernel fills in length and checksum) and UDP (RFC 768,
	// without a checksum).
	packet := []byte{0x45, 0, 0, 0, 0, 0, 0, 0, 64, unix.IPPROTO_UDP, 0, 0}
	packet = append(append(packet, from[:]...), to[:]...)
	packet = binary.BigEndian.AppendUint16(packet, victimPort)
	packet = binary.BigEndian.AppendUint16(packet, 53)
	packet = binary.BigEndian.AppendUint16(packet, uint16(8+len(payload)))
	packet = append(append(packet, 0, 0), payload...)
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_RAW)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	asked = new(atomic.Int64)
	var wg sync.WaitGroup
	wg.Go(func() {
		defer unix.Close(fd)
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			for range 50 {
				if err := unix.Sendto(fd, packet, 0, &unix.SockaddrInet4{Addr: to}); err != nil {
					t.Errorf("sending in the victim's name: %v", err)
					return
				}
				asked.Add(1)
			}
		}
	})
	t.Cleanup(func() { cancel(); wg.Wait() })
	return asked, func() int { cancel(); wg.Wait(); return len(payload) }
}

// knownClient is a client at the victim's address that has a cookie: it gets each
// answer whole, at once but for what a busy socket loses.
func knownClient(t *testing.T) func(name string) error {
	t.Helper()
	cookie := "0123456789abcdef"
	ask := func(network, name string) (*dns.Msg, error) {
		m := new(dns.Msg).SetQuestion(name+".", dns.TypeTXT).SetEdns0(1232, false)
		m.IsEdns0().Option = []dns.EDNS0{&dns.EDNS0_COOKIE{Code: dns.EDNS0COOKIE, Cookie: cookie}}
		c := dns.Client{Net: network, Timeout: 2 * time.Second, Dialer: &net.Dialer{Timeout: 2 * time.Second, LocalAddr: &net.UDPAddr{IP: net.ParseIP(victim)}}}
		if network == "tcp" {
			c.Dialer.LocalAddr = &net.TCPAddr{IP: net.ParseIP(victim)}
		}
		answer, _, err := c.ExchangeContext(t.Context(), m, testnet.ProductAddr+":53")
		return answer, err
	}
	first, err := ask("tcp", testnet.Zone)
	if err != nil {
		t.Fatal(err)
	}
	cookie = first.IsEdns0().Option[0].(*dns.EDNS0_COOKIE).Cookie
	return func(name string) error {
		return testnet.Until(10*time.Second, "an answer to a known client", func() error {
			answer, err := ask("udp", name)
			if err == nil && (answer.Truncated || len(answer.Answer) != 1) {
				t.Errorf("%s is answered %v", name, answer)
			}
			return err
		})
	}
}

// counted sums the metrics of a name that have all the labels.
func counted(t *testing.T, name string, labels ...string) (sum float64) {
	t.Helper()
	return countedAt(t, adminURL, name, labels...)
}

// countedAt is counted of the process with this admin endpoint.
func countedAt(t *testing.T, admin, name string, labels ...string) (sum float64) {
	t.Helper()
	status, metrics, err := fetch(t.Context(), http.DefaultClient, admin+"/metrics", "")
	if err != nil || status != http.StatusOK {
		t.Fatalf("reading the metrics: %d, %v", status, err)
	}
	for line := range strings.Lines(metrics) {
		rest, ok := strings.CutPrefix(line, name+"{")
		for _, label := range labels {
			ok = ok && strings.Contains(rest, label)
		}
		_, value, found := strings.Cut(rest, "} ")
		if !ok || !found {
			continue
		}
		v, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
		if err != nil {
			t.Fatal(err)
		}
		sum += v
	}
	return sum
}
