package fairqueue

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

func order(q *Queue[string]) (names []string) {
	for name, ok := q.Pop(); ok; name, ok = q.Pop() {
		names = append(names, name)
	}
	return names
}

func TestTheQueueOrdersWork(t *testing.T) {
	for name, tt := range map[string]struct {
		fill func(p *Queue[string])
		want []string
	}{
		"what expires goes before first issuances and those before routine renewals": {func(p *Queue[string]) {
			p.Push("routine", Routine, "", "r.com", 1)
			p.Push("first", First, "", "f.com", 1)
			p.Push("urgent", Urgent, "", "u.com", 1)
		}, []string{"urgent", "first", "routine"}},
		"the certificate that expires first is renewed first": {func(p *Queue[string]) {
			p.Push("later", Urgent, "a", "a.com", 20)
			p.Push("sooner", Urgent, "a", "a.com", 10)
		}, []string{"sooner", "later"}},
		"registered domains of one tenant take turns": {func(p *Queue[string]) {
			for i := range 3 {
				p.Push(fmt.Sprint("big", i), First, "a", "big.com", int64(i))
			}
			p.Push("small", First, "a", "small.com", 9)
		}, []string{"big0", "small", "big1", "big2"}},
		"a tenant's bulk import does not starve another tenant": {func(p *Queue[string]) {
			for i := range 4 {
				p.Push(fmt.Sprint("bulk", i), First, "a", fmt.Sprintf("a%d.com", i), int64(i))
			}
			p.Push("b0", First, "b", "b.com", 9)
			p.Push("b1", First, "b", "b.com", 10)
		}, []string{"bulk0", "b0", "bulk1", "b1", "bulk2", "bulk3"}},
		"what was taken back is skipped": {func(p *Queue[string]) {
			it := p.Push("gone", First, "", "a.com", 1)
			p.Push("stays", First, "", "a.com", 2)
			p.Drop(it)
			p.Drop(it)
		}, []string{"stays"}},
	} {
		t.Run(name, func(t *testing.T) {
			var p Queue[string]
			tt.fill(&p)
			n := p.Len()
			got := order(&p)
			if fmt.Sprint(got) != fmt.Sprint(tt.want) || n != len(tt.want) || p.Len() != 0 || len(p.root.kids) != 0 {
				t.Errorf("got %v (size %d, left %d), want %v", got, n, p.Len(), tt.want)
			}
		})
	}
}

// Whatever arrives, a waiting item is served within a bound that depends on
// the number of groups, not on how much others bring.
func TestPlanStarvesNothing(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		var p Queue[string]
		for i := range 50 {
			p.Push("x", Class(rng.IntN(3)), "flood", fmt.Sprint(rng.IntN(5), ".com"), int64(i))
		}
		c := Class(rng.IntN(3))
		p.Push("mine", c, "quiet", "quiet.com", 1<<40)
		served := 0
		for ; ; served++ {
			if served > 40 {
				t.Fatalf("class %d still waits after %d others", c, served)
			}
			if name, _ := p.Pop(); name == "mine" {
				break
			}
			for range 3 { // the flood goes on
				p.Push("x", Class(rng.IntN(3)), "flood", fmt.Sprint(rng.IntN(5), ".com"), int64(served))
			}
		}
	}
}

func BenchmarkQueue(b *testing.B) {
	var p Queue[string]
	for i := range 100_000 {
		p.Push("x", First, "", fmt.Sprint(i%5000, ".com"), int64(i))
	}
	for i := 0; b.Loop(); i++ {
		it, _ := p.Pop()
		p.Push(it, First, "", fmt.Sprint(i%5000, ".com"), int64(i))
	}
}

// The place that is told is the one that the item has.
func TestThePlaceInTheQueue(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for range 200 {
		var p Queue[string]
		var items []*Item[string]
		for i := range 60 {
			owner := fmt.Sprint("t", min(rng.IntN(8), 3)) // one of them brings half
			items = append(items, p.Push(fmt.Sprint(i), Class(rng.IntN(3)), owner, fmt.Sprint(rng.IntN(4), ".com"), int64(rng.IntN(20))))
		}
		for range rng.IntN(20) {
			served, _ := p.Pop()
			items = slices.DeleteFunc(items, func(it *Item[string]) bool { return it.Value == served })
		}
		for range rng.IntN(10) {
			p.Drop(items[rng.IntN(len(items))])
		}
		told := map[string]int{}
		for _, it := range items {
			told[it.Value] = p.Ahead(it)
		}
		for place := 0; ; place++ {
			if it, ok := p.Next(); ok && told[it] != 0 && place == 0 {
				t.Fatalf("the next one is told that %d are before it", told[it])
			}
			it, ok := p.Pop()
			if !ok {
				break
			}
			if told[it] != place {
				t.Fatalf("%s is told that %d are before it, and %d were", it, told[it], place)
			}
		}
	}
}

// With very many waiting the place is estimated, at a bounded cost, and still
// never the bulk that another tenant brought.
func TestThePlaceAmongVeryMany(t *testing.T) {
	var p Queue[string]
	var bulk []*Item[string]
	for i := range 20_000 {
		bulk = append(bulk, p.Push("x", First, "bulk", fmt.Sprint(i%50, ".com"), int64(i)))
	}
	small := p.Push("small", First, "small", "small.com", 1<<40)
	if got := p.Ahead(small); got > 1 {
		t.Errorf("%d are said to be before the only one of its tenant", got)
	}
	for _, i := range []int{0, 10, 500, 5000, 19_999} {
		if got := p.Ahead(bulk[i]); got < i*9/10 || got > i+i/10+60 {
			t.Errorf("%d are said to be before the %dth", got, i)
		}
	}
	for range 10_000 {
		p.Pop()
	}
	if got := p.Ahead(bulk[19_999]); got < 9000 || got > 10_000 {
		t.Errorf("%d are said to be before the last of 10,000", got)
	}
}
