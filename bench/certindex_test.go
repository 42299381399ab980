package bench

import (
	"context"
	"fmt"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddyserver/certmagic"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/apoxy-dev/caddy-apoxy/issuance"
	"github.com/apoxy-dev/caddy-apoxy/issuance/acme"
	"github.com/apoxy-dev/caddy-apoxy/ownership"
	"github.com/apoxy-dev/caddy-apoxy/store"
	"github.com/apoxy-dev/caddy-apoxy/store/boltstore"
)

// The certificates here were obtained over the sixty days before indexed, from
// one CA with renewal information, and are renewed over the thirty after it.
const (
	indexed  = 1_790_000_000
	indexDir = "https://acme-v02.api.letsencrypt.org/directory"
)

// renewalOf spreads the renewals of n certificates over thirty days.
func renewalOf(i, n int) int64 {
	return indexed + 3600 + int64(uint64(i)*2654435761%uint64(n))*(30*24*3600)/int64(n)
}

// indexOp writes what the index knows of the i-th certificate.
func indexOp(i, n int) store.Op {
	return CertificateOp(i, renewalOf(i, n), indexed+9*24*3600+int64(i%21600))
}

// indexWant is what the controller asks of the i-th record.
func indexWant(i int) issuance.Want {
	return issuance.Want{Hostname: Hostname(i), UID: fmt.Sprintf("5f0c1f66-6d3c-4f0e-9d5e-%012x", i),
		Owner: fmt.Sprintf("tenant-%05d", i/40), DNS01: true, Since: indexed - 86400*80}
}

// stuck looks at DNS for as long as the measurement lasts, so that what is due
// waits in the queue.
type stuck struct{ free chan struct{} }

func (p stuck) Delegated(context.Context, string) (bool, error) { <-p.free; return false, nil }
func (stuck) Arrives(context.Context, string) (bool, error)     { return false, nil }
func (stuck) CAA(context.Context, string) (ownership.CAAObservation, error) {
	return ownership.CAAObservation{Outcome: ownership.Absent}, nil
}

// watchful asks for an observation over and over; the longest that one took
// shows how long the scheduler's lock was held.
type watchful struct {
	s       *issuance.Scheduler
	longest atomic.Int64
	asked   atomic.Int64
}

func (w *watchful) run(ctx context.Context, n int) {
	for i := 0; ctx.Err() == nil; i = (i + 7919) % n {
		hostname := Hostname(i)
		began := time.Now()
		w.s.Observe(hostname)
		took := int64(time.Since(began))
		w.asked.Add(1)
		if took > w.longest.Load() {
			w.longest.Store(took)
		}
		time.Sleep(200 * time.Microsecond) // the pace of the load, not a wait
	}
}

// pause returns the longest observation since the last call, in milliseconds.
func (w *watchful) pause() float64 { return float64(w.longest.Swap(0)) / 1e6 }

// BenchmarkCertificateIndex is a node with very many certificates: its start,
// what one costs in memory, and what it does when some, or all, are due.
func BenchmarkCertificateIndex(b *testing.B) {
	for _, n := range []int{100_000, 1_000_000} {
		b.Run(fmt.Sprintf("certificates=%d", n), func(b *testing.B) {
			path := filepath.Join(b.TempDir(), "apoxy.db")
			fillIndex(b, path, n)
			for b.Loop() {
				certificateIndex(b, path, n)
			}
		})
	}
}

