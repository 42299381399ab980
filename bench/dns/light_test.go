package dns

import (
	"encoding/binary"
	"net"
	"slices"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// lightRate is how many questions a second are light load.
const lightRate = 10_000

// askLightly asks lightRate times a second, whether or not answers come, for one
// round. The latency of the run is the 99th percentile, from the time that a
// question was due, so that a late client hides nothing.
func (s *server) askLightly(b *testing.B) run {
	b.Helper()
	conn, err := net.Dial("udp", s.addr())
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close()
	query, err := new(dns.Msg).SetQuestion(kinds[0].owner(records/2), kinds[0].qtype).Pack()
	if err != nil {
		b.Fatal(err)
	}
	// Fewer than there are message IDs: each has its own.
	n := min(int(round.Seconds()*lightRate), 1<<16)
	due := func(i int) time.Duration { return time.Duration(i) * time.Second / lightRate }
	cpu, start := s.cpu(b), time.Now()
	if err := conn.SetReadDeadline(start.Add(due(n) + 2*time.Second)); err != nil {
		b.Fatal(err)
	}
	took := make(chan []float64)
	go func() {
		var all []float64
		buf := make([]byte, 4096)
		for len(all) < n {
			size, err := conn.Read(buf)
			if err != nil {
				break // what has not come by now is lost
			}
			if size >= 12 {
				all = append(all, float64(time.Since(start)-due(int(binary.BigEndian.Uint16(buf))))/1e3)
			}
		}
		took <- all
	}()
	for i := range n {
		time.Sleep(due(i) - time.Since(start))
		binary.BigEndian.PutUint16(query, uint16(i))
		if _, err := conn.Write(query); err != nil {
			b.Fatal(err)
		}
	}
	all := <-took
	if len(all) == 0 {
		b.Fatalf("%s answered nothing: %s", s.name, s.tail())
	}
	slices.Sort(all)
	spent := s.cpu(b) - cpu
	return run{float64(len(all)) / due(n).Seconds(), all[len(all)*99/100], float64(spent.Microseconds()) / float64(len(all)), n - len(all)}
}
