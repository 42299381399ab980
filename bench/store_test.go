package bench

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

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
		s, err := boltstore.Open(path, boltstore.Options{})
		if err != nil {
			b.Fatal(err)
		}
		if err := s.Close(); err != nil {
			b.Fatal(err)
		}
	}
}