func fillIndex(b *testing.B, path string, n int) {
	b.Helper()
	s := openBolt(b, path)
	for i := 0; i < n; {
		var ops []store.Op
		for ; i < n && len(ops) < 5000; i++ {
			ops = append(ops, indexOp(i, n))
		}
		if _, err := s.Write(b.Context(), ops...); err != nil {
			b.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
}

func certificateIndex(b *testing.B, path string, n int) {
	st, err := boltstore.Open(path, boltstore.Options{})
	if err != nil {
		b.Fatal(err)
	}
	before := liveHeap()
	var clock atomic.Int64
	clock.Store(indexed)
	p := stuck{make(chan struct{})}
	s := issuance.New(issuance.Config{Store: st, Prober: p, Challenges: nowhere{}, Now: func() time.Time { return time.Unix(clock.Load(), 0) }})
	issuers := &issuance.Issuers{}
	cfg := &certmagic.Config{Storage: &certmagic.FileStorage{Path: b.TempDir()}}
	issuers.Set("first", acme.Authority{Directory: indexDir, Email: "ops@example.net"}, cfg, nil)
	s.SetIssuers(issuers)

	// As at a start of the product: the records come first.
	cpu := cpuTime(b)
	for i := range n {
		s.Want(indexWant(i))
	}
	b.ReportMetric(float64((cpuTime(b)-cpu).Nanoseconds())/float64(n), "cpu-ns/want")

	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	w := &watchful{s: s}
	wg.Go(func() { w.run(ctx, n) })
	cpu = cpuTime(b)
	began := time.Now()
	wg.Go(func() {
		if err := s.Run(ctx); err != nil {
			b.Error(err)
		}
	})
	until(b, func() bool { return s.Observe(Hostname(n-1)).Outcome != ownership.CouldNotTell })
	b.ReportMetric(time.Since(began).Seconds(), "s-load")
	b.ReportMetric((cpuTime(b) - cpu).Seconds(), "cpu-s-load")
	b.ReportMetric(w.pause(), "ms-pause-load")
	b.ReportMetric(float64(liveHeap()-before)/float64(n), "B/certificate")

	w.pause()
	began = time.Now()
	for i := range n { // as every look does
		s.Want(indexWant(i))
	}
	b.ReportMetric(float64(time.Since(began).Nanoseconds())/float64(n), "ns/want-again")
	b.ReportMetric(w.pause(), "ms-pause-wants")

	w.pause()
	const asked = 100_000
	began = time.Now()
	for i := range asked {
		if s.Observe(Hostname(i*7919%n)).Outcome != ownership.Seen {
			b.Fatalf("%s is not known", Hostname(i*7919%n))
		}
	}
	b.ReportMetric(float64(time.Since(began).Nanoseconds())/asked, "ns/observe")

	// Ten thousand fall due in one moment.
	const wave = 10_000
	at := indexed + 3600 + 30*24*3600*wave/int64(n)
	many := 0
	for i := range n {
		if renewalOf(i, n) <= at {
			many++
		}
	}
	sorted := func(name string, at int64, many int) {
		w.pause()
		cpu, began := cpuTime(b), time.Now()
		clock.Store(at)
		s.SetIssuers(issuers)
		until(b, func() bool { return waiting(b) >= float64(many) })
		b.ReportMetric(time.Since(began).Seconds(), "s-"+name)
		b.ReportMetric((cpuTime(b) - cpu).Seconds(), "cpu-s-"+name)
		b.ReportMetric(w.pause(), "ms-pause-"+name)

		began = time.Now()
		s.SetIssuers(issuers)
		b.ReportMetric(float64(time.Since(began).Microseconds())/1000, "ms-reload-"+name)
		asked := w.asked.Load()
		until(b, func() bool { return w.asked.Load() > asked+1000 })
		b.ReportMetric(w.pause(), "ms-pause-reload-"+name)
	}
	b.ReportMetric(float64(many), "due")
	sorted("wave", at, many-100)

	// All of them do: a node that was off for months, or a CA held that long.
	sorted("all", indexed+40*24*3600, n*9/10)

	clock.Add(2 * 3600) // and what waits is sorted anew every hour
	s.Want(issuance.Want{Hostname: "new.customer.example", UID: "u1", DNS01: true})
	asks := w.asked.Load()
	until(b, func() bool { return w.asked.Load() > asks+1000 })
	b.ReportMetric(w.pause(), "ms-pause-resort")

	cancel()
	close(p.free)
	wg.Wait()
	runtime.KeepAlive(s)
	if err := st.Close(); err != nil {
		b.Fatal(err)
	}
}

// waiting is apoxy_queue_depth.
func waiting(b *testing.B) float64 {
	b.Helper()
	r := prometheus.NewRegistry()
	r.MustRegister(issuance.Collectors()...)
	families, err := r.Gather()
	if err != nil {
		b.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == "apoxy_queue_depth" {
			return f.GetMetric()[0].GetGauge().GetValue()
		}
	}
	return 0
}

type nowhere struct{}

func (nowhere) Present(context.Context, string, string) error { return nil }
func (nowhere) CleanUp(context.Context, string, string) error { return nil }

// until polls a condition for up to three minutes.
func until(b *testing.B, ok func() bool) {
	b.Helper()
	deadline := time.Now().Add(3 * time.Minute)
	for !ok() {
		if time.Now().After(deadline) {
			b.Fatal("nothing came of it within three minutes")
		}
		time.Sleep(time.Millisecond)
	}
}
