package bench

import (
	"context"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/apoxy-dev/caddy-apoxy/hosts"
	"github.com/apoxy-dev/caddy-apoxy/store"
	"github.com/apoxy-dev/caddy-apoxy/store/boltstore"
)

const records = 100_000

func openBolt(b testing.TB, path string) *boltstore.Store {
	b.Helper()
	s, err := boltstore.Open(path, boltstore.Options{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = s.Close() })
	return s
}

// fill writes n records, a thousand at a time.
func fill(b testing.TB, s store.Store, n int) {
	b.Helper()
	for i := 0; i < n; {
		var ops []store.Op
		for ; i < n && len(ops) < 1000; i++ {
			ops = append(ops, PutOp(i))
		}
		if _, err := s.Write(b.Context(), ops...); err != nil {
			b.Fatal(err)
		}
	}
}

// quantiles reports the median and the 99th percentile of durations.
func quantiles(b *testing.B, durations []time.Duration) {
	b.Helper()
	slices.Sort(durations)
	ms := func(q float64) float64 {
		return float64(durations[int(q*float64(len(durations)-1))]) / float64(time.Millisecond)
	}
	b.ReportMetric(ms(0.5), "ms-p50")
	b.ReportMetric(ms(0.99), "ms-p99")
}

// BenchmarkWrite is the time from a write of one record of full size to its
// acknowledgement from the disk, in a store of 100,000 records.
func BenchmarkWrite(b *testing.B) {
	path := filepath.Join(b.TempDir(), "apoxy.db")
	s := openBolt(b, path)
	fill(b, s, records)
	for _, writers := range []int{1, 64} {
		b.Run(fmt.Sprintf("writers=%d", writers), func(b *testing.B) {
			var mu sync.Mutex
			var all []time.Duration
			var next atomic.Int64
			var wg sync.WaitGroup
			b.ResetTimer()
			for range writers {
				wg.Go(func() {
					var mine []time.Duration
					for i := int(next.Add(1)); i <= b.N; i = int(next.Add(1)) {
						op := PutOp(i * 7919 % records)
						begin := time.Now()
						if _, err := s.Write(context.Background(), op); err != nil {
							b.Error(err)
							return
						}
						mine = append(mine, time.Since(begin))
					}
					mu.Lock()
					all = append(all, mine...)
					mu.Unlock()
				})
			}
			wg.Wait()
			b.StopTimer()
			quantiles(b, all)
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "writes/s")
		})
	}
}

// create writes the i-th record and the key of its hostname, as the API does.
func create(i int) []store.Op {
	return []store.Op{PutOp(i), {Key: "hostnames/" + Hostname(i), Value: []byte(Hostname(i)), If: store.Any}}
}

// scattered is the i-th of n numbers in an order like that in which customers come.
func scattered(n int) []int { return rand.New(rand.NewPCG(1, 2)).Perm(n) }

// BenchmarkFile creates 100,000 records, fifty at a time, in no order: what each takes of
// the file, of the processor, and before a new file has all of it again (compaction).
func BenchmarkFile(b *testing.B) {
	for b.Loop() {
		path := filepath.Join(b.TempDir(), "apoxy.db")
		order := scattered(records)
		var used time.Duration
		err := boltstore.Create(path, store.FirstRevision, func(s store.Store) error {
			for i := 0; i < records; {
				var ops []store.Op
				for ; i < records && len(ops) < 100; i++ {
					ops = append(ops, create(order[i])...)
				}
				before := cpuTime(b)
				if _, err := s.Write(b.Context(), ops...); err != nil {
					return err
				}
				used += cpuTime(b) - before
			}
			return nil
		})
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(used.Microseconds())/records, "cpu-µs/create")
		s := openBolt(b, path)
		before, after, err := s.Shrink(b.Context())
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(before)/records, "B/record")
		b.ReportMetric(float64(after)/records, "B/compacted")
		if err := s.Close(); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkShrink compacts a store of 100,000 records, of which every other was deleted,
