package dns

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

const (
	records = 100_000
	rounds  = 10              // of each server
	round   = 3 * time.Second // of one server at a time
)

// BenchmarkUDP has dnsperf ask ours and NSD in turn, because other work on the
// machine comes and goes: each figure is the median of its rounds, the ratios
// those of neighbouring rounds. Half of the questions are for a record's
// address, a quarter for a challenge that nobody has put there, a quarter for
// names that do not exist.
func BenchmarkUDP(b *testing.B) {
	dir := b.TempDir()
	questions := writeQuestions(b, dir)
	ours, nsd := startOurs(b, dir), startNSD(b, dir)
	compare(b, ours, nsd)
	ours.settle(b)
	b.ResetTimer()
	of := map[*server][]run{}
	for i := range rounds {
		turns := []*server{ours, nsd}
		if i%2 == 1 {
			slices.Reverse(turns)
		}
		for _, s := range turns {
			r := s.ask(b, questions)
			of[s] = append(of[s], r)
			b.Logf("%-4s %7.0f answers/s, %5.2f cpu-µs each, latency %3.0f µs, %d lost", s.name, r.rate, r.cpu, r.latency, r.lost)
		}
	}
	b.ReportMetric(0, "ns/op")
	for s, runs := range of {
		b.ReportMetric(median(runs, func(r run) float64 { return r.rate }), s.name+"-answers/s")
		b.ReportMetric(median(runs, func(r run) float64 { return r.cpu }), s.name+"-cpu-µs/answer")
		b.ReportMetric(median(runs, func(r run) float64 { return r.latency }), s.name+"-latency-µs")
	}
	var rate, cpu []float64
	for i := range rounds {
		rate = append(rate, of[ours][i].rate/of[nsd][i].rate)
		cpu = append(cpu, of[ours][i].cpu/of[nsd][i].cpu)
	}
	b.ReportMetric(median(rate, itself), "rate-ours/nsd")
	b.ReportMetric(median(cpu, itself), "cpu-ours/nsd")
	b.Logf("rate ours/nsd of each round: %s; cpu: %s", listed(rate), listed(cpu))
}

func itself(f float64) float64 { return f }

func median[T any](all []T, of func(T) float64) float64 {
	var values []float64
	for _, v := range all {
		values = append(values, of(v))
	}
	slices.Sort(values)
	n := len(values)
	return (values[(n-1)/2] + values[n/2]) / 2
}

func listed(values []float64) string {
	var s []string
	for _, v := range values {
		s = append(s, fmt.Sprintf("%.2f", v))
	}
	return fmt.Sprint(s)
}
