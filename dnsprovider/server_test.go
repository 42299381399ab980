package dnsprovider

import (
	"encoding/binary"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"
)

func mustListen(t testing.TB, addr string, o ServerOptions, a *Authority) *Server {
	t.Helper()
	s, err := Listen(t.Context(), addr, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	s.SetAuthority(a)
	return s
}

func port(s *Server) string {
	_, p, _ := net.SplitHostPort(s.Addr().String())
	return p
}

func TestServer(t *testing.T) {
	a := mustAuthority(t, mustZone(t, testConfig(), testRecords(), nil))
	s := mustListen(t, "127.0.0.1:0", ServerOptions{Sockets: 3}, a)
	for _, proto := range []string{"udp", "tcp"} {
		c := dns.Client{Net: proto, Timeout: 5 * time.Second}
		m := new(dns.Msg).SetQuestion("api.example.com.cname.example.net.", dns.TypeA)
		for range 20 {
			got, _, err := c.Exchange(m, s.Addr().String())
			if err != nil {
				t.Fatalf("%s: %v", proto, err)
			}
			if show(got) != "NOERROR aa\napi.example.com.cname.example.net. 300 IN A 203.0.113.10" {
				t.Errorf("%s: %s", proto, show(got))
			}
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	// Closed means closed: the port is free again at once.
	again := mustListen(t, s.Addr().String(), ServerOptions{}, a)
	if _, err := Listen(t.Context(), again.Addr().String(), ServerOptions{}); err == nil || !strings.Contains(err.Error(), again.Addr().String()) {
		t.Errorf("listening twice: %v", err)
	}
	// UDP alone being taken is found out as well.
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer pc.Close()
	if _, err := Listen(t.Context(), pc.LocalAddr().String(), ServerOptions{Sockets: 2}); err == nil {
		t.Error("no error although another socket holds the UDP port")
	}
	for _, addr := range []string{"", "127.0.0.1", "127.0.0.1:x"} {
		if _, err := Listen(t.Context(), addr, ServerOptions{}); err == nil {
			t.Errorf("%q: no error", addr)
		}
	}
}

func TestServerWithoutZonesRefuses(t *testing.T) {
	s := mustListen(t, "127.0.0.1:0", ServerOptions{}, nil)
	got, err := dns.Exchange(new(dns.Msg).SetQuestion("example.com.", dns.TypeA), s.Addr().String())
	if err != nil || show(got) != "REFUSED" {
		t.Error(show(got), err)
	}
}

// A connected socket takes datagrams from the address it asked alone, so it
// sees whether a server on a wildcard address answers from there.
func TestWildcardAddressAnswersFromWhereItWasAsked(t *testing.T) {
	a := mustAuthority(t, mustZone(t, testConfig(), testRecords(), nil))
	for _, listen := range []string{":0", "0.0.0.0:0"} {
		s := mustListen(t, listen, ServerOptions{Sockets: 2}, a)
		for _, host := range []string{"127.0.0.1", "127.0.0.2", "127.99.1.7"} {
			m := new(dns.Msg).SetQuestion("api.example.com.cname.example.net.", dns.TypeA)
			got, err := dns.Exchange(m, net.JoinHostPort(host, port(s)))
			if err != nil || len(got.Answer) != 1 {
				t.Errorf("%s at %s: %v %v", listen, host, got, err)
			}
		}
	}
	s := mustListen(t, "[::]:0", ServerOptions{Sockets: 1}, a)
	if ln, err := net.Listen("tcp", "[::1]:0"); err == nil {
		ln.Close()
		m := new(dns.Msg).SetQuestion("api.example.com.cname.example.net.", dns.TypeA)
		if got, err := dns.Exchange(m, net.JoinHostPort("::1", port(s))); err != nil || len(got.Answer) != 1 {
			t.Errorf("IPv6: %v %v", got, err)
		}
	}
}

func TestSwapUnderLoadLosesNothing(t *testing.T) {
	a := mustAuthority(t, mustZone(t, testConfig(), testRecords(), nil))
	s := mustListen(t, "127.0.0.1:0", ServerOptions{Sockets: 2}, a)
	stop := make(chan struct{})
	var asked, lost atomic.Int64
	var wg sync.WaitGroup
	for i := range 4 {
		proto := []string{"udp", "tcp"}[i%2]
		wg.Go(func() {
			conn, err := dns.DialTimeout(proto, s.Addr().String(), 5*time.Second)
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			for {
				select {
				case <-stop:
					return
				default:
				}
				m := new(dns.Msg).SetQuestion("api.example.com.cname.example.net.", dns.TypeA)
				asked.Add(1)
				_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
				if err := conn.WriteMsg(m); err != nil {
					lost.Add(1)
					continue
				}
				if got, err := conn.ReadMsg(); err != nil || got.Id != m.Id || len(got.Answer) != 1 {
					lost.Add(1)
				}
			}
		})
	}
	for i := range 200 {
		s.SetAuthority(mustAuthority(t, mustZone(t, testConfig(), testRecords(), nil)))
		eventually(t, "queries go on", func() bool { return asked.Load() > int64(i*10) })
	}
	close(stop)
	wg.Wait()
	if lost.Load() > 0 {
		t.Errorf("%d of %d queries lost", lost.Load(), asked.Load())
	}
}

func TestMalformedFloodDoesNotStopAnswers(t *testing.T) {
	a := mustAuthority(t, mustZone(t, testConfig(), testRecords(), nil))
	s := mustListen(t, "127.0.0.1:0", ServerOptions{Sockets: 2}, a)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	var sent atomic.Int64
	q := question(t, "api.example.com."+testZone, dns.TypeA)
	wg.Go(func() {
		conn, err := net.Dial("udp", s.Addr().String())
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		junk := append([]byte(nil), q...)
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			copy(junk, q)
			junk[2+i%(len(junk)-2)] ^= byte(1 + i/7)
			// The client's own socket may be told that its buffer is full.
			_, _ = conn.Write(junk[:i%(len(junk)+1)])
			sent.Add(1)
		}
	})
	c := dns.Client{Timeout: 100 * time.Millisecond}
	for i := range 50 {
		eventually(t, "the flood goes on", func() bool { return sent.Load() > int64(100*i) })
		m := new(dns.Msg).SetQuestion("api.example.com.cname.example.net.", dns.TypeA)
		// A full socket may lose a query, as it may any datagram: asked again,
		// as a resolver does, it is answered.
		eventually(t, "a good query is answered", func() bool {
			got, _, err := c.Exchange(m, s.Addr().String())
			return err == nil && len(got.Answer) == 1
		})
	}
	close(stop)
	wg.Wait()
}

func TestTCP(t *testing.T) {
	a := mustAuthority(t, mustZone(t, testConfig(), testRecords(), nil))
	s := mustListen(t, "127.0.0.1:0", ServerOptions{MaxConns: 4, MaxConnsPerClient: 2, IdleTimeout: 400 * time.Millisecond}, a)
	dial := func() net.Conn {
		t.Helper()
		conn, err := net.Dial("tcp", s.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
		return conn
	}
	frame := func(b []byte) []byte { return append(binary.BigEndian.AppendUint16(nil, uint16(len(b))), b...) }
	read := func(conn net.Conn) ([]byte, error) {
		var l [2]byte
		if _, err := io.ReadFull(conn, l[:]); err != nil {
			return nil, err
		}
		b := make([]byte, binary.BigEndian.Uint16(l[:]))
		_, err := io.ReadFull(conn, b)
		return b, err
	}
	q := question(t, "api.example.com."+testZone, dns.TypeA)

	t.Run("queries in one segment are answered in their order", func(t *testing.T) {
		conn := dial()
		second := append([]byte{0x99, 0x99}, q[2:]...)
		if _, err := conn.Write(append(frame(q), frame(second)...)); err != nil {
			t.Fatal(err)
		}
		for _, want := range [][]byte{q, second} {
			got, err := read(conn)
			if err != nil || string(got[:2]) != string(want[:2]) {
				t.Fatal(got, err)
			}
		}
		conn.Close()
	})
	for name, send := range map[string][]byte{
		"silence ends a connection":              {},
		"half a query ends a connection":         frame(q)[:9],
		"a huge query ends a connection":         {0xff, 0xff, 0, 0},
		"a response ends a connection":           frame(append([]byte{0, 1, 0x80, 0}, q[4:]...)),
		"less than a header ends a connection":   {0, 1, 0},
		"a query of no octets ends a connection": {0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			eventually(t, "earlier connections are gone", func() bool { return s.conns.size() == 0 })
			conn := dial()
			if _, err := conn.Write(send); err != nil {
				t.Fatal(err)
			}
			if b, err := read(conn); err == nil {
				t.Errorf("answered %x", b)
			}
		})
	}
	t.Run("one client has a bounded number of connections", func(t *testing.T) {
		eventually(t, "earlier connections are gone", func() bool { return s.conns.size() == 0 })
		var open []net.Conn
		for range 2 {
			conn := dial()
			if _, err := conn.Write(frame(q)); err != nil {
				t.Fatal(err)
			}
			if _, err := read(conn); err != nil {
				t.Fatal(err)
			}
			open = append(open, conn)
		}
		if _, err := read(dial()); err == nil {
			t.Error("a third connection is served")
		}
		for _, conn := range open {
			conn.Close()
		}
		eventually(t, "their places are free", func() bool { return s.conns.size() == 0 })
	})
}

func TestMetrics(t *testing.T) {
	reg := prometheus.NewPedanticRegistry()
	reg.MustRegister(Collectors()...)
	count := func(want map[string]string) float64 {
		t.Helper()
		families, err := reg.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range families {
			if f.GetName() != "apoxy_dns_queries_total" {
				continue
			}
			for _, m := range f.GetMetric() {
				same := 0
				for _, l := range m.GetLabel() {
					if want[l.GetName()] == l.GetValue() {
						same++
					}
				}
				if same == len(want) {
					return m.GetCounter().GetValue()
				}
			}
		}
		return 0
	}
	a := mustAuthority(t, mustZone(t, testConfig(), testRecords(), nil))
	for _, tc := range []struct {
		owner string
		qtype uint16
		tcp   bool
		want  map[string]string
	}{
		{"api.example.com." + testZone, dns.TypeA, false, map[string]string{"zone": testZone, "type": "A", "rcode": "NOERROR", "proto": "udp"}},
		{"none." + testZone, dns.TypeTXT, true, map[string]string{"zone": testZone, "type": "TXT", "rcode": "NXDOMAIN", "proto": "tcp"}},
		{"example.org", dns.TypeSRV, false, map[string]string{"zone": "none", "type": "other", "rcode": "REFUSED", "proto": "udp"}},
		{testZone, 65280, false, map[string]string{"zone": testZone, "type": "other", "rcode": "NOERROR", "proto": "udp"}},
	} {
		before := count(tc.want)
		ask(t, a, question(t, tc.owner, tc.qtype), tc.tcp)
		if got := count(tc.want); got != before+1 {
			t.Errorf("%v: %v, was %v", tc.want, got, before)
		}
	}

	behind := testConfig()
	behind.Current = func() bool { return false }
	a = mustAuthority(t, mustZone(t, behind, testRecords(), nil))
	want := map[string]string{"zone": testZone, "type": "TXT", "rcode": "SERVFAIL", "proto": "udp"}
	before := count(want)
	ask(t, a, question(t, "_acme-challenge.api.example.com."+testZone, dns.TypeTXT), false)
	if got := count(want); got != before+1 {
		t.Errorf("%v: %v, was %v", want, got, before)
	}
}
