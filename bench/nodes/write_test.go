package nodes

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/apoxy-dev/caddy-apoxy/bench"
	"github.com/apoxy-dev/caddy-apoxy/store"
	"github.com/apoxy-dev/caddy-apoxy/store/boltstore"
)

var records = flag.Int("records", 2000, "how many records the stores hold")

// turn is how long one engine is written to before the next has its turn.
const turn = 2 * time.Second

// engine is one of those that are compared, with the figures of its turns.
type engine struct {
	name  string
	store store.Store
	took  []time.Duration // of every write
	p50   []float64       // of each turn, in ms
	p99   []float64
	rate  []float64
	lost  atomic.Int64 // writes that were not answered in time
}

func openBolt(b *testing.B) *boltstore.Store {
	b.Helper()
	s, err := boltstore.Open(filepath.Join(b.TempDir(), "apoxy.db"), boltstore.Options{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = s.Close() })
	return s
}

// fill writes n records, a hundred at a time.
func fill(b *testing.B, s store.Store, n int) {
	b.Helper()
	var next atomic.Int64
	var writing sync.WaitGroup
	for range 8 {
		writing.Go(func() {
			for first := int(next.Add(100)) - 100; first < n; first = int(next.Add(100)) - 100 {
				var ops []store.Op
				for i := first; i < min(first+100, n); i++ {
					ops = append(ops, bench.PutOp(i))
				}
				if _, err := s.Write(b.Context(), ops...); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	writing.Wait()
	if b.Failed() {
		b.FailNow()
	}
}

// BenchmarkWrite is a write of one record from the call to the acknowledgement: bolt, an
// etcd of one member and one of three in turns, as many rounds as there are iterations.
// All flush to the same disk, and what they do is what the machine does.
func BenchmarkWrite(b *testing.B) {
	engines := []*engine{
		{name: "bolt", store: openBolt(b)},
		{name: "etcd1", store: startEtcd(b, 1).open(b)},
		{name: "etcd3", store: startEtcd(b, 3).open(b)},
	}
	for _, e := range engines {
		fill(b, e.store, *records)
	}
	ops := make([]store.Op, *records) // made before, so that making them is in no figure
	for i := range ops {
		ops[i] = bench.PutOp(i)
	}
	for _, writers := range []int{1, 64} {
		b.Run(fmt.Sprint("writers=", writers), func(b *testing.B) {
			for _, e := range engines {
				e.took, e.p50, e.p99, e.rate = nil, nil, nil, nil
				e.lost.Store(0)
			}
			for i := range b.N {
				for k := range engines { // each comes after each other in turn
					engines[(i+k)%len(engines)].write(b, writers, ops)
				}
			}
			b.ReportMetric(0, "ns/op")
			for _, e := range engines {
				report(b, e.name, e.took)
				b.ReportMetric(median(e.rate), e.name+"-writes/s")
				b.ReportMetric(float64(e.lost.Load()), e.name+"-lost")
			}
			for _, e := range engines[1:] {
				ratios(b, e.name+"/bolt-p50", e.p50, engines[0].p50)
				ratios(b, e.name+"/bolt-p99", e.p99, engines[0].p99)
				ratios(b, e.name+"/bolt-rate", e.rate, engines[0].rate)
			}
		})
	}
}

// write has a turn.
func (e *engine) write(b *testing.B, writers int, ops []store.Op) {
	var mu sync.Mutex
	var took []time.Duration
	var next atomic.Int64
	var writing sync.WaitGroup
	began := time.Now()
	for range writers {
		writing.Go(func() {
			var mine []time.Duration
			for time.Since(began) < turn {
				op := ops[int(next.Add(7919))%len(ops)]
				before := time.Now()
				_, err := e.store.Write(context.Background(), op)
				if errors.Is(err, store.ErrUnavailable) { // a disk that others keep busy, too, stalls
					e.lost.Add(1)
					time.Sleep(100 * time.Millisecond) // until it answers again it fails at once
					continue
				}
				if err != nil {
					b.Errorf("%s: %v", e.name, err)
					return
				}
				mine = append(mine, time.Since(before))
			}
			mu.Lock()
			defer mu.Unlock()
			took = append(took, mine...)
		})
	}
	writing.Wait()
	e.rate = append(e.rate, float64(len(took))/time.Since(began).Seconds())
	slices.Sort(took)
	e.p50, e.p99 = append(e.p50, ms(at(took, 0.5))), append(e.p99, ms(at(took, 0.99)))
	e.took = append(e.took, took...)
}
