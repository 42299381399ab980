package certs

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"
)

const (
	many   = 1000
	single = 40
)

// BenchmarkObtain obtains certificates, 1,000 at once ("bulk") and one after
// another ("single"): ours, stock Caddy as shipped, and stock Caddy without the
// throttle of its ACME client. Each run has a Pebble and a process of its own
// whose account exists already. The ratio that a stock run reports is our
// certificates a second by its own, of the same run of the benchmark.
//
// In bulk, stock Caddy's names are static and stand in its configuration; it
// starts on all of them at once, and proves them as it likes (HTTP-01 or
// TLS-ALPN-01) or by DNS-01 as we do, in a zone of ours within its own process.
// "On-demand" has as many clients as the name says ask it for one name after
// another; the fewer are as many as we keep orders in flight.
func BenchmarkObtain(b *testing.B) {
	var us figures
	b.Run("bulk/ours", func(b *testing.B) {
		w := newWorld(b)
		p := w.product(b, "bulk", many+1, w.directory)
		defer p.stop()
		p.create(b, many)
		p.await(b, many) // the account
		cpu, began := p.cpu(b), time.Now()
		seen, profiled := p.watch(b, many), w.profile(b, "bulk")
		var wg sync.WaitGroup
		for worker := range 8 {
			wg.Go(func() {
				for i := worker; i < many; i += 8 {
					if err := p.submit(hostname(i, ours)); err != nil {
						b.Error(err)
					}
				}
			})
		}
		wg.Wait()
		b.Logf("%d records were created in %v", many, time.Since(began).Round(time.Millisecond))
		took := seen()
		us = report(b, took, p.cpu(b)-cpu, time.Since(began))
		profiled()
	})
	for _, s := range []struct {
		name, program string
		dns01         bool
	}{
		{"stock-unthrottled", "unthrottled", false},
		{"stock-unthrottled-dns01", "unthrottled", true},
		{"stock", "caddy", false},
	} {
		b.Run("bulk/"+s.name, func(b *testing.B) { newWorld(b).stockBulk(b, s.program, s.dns01).against(b, us) })
	}
	for _, clients := range []int{inFlight, 4 * inFlight} {
		b.Run(fmt.Sprintf("bulk/stock-unthrottled-on-demand-%d", clients), func(b *testing.B) {
			newWorld(b).stockOnDemand(b, many, clients).against(b, us)
		})
	}

	us = figures{}
	b.Run("single/ours", func(b *testing.B) {
		w := newWorld(b)
		p := w.product(b, "single", single+1, w.directory)
		defer p.stop()
		p.create(b, single)
		p.await(b, single)
		cpu := p.cpu(b)
		var took []time.Duration
		began := time.Now()
		for i := range single {
			seen := p.watch(b, 1)
			if err := p.submit(hostname(i, ours)); err != nil {
				b.Fatal(err)
			}
			took = append(took, seen()...)
		}
		us = report(b, took, p.cpu(b)-cpu, time.Since(began))
	})
	b.Run("single/stock-unthrottled", func(b *testing.B) { newWorld(b).stockOnDemand(b, single, 1).against(b, us) })
}

// figures are what a run of one program came to.
type figures struct{ rate, cpu float64 }

// report gives the figures of a run: what each certificate took, and the
// processor time and the time of all of them.
func report(b *testing.B, took []time.Duration, cpu, whole time.Duration) figures {
	slices.Sort(took)
	b.ReportMetric(0, "ns/op")
	if len(took) == 0 {
		return figures{}
	}
	f := figures{float64(len(took)) / whole.Seconds(), float64(cpu.Microseconds()) / 1000 / float64(len(took))}
	b.ReportMetric(f.rate, "certs/s")
	b.ReportMetric(float64(took[len(took)/2].Milliseconds()), "p50-ms")
	b.ReportMetric(float64(took[len(took)*99/100].Milliseconds()), "p99-ms")
	b.ReportMetric(f.cpu, "cpu-ms/cert")
	return f
}

// against gives ours by what is compared with it, if ours ran before.
func (f figures) against(b *testing.B, ours figures) {
	if ours.rate > 0 && f.rate > 0 {
		b.ReportMetric(ours.rate/f.rate, "rate-ours/its")
		b.ReportMetric(ours.cpu/f.cpu, "cpu-ours/its")
	}
}