// while eight writers write every 5 ms: their times meanwhile, and before.
func BenchmarkShrink(b *testing.B) {
	core, logs := observer.New(zap.InfoLevel)
	s, err := boltstore.Open(filepath.Join(b.TempDir(), "apoxy.db"), boltstore.Options{Logger: zap.New(core)})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	fill(b, s, records)
	for i := 0; i < records; i += 1000 {
		var ops []store.Op
		for j := i; j < i+1000; j += 2 {
			ops = append(ops, store.Op{Key: hosts.Prefix + Hostname(j), If: store.Any})
		}
		if _, err := s.Write(b.Context(), ops...); err != nil {
			b.Fatal(err)
		}
	}
	writing := func(during func()) (all []time.Duration) {
		var stop atomic.Bool
		var mu sync.Mutex
		var wg sync.WaitGroup
		for w := range 8 {
			wg.Go(func() {
				for i := w; !stop.Load(); i += 8 {
					begin := time.Now()
					if _, err := s.Write(context.Background(), PutOp((2*i*7919+1)%records)); err != nil {
						b.Error(err)
						return
					}
					mu.Lock()
					all = append(all, time.Since(begin))
					mu.Unlock()
					time.Sleep(5 * time.Millisecond)
				}
			})
		}
		during()
		stop.Store(true)
		wg.Wait()
		slices.Sort(all)
		return all
	}
	for b.Loop() {
		var took time.Duration
		meanwhile := writing(func() {
			begin := time.Now()
			before, after, err := s.Shrink(b.Context())
			if err != nil {
				b.Fatal(err)
			}
			took = time.Since(begin)
			b.ReportMetric(float64(before)/(1<<20), "MiB-before")
			b.ReportMetric(float64(after)/(1<<20), "MiB-after")
		})
		alone := writing(func() { time.Sleep(took) })
		for what, all := range map[string][]time.Duration{"meanwhile": meanwhile, "alone": alone} {
			b.ReportMetric(float64(all[len(all)*99/100].Microseconds())/1000, "ms-p99-"+what)
			b.ReportMetric(float64(all[len(all)-1].Microseconds())/1000, "ms-longest-"+what)
		}
		b.ReportMetric(took.Seconds(), "s-compacting")
		held := logs.TakeAll()[0].ContextMap()["writers_waited"].(time.Duration)
		b.ReportMetric(float64(held.Microseconds())/1000, "ms-writers-waited")
	}
}

// BenchmarkListPages lists 100,000 records in pages of 500 at one revision,
// with the number that remains on every page.
func BenchmarkListPages(b *testing.B) {
	s := openBolt(b, filepath.Join(b.TempDir(), "apoxy.db"))
	fill(b, s, records)
	for b.Loop() {
		o := store.ListOptions{Limit: 500}
		for n := 0; ; {
			res, err := s.List(b.Context(), hosts.Prefix, o)
			if err != nil {
				b.Fatal(err)
			}
			n += len(res.KeyValues)
			if int64(n)+res.Remaining != records {
				b.Fatalf("%d read and %d remaining", n, res.Remaining)
			}
			if !res.More {
				break
			}
			o.After, o.Revision = res.KeyValues[len(res.KeyValues)-1].Key, res.Revision
		}
	}
}

// BenchmarkOpen opens a store of 100,000 records and checks its pages.
func BenchmarkOpen(b *testing.B) {
	path := filepath.Join(b.TempDir(), "apoxy.db")
	s := openBolt(b, path)
	fill(b, s, records)
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		before := cpuTime(b)
		s, err := boltstore.Open(path, boltstore.Options{})
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64((cpuTime(b)-before).Microseconds())/1000, "cpu-ms")
		if err := s.Close(); err != nil {
			b.Fatal(err)
		}
	}
}
