package dns

import (
	"cmp"
	"fmt"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"
)

const (
	rounds = 10              // of each server
	round  = 3 * time.Second // of one server at a time
	// settling is how long the first look at every record may take.
	settling = time.Hour
)

// records is how many names there are: BENCH_DNS_RECORDS, or 100,000.
var records, recordsErr = strconv.Atoi(cmp.Or(os.Getenv("BENCH_DNS_RECORDS"), "100000"))

// BenchmarkDNS has dnsperf ask ours, NSD and Knot in turn, because other work on
// the machine comes and goes: each figure is the median of its rounds, the ratios
// those of neighbouring rounds. Half of the questions are for a record's
// address, a quarter for a challenge that nobody has put there, a quarter for
// names that do not exist.
func BenchmarkDNS(b *testing.B) {
	if recordsErr != nil {
		b.Fatal(recordsErr)
	}
	dir := b.TempDir()
	questions, zone := writeQuestions(b, dir), writeZone(b, dir)
	for cores := 1; cores <= 2; cores++ {
		b.Run(fmt.Sprintf("cores=%d", cores), func(b *testing.B) {
			dir := b.TempDir()
			servers := []*server{startOurs(b, dir, cores), startNSD(b, dir, zone, cores)}
			if knot := startKnot(b, dir, zone, cores); knot != nil {
				servers = append(servers, knot)
			}
			compare(b, servers)
			servers[0].settle(b)
			for _, proto := range []string{"udp", "tcp"} {
				b.Run(proto, func(b *testing.B) {
					inTurns(b, servers, func(s *server) run { return s.ask(b, questions, proto) })
				})
			}
			b.Run("light", func(b *testing.B) {
				inTurns(b, servers, func(s *server) run { return s.askLightly(b) })
			})
		})
	}
}

// inTurns measures the servers in turn, ours the first of them, and reports.
func inTurns(b *testing.B, servers []*server, ask func(*server) run) {
	b.Helper()
	of := map[*server][]run{}
	turns := slices.Clone(servers)
	for range rounds {
		for _, s := range turns {
			r := ask(s)
			of[s] = append(of[s], r)
			b.Logf("%-4s %7.0f answers/s, %5.2f cpu-µs each, latency %3.0f µs, %d lost", s.name, r.rate, r.cpu, r.latency, r.lost)
		}
		slices.Reverse(turns)
	}
	b.ReportMetric(0, "ns/op")
	ours := of[servers[0]]
	for _, s := range servers {
		runs := of[s]
		b.ReportMetric(median(runs, func(r run) float64 { return r.rate }), s.name+"-answers/s")
		b.ReportMetric(median(runs, func(r run) float64 { return r.cpu }), s.name+"-cpu-µs/answer")
		b.ReportMetric(median(runs, func(r run) float64 { return r.latency }), s.name+"-latency-µs")
		if s == servers[0] {
			continue
		}
		var rate, cpu []float64
		for i := range rounds {
			rate = append(rate, ours[i].rate/runs[i].rate)
			cpu = append(cpu, ours[i].cpu/runs[i].cpu)
		}
		b.ReportMetric(median(rate, itself), "rate-ours/"+s.name)
		b.ReportMetric(median(cpu, itself), "cpu-ours/"+s.name)
		b.Logf("ours/%s of each round: rate %s; cpu: %s", s.name, listed(rate), listed(cpu))
	}
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
