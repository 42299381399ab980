package dnsprovider

import (
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// A server on one address gives way to one on every address, and back, while
// clients ask over UDP: each query is answered.
func TestOverlappingServersTakeOverWithoutLoss(t *testing.T) {
	a := mustAuthority(t, mustZone(t, testConfig(), testRecords(), nil))
	s := mustListen(t, "127.0.0.1:0", ServerOptions{Sockets: 2}, a)
	specific := s.Addr().String()
	everywhere := ":" + port(s)
	if _, err := Listen(t.Context(), everywhere, ServerOptions{}); err == nil {
		t.Fatal("an overlapping server was started without saying so")
	}
	stop := make(chan struct{})
	var asked, lost atomic.Int64
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			conn, err := net.Dial("udp", specific)
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			dc := &dns.Conn{Conn: conn}
			for {
				select {
				case <-stop:
					return
				default:
				}
				m := new(dns.Msg).SetQuestion("api.example.com.cname.example.net.", dns.TypeA)
				asked.Add(1)
				_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
				if err := dc.WriteMsg(m); err != nil {
					lost.Add(1)
					continue
				}
				if got, err := dc.ReadMsg(); err != nil || got.Id != m.Id || len(got.Answer) != 1 {
					lost.Add(1)
				}
			}
		})
	}
	for i, address := range []string{everywhere, specific, "0.0.0.0" + everywhere, specific, everywhere, specific} {
		goal := asked.Load() + 200
		eventually(t, "queries go on", func() bool { return asked.Load() > goal })
		next, err := Listen(t.Context(), address, ServerOptions{Sockets: 1 + i%3, Shared: true, Authority: a})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = next.Close() })
		goal += 400
		eventually(t, "queries go on", func() bool { return asked.Load() > goal })
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s = next
		if got, err := dns.Exchange(new(dns.Msg).SetQuestion("api.example.com.cname.example.net.", dns.TypeA), specific); err != nil || len(got.Answer) != 1 {
			t.Errorf("after the change to %s: %v, %v", address, got, err)
		}
		c := dns.Client{Net: "tcp", Timeout: 5 * time.Second}
		if got, _, err := c.Exchange(new(dns.Msg).SetQuestion("api.example.com.cname.example.net.", dns.TypeA), specific); err != nil || len(got.Answer) != 1 {
			t.Errorf("after the change to %s, over TCP: %v, %v", address, got, err)
		}
	}
	close(stop)
	wg.Wait()
	if lost.Load() > 0 {
		t.Errorf("%d of %d queries lost", lost.Load(), asked.Load())
	}
	t.Logf("%d queries", asked.Load())
}
