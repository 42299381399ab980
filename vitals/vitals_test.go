package vitals

import (
	"math"
	"slices"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// clock is set by hand.
type clock struct{ at time.Time }

func (c *clock) now() time.Time { return c.at }

func equal(a, b float64) bool { return a == b || math.IsNaN(a) && math.IsNaN(b) }

// tail are the last n values of the first series.
func tail(r *Recorder, n int) []float64 {
	v := r.Series()[0].Values
	return v[len(v)-n:]
}

func TestRatesAreOfAMinute(t *testing.T) {
	c, count := &clock{time.Unix(1_700_000_000, 0)}, 100.0
	r := New(c.now, Source{"looks", func() float64 { return count }})
	if s := r.Series(); len(s) != 1 || s[0].Name != "looks" || len(s[0].Values) != Steps || !s[0].End.IsZero() {
		t.Fatalf("%+v", s)
	}
	nan := math.NaN()
	steps := []struct {
		name  string
		after time.Duration
		count float64
		want  []float64 // the last values
	}{
		{"the first reading tells nothing", 0, 100, []float64{nan}},
		{"of half a minute", Step, 130, []float64{nan, 60}},
		{"a late reading", Step + 10*time.Second, 150, []float64{nan, 60, 30}},
		{"nothing happened", Step, 150, []float64{60, 30, 0}},
		{"it began anew", Step, 20, []float64{30, 0, nan}},
		{"and goes on", Step, 30, []float64{0, nan, 20}},
		{"the machine slept for four steps", 4 * Step, 50, []float64{20, nan, nan, nan, 10}},
		{"the clock was set back", -time.Hour, 60, []float64{10, nan}},
		{"and goes on again", Step, 61, []float64{nan, 2}},
		{"the machine slept for days", 100 * time.Hour, 62, append(slices.Repeat([]float64{nan}, Steps-1), 1.0/6000)},
	}
	for _, tt := range steps {
		c.at, count = c.at.Add(tt.after), tt.count
		r.sample()
		if got := tail(r, len(tt.want)); !slices.EqualFunc(got, tt.want, equal) {
			t.Errorf("%s: got %v, want %v", tt.name, got, tt.want)
		}
		if s := r.Series()[0]; len(s.Values) != Steps || !s.End.Equal(c.at) {
			t.Errorf("%s: %d values that end at %s", tt.name, len(s.Values), s.End)
		}
	}
}

func TestAnHourIsKept(t *testing.T) {
	c, count := &clock{time.Unix(1_700_000_000, 0)}, 0.0
	r := New(c.now, Source{"requests", func() float64 { return count }})
	for i := range 3 * Steps {
		count += float64(i)
		c.at = c.at.Add(Step)
		r.sample()
	}
	v := r.Series()[0].Values
	if first, last := v[0], v[Steps-1]; first != 2*(2*Steps) || last != 2*(3*Steps-1) {
		t.Errorf("it begins with %v and ends with %v", first, last)
	}
}

func TestMetricsAreSummed(t *testing.T) {
	total := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "x_total"}, []string{"a"})
	other := prometheus.NewCounter(prometheus.CounterOpts{Name: "x_total_of_others"})
	took := prometheus.NewHistogram(prometheus.HistogramOpts{Name: "x_seconds"})
	all := []prometheus.Collector{other, total, took}
	sum, times := Sum("x_total", all...), Sum("x_seconds", all...)
	if n := sum(); n != 0 {
		t.Errorf("before anything: %v", n)
	}
	total.WithLabelValues("1").Add(3)
	total.WithLabelValues("2").Add(4)
	other.Add(100)
	took.Observe(50)
	took.Observe(70)
	if n := sum(); n != 7 {
		t.Errorf("the counters add up to %v, want 7", n)
	}
	if n := times(); n != 2 {
		t.Errorf("it was observed %v times, want 2", n)
	}
	if Sum("x", all...) != nil {
		t.Error("a metric that there is not is found")
	}
}

// BenchmarkSample measures a reading of far more than the dashboard shows, which is done
// every 30 seconds: it must cost nothing that is felt.
func BenchmarkSample(b *testing.B) {
	total := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "x_total"}, []string{"a"})
	for i := range 200 {
		total.WithLabelValues(string(rune('a' + i))).Inc()
	}
	var sources []Source
	for range 4 {
		sources = append(sources, Source{"x", Sum("x_total", total)})
	}
	r := New(nil, sources...)
	b.ReportAllocs()
	for b.Loop() {
		r.sample()
	}
}
