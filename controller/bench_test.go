package controller

import (
	"context"
	"encoding/json"
	"fmt"
	"hash/maphash"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/apoxy-dev/caddy-apoxy/ownership"
	"github.com/apoxy-dev/caddy-apoxy/resolver"
	"github.com/apoxy-dev/caddy-apoxy/store"
)

// distantDNS answers after 20 ms that there is nothing, but for one domain in
// twenty, whose servers are dead.
type distantDNS struct {
	seed maphash.Seed
	mu   sync.Mutex
	at   map[string]time.Time // when a healthy name was first looked at
}

func (d *distantDNS) dead(hostname string) bool {
	return maphash.String(d.seed, hostname)%20 == 0
}

func (d *distantDNS) Observe(ctx context.Context, hostname string, kind resolver.Kind) ownership.DNSObservation {
	wait, o := 20*time.Millisecond, ownership.DNSObservation{Outcome: ownership.Absent, NXDomain: true}
	if d.dead(hostname) {
		wait, o = 3*time.Second, ownership.DNSObservation{Problem: ownership.ZoneUnreachable, Err: "no answer"}
	}
	if kind == resolver.KindTraffic && !d.dead(hostname) {
		d.mu.Lock()
		if _, ok := d.at[hostname]; !ok {
			d.at[hostname] = time.Now()
		}
		d.mu.Unlock()
	}
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
	o.At = time.Now()
	return o
}

func (d *distantDNS) CAA(context.Context, string) (ownership.CAAObservation, error) {
	return ownership.CAAObservation{Outcome: ownership.Absent}, nil
}

// BenchmarkPass takes many pending records, each of a domain of its own, through
// their first look, one in twenty of them in a dead zone. It reports the looks a
// second at the healthy ones, and the live heap per record.
func BenchmarkPass(b *testing.B) {
	const records = 20_000
	for b.Loop() {
		b.StopTimer()
		dns := &distantDNS{seed: maphash.MakeSeed(), at: make(map[string]time.Time)}
		bench := newBench(b, dns, func(c *Config) { c.Logger = zap.NewNop() })
		var healthy int
		ops := make([]store.Op, 0, 1000)
		for i := range records {
			r := plainRecord(fmt.Sprintf("www.customer%d.com", i))
			r.Status = ownership.Initial(r, ownership.Contest{}, bench.settings, time.Now())
			raw, err := json.Marshal(r)
			if err != nil {
				b.Fatal(err)
			}
			if !dns.dead(r.Spec.Name) {
				healthy++
			}
			if ops = append(ops, store.Op{Key: recordKey(r.Name), Value: raw, If: store.Any}); len(ops) == cap(ops) {
				if _, err := bench.store.Write(context.Background(), ops...); err != nil {
					b.Fatal(err)
				}
				ops = ops[:0]
			}
		}
		bench.cfg.Rand = func() float64 { return 0 } // all due at once
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		b.StartTimer()
		began := time.Now()
		bench.start()
		bench.until("all healthy ones are looked at", func() bool {
			dns.mu.Lock()
			defer dns.mu.Unlock()
			return len(dns.at) == healthy
		})
		took := time.Since(began)
		b.StopTimer()
		runtime.GC()
		runtime.ReadMemStats(&after)
		var waits []time.Duration
		for _, at := range dns.at {
			waits = append(waits, at.Sub(began))
		}
		slices.Sort(waits)
		b.ReportMetric(float64(healthy)/took.Seconds(), "looks/s")
		b.ReportMetric(waits[len(waits)*99/100].Seconds(), "p99-s")
		b.ReportMetric(float64(int64(after.HeapAlloc)-int64(before.HeapAlloc))/records, "B/record")
		b.StartTimer()
	}
}
