package dnsprovider

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/sys/unix"
)

// Whatever one answer meets, those behind it are sent, and each once.
func TestFlush(t *testing.T) {
	// Each call of send, or of wait, comes to the next of these.
	type outcome struct {
		wait bool
		sent int
		err  error
	}
	for _, tc := range []struct {
		name     string
		outcomes []outcome
		sent     []int
		failed   int
	}{
		{"all at once", []outcome{{sent: 5}}, []int{0, 1, 2, 3, 4}, 0},
		{"part by part", []outcome{{sent: 2}, {sent: 1}, {sent: 2}}, []int{0, 1, 2, 3, 4}, 0},
		{"the first one cannot be sent", []outcome{{err: unix.EINVAL}, {sent: 4}}, []int{1, 2, 3, 4}, 1},
		{"one amid them cannot", []outcome{{sent: 2}, {err: unix.EPERM}, {sent: 2}}, []int{0, 1, 3, 4}, 1},
		{"the last one cannot", []outcome{{sent: 4}, {err: unix.EHOSTUNREACH}}, []int{0, 1, 2, 3}, 1},
		{"no memory for one", []outcome{{sent: 1}, {err: unix.ENOBUFS}, {sent: 3}}, []int{0, 2, 3, 4}, 1},
		{"a full buffer that empties", []outcome{{sent: 1}, {err: unix.EAGAIN}, {wait: true, sent: 4}}, []int{0, 1, 2, 3, 4}, 0},
		{
			"a full buffer that does not: it is waited for once",
			[]outcome{{sent: 1}, {err: unix.EAGAIN}, {wait: true, err: os.ErrDeadlineExceeded}, {err: unix.EAGAIN}, {err: unix.EAGAIN}, {sent: 1}},
			[]int{0, 4}, 3,
		},
		{"nothing sent and no error", []outcome{{}, {sent: 4}}, []int{1, 2, 3, 4}, 1},
		{"the socket is closed", []outcome{{sent: 1}, {err: net.ErrClosed}}, []int{0}, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var sent []int
			failed, rest := 0, tc.outcomes
			call := func(wait bool) func(int) (int, error) {
				return func(first int) (int, error) {
					if len(rest) == 0 || rest[0].wait != wait {
						t.Fatalf("call from %d, waiting %v, with %v to come", first, wait, rest)
					}
					o := rest[0]
					rest = rest[1:]
					for i := range o.sent {
						sent = append(sent, first+i)
					}
					return o.sent, o.err
				}
			}
			flush(5, call(false), call(true), func(error) { failed++ })
			if !slices.Equal(sent, tc.sent) || failed != tc.failed || len(rest) > 0 {
				t.Errorf("sent %v, %d failed, %d calls not made", sent, failed, len(rest))
			}
		})
	}
}

func udpPair(t *testing.T) (server, client *net.UDPConn) {
	t.Helper()
	server, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.MustParseAddrPort("127.0.0.1:0")))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	client, err = net.DialUDP("udp", nil, server.LocalAddr().(*net.UDPAddr))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	if err := errors.Join(client.SetDeadline(time.Now().Add(10*time.Second)), server.SetDeadline(time.Now().Add(10*time.Second))); err != nil {
		t.Fatal(err)
	}
	return server, client
}

