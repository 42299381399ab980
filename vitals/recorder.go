package vitals

import (
	"context"
	"math"
	"sync"
	"time"
)

const (
	// Step is how often counters are read, and Steps how many readings are kept: an hour.
	Step  = 30 * time.Second
	Steps = 120
)

// Source is a counter that is remembered.
type Source struct {
	// Name is what it counts, for people.
	Name string
	// Count returns the count since the process began. It is called from one goroutine.
	Count func() float64
}

// Series is what a source counted in a minute, in steps.
type Series struct {
	Name string
	// End is when the last step ended; the zero time: none has.
	End time.Time
	// Values are of each step, oldest first; NaN: not known.
	Values []float64
}

// Recorder remembers. New makes one.
type Recorder struct {
	sources []Source
	now     func() time.Time

	mu    sync.Mutex
	read  time.Time // when the counters were last read; zero: never
	last  []float64 // what they said then
	rings []ring    // by source
}

// New returns a Recorder that remembers nothing before Run. Now defaults to time.Now.
func New(now func() time.Time, sources ...Source) *Recorder {
	if now == nil {
		now = time.Now
	}
	r := &Recorder{sources: sources, now: now, last: make([]float64, len(sources)), rings: make([]ring, len(sources))}
	for i := range r.rings {
		r.rings[i].clear()
	}
	return r
}

// Run reads the counters until the context ends. It returns nil.
func (r *Recorder) Run(ctx context.Context) error {
	tick := time.NewTicker(Step)
	defer tick.Stop()
	for {
		r.sample()
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// sample reads all counters, once.
func (r *Recorder) sample() {
	counts := make([]float64, len(r.sources))
	for i, s := range r.sources {
		counts[i] = s.Count()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.now()
	if took := now.Sub(r.read); !r.read.IsZero() {
		missed := skipped(took)
		for i := range r.rings {
			for range missed {
				r.rings[i].push(math.NaN())
			}
			r.rings[i].push(rate(r.last[i], counts[i], took))
		}
	}
	r.read, r.last = now, counts
}

// skipped is how many steps there were in a time beside the last, as many as matter: the
// machine may have slept.
func skipped(took time.Duration) int {
	return int(min(max((took+Step/2)/Step-1, 0), Steps))
}

// rate is by how much a counter grew in a minute; NaN: that cannot be told, because it
// began anew or the clock was set back.
func rate(before, now float64, took time.Duration) float64 {
	if now < before || took <= 0 {
		return math.NaN()
	}
	return (now - before) / took.Minutes()
}

// Series are those of all sources, in their order.
func (r *Recorder) Series() []Series {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := make([]Series, len(r.sources))
	for i, s := range r.sources {
		out[i] = Series{Name: s.Name, End: r.read, Values: r.rings[i].values()}
	}
	return out
}

// ring holds the last values.
type ring struct {
	of [Steps]float64
	at int // of the next, which takes the place of the oldest
}

func (g *ring) clear() {
	for i := range g.of {
		g.of[i] = math.NaN()
	}
}

func (g *ring) push(v float64) {
	g.of[g.at] = v
	g.at = (g.at + 1) % Steps
}

// values are all, oldest first.
func (g *ring) values() []float64 {
	return append(append(make([]float64, 0, Steps), g.of[g.at:]...), g.of[:g.at]...)
}
