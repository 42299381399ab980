package proxy

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"

	"github.com/apoxy-dev/caddy-apoxy/bench"
)

const (
	rounds  = 21
	turn    = 1000 // requests
	workers = 32
	manyOf  = 1000 // hostnames
)

// BenchmarkProxy compares our handler, with a Gateway and with a Proxy target, and stock
// reverse_proxy: the medians of all rounds, and of the ratios of neighbouring turns. Each
// round begins with another way. An iteration is all rounds.
func BenchmarkProxy(b *testing.B) {
	w := newWorld(b)
	w.settle(b)
	for _, version := range []string{"1.1", "2", "3"} {
		for _, names := range []int{1, manyOf} {
			b.Run(fmt.Sprintf("http=%s/hostnames=%d", version, names), func(b *testing.B) {
				for range b.N {
					b.ReportMetric(0, "ns/op")
					w.compare(b, version, names)
				}
			})
		}
	}
}

// result is one turn of one way.
type result struct{ rate, cpu float64 }

func (w *world) compare(b *testing.B, version string, names int) {
	b.Helper()
	results := map[string][]result{}
	clients := map[string]http.RoundTripper{}
	for _, way := range ways {
		rt, end := w.client(version, way)
		defer end()
		clients[way] = rt
		w.requests(b, rt, way, names, names+turn/4) // connections are there, and what is made once
	}
	for round := range rounds {
		for i := range ways {
			way := ways[(i+round)%len(ways)]
			before, began := w.cpu(b), time.Now()
			w.requests(b, clients[way], way, names, turn)
			results[way] = append(results[way], result{turn / time.Since(began).Seconds(), float64((w.cpu(b) - before).Microseconds()) / turn})
		}
	}
	for _, way := range ways {
		var rate, cpu, ofRate, ofCPU []float64
		for i, r := range results[way] {
			base := results[stock][i]
			rate, cpu = append(rate, r.rate), append(cpu, r.cpu)
			ofRate, ofCPU = append(ofRate, r.rate/base.rate), append(ofCPU, r.cpu/base.cpu)
		}
		b.Logf("%-8s %7.0f requests/s %6.1f cpu-µs each; of stock: rate %.3f (%.2f to %.2f), processor time %.3f (%.2f to %.2f)", way, median(rate), median(cpu),
			median(ofRate), slices.Min(ofRate), slices.Max(ofRate), median(ofCPU), slices.Min(ofCPU), slices.Max(ofCPU))
		if way != stock {
			b.ReportMetric(median(ofRate), way+"-rate/stock")
			b.ReportMetric(median(ofCPU), way+"-cpu/stock")
		}
	}
}

func median(of []float64) float64 {
	of = slices.Sorted(slices.Values(of))
	return of[len(of)/2]
}

// requests sends n requests, to one hostname after the other.
func (w *world) requests(b *testing.B, rt http.RoundTripper, way string, names, n int) {
	b.Helper()
	var next, failed atomic.Int64
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for i := next.Add(1) - 1; i < int64(n); i = next.Add(1) - 1 {
				if err := w.request(rt, way, int(i)%names); err != nil && failed.Add(1) == 1 {
					b.Errorf("%s: %v: %s", way, err, w.tail())
				}
			}
		})
	}
	wg.Wait()
	if failed.Load() > 0 {
		b.FailNow()
	}
}

func (w *world) request(rt http.RoundTripper, way string, name int) error {
	r, err := http.NewRequest(http.MethodGet, "https://"+hostname(way, name)+"/", nil)
	if err != nil {
		return err
	}
	answer, err := rt.RoundTrip(r)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err == nil && (answer.StatusCode != http.StatusOK || len(body) != len(answered)) {
		err = fmt.Errorf("%s: %s", answer.Status, body)
	}
	return err
}

// hostname is that of one of the thousand; those of the Proxy target have records of
// their own.
func hostname(way string, i int) string {
	if way == proxied {
		i += manyOf
	}
	return bench.Hostname(i)
}

// client speaks one version of HTTP to the site of a way, whatever the hostname.
func (w *world) client(version, way string) (http.RoundTripper, func()) {
	config := &tls.Config{InsecureSkipVerify: true} //nolint:gosec // what is verified is not what is measured
	address := fmt.Sprintf("127.0.0.1:%d", w.ports[way])
	if version == "3" {
		t := &http3.Transport{TLSClientConfig: config, Dial: func(ctx context.Context, _ string, tc *tls.Config, qc *quic.Config) (*quic.Conn, error) {
			return quic.DialAddrEarly(ctx, address, tc, qc)
		}}
		return t, func() { _ = t.Close() }
	}
	t := &http.Transport{
		TLSClientConfig: config, ForceAttemptHTTP2: version == "2", MaxIdleConnsPerHost: workers, IdleConnTimeout: time.Hour,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "tcp", address)
		},
	}
	if version == "1.1" {
		t.TLSNextProto = map[string]func(string, *tls.Conn) http.RoundTripper{}
	}
	return t, t.CloseIdleConnections
}
