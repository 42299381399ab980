package issuance

import (
	"fmt"
	"iter"
	"math/rand/v2"
	"testing"
)

// The index says what a Go map says, whatever comes and goes, and with hashes that
// collide: the shards' tables are small here.
func TestNameIndexIsAMap(t *testing.T) {
	x, model := newNameIndex(), map[string]*entry{}
	random := rand.New(rand.NewPCG(1, 2))
	for range 200_000 {
		name := fmt.Sprintf("h%d.example.com", random.IntN(6000))
		if model[name] == nil {
			e := &entry{hostname: name}
			model[name] = e
			x.add(e)
		} else if random.IntN(3) > 0 {
			delete(model, name)
			x.remove(name)
		}
		if got := x.get(name); got != model[name] {
			t.Fatalf("%s: %v, want %v", name, got, model[name])
		}
	}
	used := 0
	for i := range x.shards {
		used += x.shards[i].used
	}
	if used != len(model) {
		t.Errorf("%d entries, want %d", used, len(model))
	}
	for i := range 6000 {
		if name := fmt.Sprintf("h%d.example.com", i); x.get(name) != model[name] {
			t.Errorf("%s: %v, want %v", name, x.get(name), model[name])
		}
	}
}

// A shard's table is probed from its last place on to its first.
func TestNameShardProbesAroundItsEnd(t *testing.T) {
	s := &nameShard{}
	var all []*entry
	for i := range 6 {
		e := &entry{hostname: fmt.Sprintf("h%d", i)}
		if s.used == 0 {
			s.grow()
		}
		s.insert(e, ^uint32(0)) // the last place is home to all
		s.used++
		all = append(all, e)
	}
	for i, gone := range []int{0, 3, 5, 1, 4, 2} {
		s.free(s.find(all[gone].hostname, ^uint32(0)))
		all[gone] = nil
		for j, e := range all {
			if at := s.find(fmt.Sprintf("h%d", j), ^uint32(0)); (at >= 0) != (e != nil) {
				t.Fatalf("after %d removals: h%d at %d", i+1, j, at)
			}
		}
	}
}

// all yields every entry.
func (x *nameIndex) all() iter.Seq[*entry] {
	return func(yield func(*entry) bool) {
		for i := range x.shards {
			for _, e := range x.shards[i].slots {
				if e != nil && !yield(e) {
					return
				}
			}
		}
	}
}
