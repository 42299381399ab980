package nodes

import (
	"fmt"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// at is the quantile q of sorted durations.
func at(sorted []time.Duration, q float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[int(q*float64(len(sorted)-1))]
}

// report reports the median and the 99th percentile of durations.
func report(b *testing.B, name string, took []time.Duration) {
	slices.Sort(took)
	b.ReportMetric(ms(at(took, 0.5)), name+"-p50-ms")
	b.ReportMetric(ms(at(took, 0.99)), name+"-p99-ms")
}

// ratios reports the median of the rounds' ratios and tells all of them.
func ratios(b *testing.B, name string, ours, theirs []float64) {
	var all []float64
	var listed []string
	for i := range ours {
		all = append(all, ours[i]/theirs[i])
		listed = append(listed, fmt.Sprintf("%.2f", all[i]))
	}
	b.ReportMetric(median(all), name)
	b.Logf("%s of each round: %s", name, strings.Join(listed, " "))
}

func median(values []float64) float64 {
	values = slices.Sorted(slices.Values(values))
	n := len(values)
	return (values[(n-1)/2] + values[n/2]) / 2
}

// processor is the time that this process has had of the processors.
func processor(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func liveHeap() float64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc)
}