// The kernel itself refuses some of the answers: no datagram leaves for port 0.
func TestBatchSendsAroundWhatTheKernelRefuses(t *testing.T) {
	server, client := udpPair(t)
	b, err := newBatch(server, false)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 6 {
		if _, err := fmt.Fprintf(client, "query %d", i); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.receive(); err != nil || b.nin != 6 {
		t.Fatalf("%d received at once, %v", b.nin, err)
	}
	for i := range b.nin {
		q, from := b.query(i)
		if string(q) != fmt.Sprintf("query %d", i) || from != netip.MustParseAddr("127.0.0.1") {
			t.Fatalf("%q from %v", q, from)
		}
		b.reply(i, append(b.answer(), q...))
	}
	for _, i := range []int{0, 2, 5} {
		b.names[i].Port = 0
	}
	var failed []error
	flush(b.nout, b.send, b.sendWaiting, func(err error) { failed = append(failed, err) })
	if len(failed) != 3 || !errors.Is(failed[0], unix.EINVAL) {
		t.Errorf("failed: %v", failed)
	}
	buf := make([]byte, 100)
	for _, i := range []int{1, 3, 4} {
		if n, err := client.Read(buf); err != nil || string(buf[:n]) != fmt.Sprintf("query %d", i) {
			t.Errorf("want the answer to query %d, got %q, %v", i, buf[:n], err)
		}
	}
}

// A loop that begins with a full queue reads batches: good queries among hostile
// datagrams, more of them than one batch holds, are all answered, by their octets
// and only once; what is hostile gets what it gets alone.
func TestBatchOfGoodAndHostile(t *testing.T) {
	a := mustAuthority(t, mustZone(t, testConfig(), testRecords(), nil))
	server, client := udpPair(t)
	good := question(t, "api.example.com."+testZone, dns.TypeA)
	long := append(slices.Clone(good), make([]byte, querySize+1)...)
	hostile := [][]byte{
		{}, {0}, good[:11], good[:13], good[:len(good)-1], append(slices.Clone(good), 0), long, long[:querySize], long[:querySize+1],
		append([]byte{0, 9, 0x80, 0}, good[4:]...), // a response
	}
	var want []string
	const rounds = 5 // more would not fit into the socket's buffer
	for i := range rounds {
		for _, h := range hostile {
			if _, err := client.Write(h); err != nil {
				t.Fatal(err)
			}
			if len(h) <= querySize {
				if out := a.Answer(h, make([]byte, 0, udpPayload), false); out != nil {
					want = append(want, string(out))
				}
			}
			q := append([]byte{byte(i), byte(len(want))}, good[2:]...)
			if _, err := client.Write(q); err != nil {
				t.Fatal(err)
			}
			want = append(want, string(a.Answer(q, make([]byte, 0, udpPayload), false)))
		}
	}
	s := &Server{o: ServerOptions{}}
	s.o.defaults()
	s.SetAuthority(a)
	done := make(chan struct{})
	go func() { defer close(done); s.serveUDP(server) }()
	buf := make([]byte, maxPayload)
	for i := range want {
		n, err := client.Read(buf)
		if err != nil || string(buf[:n]) != want[i] {
			t.Fatalf("answer %d of %d: %x, %v, want %x", i, len(want), buf[:n], err, want[i])
		}
	}
	s.closed.Store(true)
	server.Close()
	<-done
}

// panicky is a zone in which one name brings an answer down.
type panicky struct{ *Zone }

func (p panicky) find(s *scratch, qtype uint16) {
	if qtype == dns.TypeLOC {
		panic("a defect")
	}
	p.Zone.find(s, qtype)
}

// A query that panics takes none of its batch along.
func TestBatchSurvivesAPanic(t *testing.T) {
	a := mustAuthority(t, panicky{mustZone(t, testConfig(), testRecords(), nil)})
	server, client := udpPair(t)
	good := question(t, "api.example.com."+testZone, dns.TypeA)
	bad := question(t, "api.example.com."+testZone, dns.TypeLOC)
	for _, q := range [][]byte{bad, good, bad, bad, good, bad} {
		if _, err := client.Write(q); err != nil {
			t.Fatal(err)
		}
	}
	b, err := newBatch(server, false)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.receive(); err != nil || b.nin != 6 {
		t.Fatalf("%d received at once, %v", b.nin, err)
	}
	s := &Server{o: ServerOptions{}}
	s.o.defaults()
	s.SetAuthority(a)
	s.answerBatch(&scratch{tally: new(tally)}, b)
	if b.nout != 2 {
		t.Errorf("%d answers", b.nout)
	}
}

// Batches are received, answered and sent without an allocation.
func TestBatchDoesNotAllocate(t *testing.T) {
	a := mustAuthority(t, mustZone(t, testConfig(), testRecords(), nil))
	server, client := udpPair(t)
	b, err := newBatch(server, false)
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{o: ServerOptions{}}
	s.o.defaults()
	s.SetAuthority(a)
	work := &scratch{tally: new(tally), guard: s.o.Guard}
	good := question(t, "api.example.com."+testZone, dns.TypeA)
	buf := make([]byte, 2000)
	sent, failed := 0, func(err error) { t.Error(err) }
	n := testing.AllocsPerRun(100, func() {
		for range 4 {
			if _, err := client.Write(good); err != nil {
				t.Fatal(err)
			}
		}
		if err := b.receive(); err != nil {
			t.Fatal(err)
		}
		s.answerBatch(work, b)
		flush(b.nout, b.send, b.sendWaiting, failed)
		for range b.nout {
			if _, err := client.Read(buf); err != nil {
				t.Fatal(err)
			}
			sent++
		}
	})
	if n > 0 || sent != 4*101 {
		t.Errorf("%v allocations, %d answers", n, sent)
	}
}
