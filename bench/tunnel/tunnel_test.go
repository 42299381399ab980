package tunnel

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// rounds is how often each way is measured in turn.
const rounds = 5

// BenchmarkTunnel compares the ways to one backend. An iteration is all rounds.
func BenchmarkTunnel(b *testing.B) {
	w := newWorld(b)
	for _, load := range []struct {
		name        string
		path        string
		connections int
		each        time.Duration
	}{
		{"1KiB keep-alive, 64 connections", "/1024", 64, 2 * time.Second},
		{"1MiB, 16 connections", "/1048576", 16, 3 * time.Second},
		{"1KiB, 1000 connections", "/1024", 1000, 4 * time.Second},
	} {
		b.Run(strings.ReplaceAll(load.name, " ", "_"), func(b *testing.B) {
			for range b.N {
				results := map[string][]result{}
				for range rounds {
					for _, way := range w.ways {
						results[way] = append(results[way], w.measure(b, way, load.path, load.connections, load.each))
					}
				}
				report(b, w.ways, results)
			}
		})
	}
}

// result is one round of one way.
type result struct {
	perSecond, mibPerSecond, cpuPerRequest float64 // cpu: µs of Caddy, agent, ssh
	p50, p99                               time.Duration
}

// report prints the median of each way's rounds, and of the ratios of neighbours in
// time to the direct way.
func report(b *testing.B, ways []string, results map[string][]result) {
	median := func(rs []result, of func(result) float64) float64 {
		var all []float64
		for _, r := range rs {
			all = append(all, of(r))
		}
		slices.Sort(all)
		return all[len(all)/2]
	}
	for _, way := range ways {
		rs := results[way]
		var ratios []float64
		for i := range rs {
			ratios = append(ratios, rs[i].perSecond/results["direct"][i].perSecond)
		}
		slices.Sort(ratios)
		b.Logf("%-7s %8.0f req/s %7.1f MiB/s  p50 %8s  p99 %8s  %6.0f µs cpu/request  %3.0f %% of direct (%.0f to %.0f)", way,
			median(rs, func(r result) float64 { return r.perSecond }), median(rs, func(r result) float64 { return r.mibPerSecond }),
			time.Duration(median(rs, func(r result) float64 { return float64(r.p50) })).Round(10*time.Microsecond),
			time.Duration(median(rs, func(r result) float64 { return float64(r.p99) })).Round(10*time.Microsecond),
			median(rs, func(r result) float64 { return r.cpuPerRequest }),
			100*ratios[len(ratios)/2], 100*ratios[0], 100*ratios[len(ratios)-1])
		b.ReportMetric(100*ratios[len(ratios)/2], way+"-%")
	}
}

// measure sends requests one way over connections that live, for a time.
func (w *world) measure(b *testing.B, way, path string, connections int, each time.Duration) result {
	b.Helper()
	conns := make([]*tls.Conn, connections)
	var dial sync.WaitGroup
	slots := make(chan struct{}, 32)
	for i := range conns {
		slots <- struct{}{}
		dial.Go(func() {
			defer func() { <-slots }()
			c, err := tls.Dial("tcp", w.edge, &tls.Config{InsecureSkipVerify: true, ServerName: way + ".test", NextProtos: []string{"http/1.1"}})
			if err != nil {
				b.Error(err)
				return
			}
			conns[i] = c
		})
	}
	dial.Wait()
	if b.Failed() {
		b.FailNow()
	}
	var bytes, requests atomic.Int64
	var mu sync.Mutex
	var times []time.Duration
	before := w.cpu(b, way)
	began := time.Now()
	var work sync.WaitGroup
	for _, c := range conns {
		work.Go(func() {
			defer c.Close()
			var mine []time.Duration
			r := bufio.NewReaderSize(c, 64<<10)
			request := []byte("GET " + path + " HTTP/1.1\r\nHost: " + way + ".test\r\n\r\n")
			for time.Since(began) < each {
				start := time.Now()
				if _, err := c.Write(request); err != nil {
					b.Error(err)
					return
				}
				n, err := answer(r)
				if err != nil {
					b.Errorf("%s: %v", way, err)
					return
				}
				mine = append(mine, time.Since(start))
				bytes.Add(n)
			}
			requests.Add(int64(len(mine)))
			mu.Lock()
			times = append(times, mine...)
			mu.Unlock()
		})
	}
	work.Wait()
	took := time.Since(began).Seconds()
	cpu := w.cpu(b, way) - before
	if b.Failed() || len(times) == 0 {
		b.Fatalf("%s: the measurement failed", way)
	}
	slices.Sort(times)
	n := float64(requests.Load())
	return result{
		perSecond: n / took, mibPerSecond: float64(bytes.Load()) / took / (1 << 20), cpuPerRequest: float64(cpu.Microseconds()) / n,
		p50: times[len(times)/2], p99: times[len(times)*99/100],
	}
}

// answer reads one answer and returns how long its body was. A client that costs
// little leaves the cores to what is measured.
func answer(r *bufio.Reader) (int64, error) {
	length, status := int64(-1), ""
	for {
		line, err := r.ReadSlice('\n')
		if err != nil {
			return 0, err
		}
		if status == "" {
			status = string(line)
		}
		if len(line) <= 2 {
			break
		}
		if len(line) > 16 && strings.EqualFold(string(line[:15]), "content-length:") {
			if length, err = strconv.ParseInt(strings.TrimSpace(string(line[15:])), 10, 64); err != nil {
				return 0, err
			}
		}
	}
	if !strings.Contains(status, " 200 ") || length < 0 {
		return 0, fmt.Errorf("answered %q with length %d", status, length)
	}
	return io.CopyN(io.Discard, r, length)
}

// backend answers /N with N bytes.
func backend(b *testing.B) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	body := make([]byte, 1<<20)
	s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n, err := strconv.Atoi(r.URL.Path[1:])
		if err != nil || n > len(body) {
			n = 0
		}
		w.Header().Set("Content-Type", "application/octet-stream")
		w.Header().Set("Content-Length", strconv.Itoa(n))
		_, _ = w.Write(body[:n]) // who has gone is of no interest
	})}
	go func() { _ = s.Serve(l) }()
	b.Cleanup(func() { s.Close() })
	return l.Addr().String()
}
