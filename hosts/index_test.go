package hosts

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

// TestIndexIsAMap does the same at random to an index and to a Go map. Few
// hashes make long probes.
func TestIndexIsAMap(t *testing.T) {
	for _, hashes := range []uint32{1, 3, 64, 1 << 31} {
		random := rand.New(rand.NewPCG(uint64(hashes), 5))
		hashOf := map[string]uint32{}
		var names []string
		for i := range 120 {
			name := fmt.Sprint("n", i)
			if i%4 == 0 {
				name += strings.Repeat("long", 30)
			}
			names = append(names, name)
			hashOf[name] = random.Uint32N(hashes) * 2654435761
		}
		var x index
		want := map[string]*Host{}
		for step := range 20_000 {
			name := names[random.IntN(len(names))]
			if random.IntN(2) == 0 {
				h := &Host{Hostname: name, Revision: int64(step)}
				if old := x.put(name, hashOf[name], h); old != want[name] {
					t.Fatalf("step %d: put returned %v, want %v", step, old, want[name])
				}
				want[name] = h
			} else {
				if old := x.remove(name, hashOf[name]); old != want[name] {
					t.Fatalf("step %d: remove returned %v, want %v", step, old, want[name])
				}
				delete(want, name)
			}
			if x.used != len(want) {
				t.Fatalf("step %d: %d in use, want %d", step, x.used, len(want))
			}
			if step%50 != 0 {
				continue
			}
			for _, name := range names {
				if got := x.get(name, hashOf[name]); got != want[name] {
					t.Fatalf("step %d: %s is %v, want %v", step, name, got, want[name])
				}
			}
			n := 0
			for h := range x.all() {
				if n++; want[h.Hostname] != h {
					t.Fatalf("step %d: all yields %v", step, h)
				}
			}
			if n != len(want) {
				t.Fatalf("step %d: all yields %d, want %d", step, n, len(want))
			}
		}
	}
}
