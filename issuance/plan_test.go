package issuance

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

func push(p *plan, name string, u urgency, owner, domain string, rank int64) *item {
	it := &item{entry: &entry{hostname: name}, rank: rank}
	p.push(it, u, owner, domain)
	return it
}

func order(p *plan) (names []string) {
	for it := p.pop(); it != nil; it = p.pop() {
		names = append(names, it.entry.hostname)
	}
	return names
}

func TestPlanOrdersWork(t *testing.T) {
	for name, tt := range map[string]struct {
		fill func(p *plan)
		want []string
	}{
		"what expires goes before first issuances and those before routine renewals": {func(p *plan) {
			push(p, "routine", routine, "", "r.com", 1)
			push(p, "first", first, "", "f.com", 1)
			push(p, "urgent", urgent, "", "u.com", 1)
		}, []string{"urgent", "first", "routine"}},
		"the certificate that expires first is renewed first": {func(p *plan) {
			push(p, "later", urgent, "a", "a.com", 20)
			push(p, "sooner", urgent, "a", "a.com", 10)
		}, []string{"sooner", "later"}},
		"registered domains of one tenant take turns": {func(p *plan) {
			for i := range 3 {
				push(p, fmt.Sprint("big", i), first, "a", "big.com", int64(i))
			}
			push(p, "small", first, "a", "small.com", 9)
		}, []string{"big0", "small", "big1", "big2"}},
		"a tenant's bulk import does not starve another tenant": {func(p *plan) {
			for i := range 4 {
				push(p, fmt.Sprint("bulk", i), first, "a", fmt.Sprintf("a%d.com", i), int64(i))
			}
			push(p, "b0", first, "b", "b.com", 9)
			push(p, "b1", first, "b", "b.com", 10)
		}, []string{"bulk0", "b0", "bulk1", "b1", "bulk2", "bulk3"}},
		"what was taken back is skipped": {func(p *plan) {
			it := push(p, "gone", first, "", "a.com", 1)
			push(p, "stays", first, "", "a.com", 2)
			p.drop(it)
			p.drop(it)
		}, []string{"stays"}},
	} {
		t.Run(name, func(t *testing.T) {
			var p plan
			tt.fill(&p)
			n := p.size
			got := order(&p)
			if fmt.Sprint(got) != fmt.Sprint(tt.want) || n != len(tt.want) || p.size != 0 || len(p.root.kids) != 0 {
				t.Errorf("got %v (size %d, left %d), want %v", got, n, p.size, tt.want)
			}
		})
	}
}

// Whatever arrives, a waiting item is served within a bound that depends on
// the number of groups, not on how much others bring.
func TestPlanStarvesNothing(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		var p plan
		for i := range 50 {
			push(&p, "x", urgency(rng.IntN(3)), "flood", fmt.Sprint(rng.IntN(5), ".com"), int64(i))
		}
		u := urgency(rng.IntN(3))
		mine := push(&p, "mine", u, "quiet", "quiet.com", 1<<40)
		served := 0
		for ; ; served++ {
			if served > 40 {
				t.Fatalf("urgency %d still waits after %d others", u, served)
			}
			if p.pop() == mine {
				break
			}
			for range 3 { // the flood goes on
				push(&p, "x", urgency(rng.IntN(3)), "flood", fmt.Sprint(rng.IntN(5), ".com"), int64(served))
			}
		}
	}
}

func BenchmarkPlan(b *testing.B) {
	var p plan
	for i := range 100_000 {
		push(&p, "x", first, "", fmt.Sprint(i%5000, ".com"), int64(i))
	}
	for i := 0; b.Loop(); i++ {
		it := p.pop()
		p.push(it, first, "", fmt.Sprint(i%5000, ".com"))
	}
}

// The place that is told is the one that the item has.
func TestThePlaceInThePlan(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for range 200 {
		var p plan
		var items []*item
		for i := range 60 {
			owner := fmt.Sprint("t", min(rng.IntN(8), 3)) // one of them brings half
			items = append(items, push(&p, fmt.Sprint(i), urgency(rng.IntN(3)), owner, fmt.Sprint(rng.IntN(4), ".com"), int64(rng.IntN(20))))
		}
		for range rng.IntN(20) {
			served := p.pop()
			items = slices.DeleteFunc(items, func(it *item) bool { return it == served })
		}
		for range rng.IntN(10) {
			p.drop(items[rng.IntN(len(items))])
		}
		told := map[*item]int{}
		for _, it := range items {
			told[it] = p.ahead(it)
		}
		for place := 0; ; place++ {
			if it := p.next(); it != nil && told[it] != 0 && place == 0 {
				t.Fatalf("the next one is told that %d are before it", told[it])
			}
			it := p.pop()
			if it == nil {
				break
			}
			if told[it] != place {
				t.Fatalf("%s is told that %d are before it, and %d were", it.entry.hostname, told[it], place)
			}
		}
	}
}

// With very many waiting the place is estimated, at a bounded cost, and still
// never the bulk that another tenant brought.
func TestThePlaceAmongVeryMany(t *testing.T) {
	var p plan
	var bulk []*item
	for i := range 20_000 {
		bulk = append(bulk, push(&p, "x", first, "bulk", fmt.Sprint(i%50, ".com"), int64(i)))
	}
	small := push(&p, "small", first, "small", "small.com", 1<<40)
	if got := p.ahead(small); got > 1 {
		t.Errorf("%d are said to be before the only one of its tenant", got)
	}
	for _, i := range []int{0, 10, 500, 5000, 19_999} {
		if got := p.ahead(bulk[i]); got < i*9/10 || got > i+i/10+60 {
			t.Errorf("%d are said to be before the %dth", got, i)
		}
	}
	for range 10_000 {
		p.pop()
	}
	if got := p.ahead(bulk[19_999]); got < 9000 || got > 10_000 {
		t.Errorf("%d are said to be before the last of 10,000", got)
	}
}
