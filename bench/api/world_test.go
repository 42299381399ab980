package api

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"runtime"
	"runtime/metrics"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
	"github.com/apoxy-dev/caddy-apoxy/apiserver"
	"github.com/apoxy-dev/caddy-apoxy/bench"
	"github.com/apoxy-dev/caddy-apoxy/hosts"
	"github.com/apoxy-dev/caddy-apoxy/store"
	"github.com/apoxy-dev/caddy-apoxy/store/boltstore"
)

const (
	records  = 100_000
	listPath = "/apis/core.apoxy.dev/v1alpha3/domainrecords"
)

// world is a server over a store of 100,000 records of full size.
type world struct {
	url    string
	store  *boltstore.Store
	client *http.Client
}

func newWorld(b *testing.B) *world { return newWorldOf(b, records, bench.PutOp) }

// newWorldOf is a server over a store of n records, of which put writes the i-th, and the
// table that follows it.
func newWorldOf(b *testing.B, n int, put func(i int) store.Op) *world {
	b.Helper()
	s, err := boltstore.Open(filepath.Join(b.TempDir(), "apoxy.db"), boltstore.Options{})
	if err != nil {
		b.Fatal(err)
	}
	for i := 0; i < n; {
		var ops []store.Op
		for ; i < n && len(ops) < 2000; i++ {
			ops = append(ops, put(i), store.Op{Key: "hostnames/" + bench.Hostname(i), Value: []byte(bench.Hostname(i)), If: store.Any})
		}
		if _, err := s.Write(b.Context(), ops...); err != nil {
			b.Fatal(err)
		}
	}
	table := hosts.New()
	ctx, cancel := context.WithCancel(context.Background())
	var following sync.WaitGroup
	following.Go(func() { _ = hosts.Follow(ctx, s, hosts.Follower{Table: table}) }) // ends with the context
	if err := table.WaitRevision(b.Context(), 0); err != nil {
		b.Fatal(err)
	}
	api, err := apiserver.New(apiserver.Config{
		Store: s,
		Index: table,
		Zone:  func() string { return bench.Zone },
		Prepare: func(r, _ *v1alpha3.DomainRecord) {
			r.Status.Type, r.Status.Phase = v1alpha3.StatusTypeRef, v1alpha3.PhasePending
			r.Status.DNSRecords = v1alpha3.ExpectedDNSRecords(r, bench.Zone, "")
		},
	})
	if err != nil {
		b.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	server := &http.Server{Handler: api}
	go func() { _ = server.Serve(listener) }() // ends with Close
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 256, DisableCompression: true}}
	b.Cleanup(func() {
		client.CloseIdleConnections()
		_ = api.Close()
		_ = server.Close()
		cancel()
		following.Wait()
		_ = s.Close()
	})
	return &world{url: "http://" + listener.Addr().String() + listPath, store: s, client: client}
}

// call sends a request and reads the answer, which must be a 2xx, into buf.
func (w *world) call(ctx context.Context, buf *bytes.Buffer, method, path, kind string, body []byte) error {
	req, err := http.NewRequestWithContext(ctx, method, w.url+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	if kind != "" {
		req.Header.Set("Content-Type", kind)
	}
	answer, err := w.client.Do(req)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	buf.Reset()
	if _, err := io.Copy(buf, answer.Body); err != nil {
		return err
	}
	if answer.StatusCode/100 != 2 {
		return fmt.Errorf("%s %s: status %d: %s", method, path, answer.StatusCode, buf)
	}
	return nil
}

// each runs request for i in 0 to b.N from so many clients, and reports how
// many were done a second and how long one took.
func each(b *testing.B, clients int, request func(ctx context.Context, buf *bytes.Buffer, i int) error) {
	b.Helper()
	var mu sync.Mutex
	var all []time.Duration
	var next atomic.Int64
	var wg sync.WaitGroup
	b.ResetTimer()
	for range clients {
		wg.Go(func() {
			var mine []time.Duration
			var buf bytes.Buffer
			for i := int(next.Add(1)) - 1; i < b.N; i = int(next.Add(1)) - 1 {
				begun := time.Now()
				if err := request(b.Context(), &buf, i); err != nil {
					b.Error(err)
					return
				}
				mine = append(mine, time.Since(begun))
			}
			mu.Lock()
			all = append(all, mine...)
			mu.Unlock()
		})
	}
	wg.Wait()
	b.StopTimer()
	if b.Failed() {
		return
	}
	quantiles(b, all)
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "op/s")
}

// quantiles reports the median and the 99th percentile.
func quantiles(b *testing.B, all []time.Duration) {
	b.Helper()
	slices.Sort(all)
	at := func(q float64) float64 {
		return float64(all[int(q*float64(len(all)-1))].Microseconds()) / 1000
	}
	b.ReportMetric(at(0.5), "ms-p50")
	b.ReportMetric(at(0.99), "ms-p99")
}

// pauses reads on, and now and then stops to look at the live heap: the server
// then stands in the middle of its answer, with everything that it holds for it.
type pauses struct {
	io.Reader
	left    int
	highest uint64
}

// pauseEvery is how many bytes are read between two looks.
const pauseEvery = 8 << 20

func (p *pauses) Read(buf []byte) (int, error) {
	n, err := p.Reader.Read(buf)
	if p.left -= n; p.left <= 0 {
		p.highest, p.left = max(p.highest, liveHeap()), pauseEvery
	}
	return n, err
}

// heapOf is by how many MiB the live heap rises at most while requests are
// answered, none of whose answers the client keeps.
func (w *world) heapOf(b *testing.B, requests func(get func(query string, answer func(io.Reader) error) error) error) float64 {
	b.Helper()
	base := liveHeap()
	p := &pauses{}
	err := requests(func(query string, answer func(io.Reader) error) error {
		res, err := w.client.Get(w.url + query)
		if err != nil {
			return err
		}
		defer res.Body.Close()
		p.Reader = res.Body
		return answer(p)
	})
	if err != nil {
		b.Error(err)
	}
	if p.highest < base {
		return 0
	}
	return float64(p.highest-base) / (1 << 20)
}

func liveHeap() uint64 {
	runtime.GC()
	runtime.GC()
	return marked()
}

// marked is what the last garbage collection found alive.
func marked() uint64 {
	sample := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}
