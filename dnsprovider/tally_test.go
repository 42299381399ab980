package dnsprovider

import (
	"sync/atomic"
	"testing"
)

// Nothing is lost, however many kinds there are in a batch, and what is flushed is
// not counted again.
func TestTally(t *testing.T) {
	var counters [20]atomic.Uint64
	tally := new(tally)
	for round := range 3 {
		for i := range counters {
			for range i + 1 {
				tally.add(&counters[i])
			}
		}
		tally.flush()
		tally.flush()
		for i := range counters {
			if got, want := counters[i].Load(), uint64((round+1)*(i+1)); got != want {
				t.Errorf("round %d: counter %d is %d, want %d", round, i, got, want)
			}
		}
	}
}

// One query in sampleEvery is timed, however they come together.
func TestSamples(t *testing.T) {
	var s samples
	asked, timed := 0, 0
	for i := range 1000 {
		n := 1 + i*7%50
		asked += n
		timed += s.due(n)
		if timed != asked/sampleEvery {
			t.Fatalf("%d of %d queries timed", timed, asked)
		}
	}
}
