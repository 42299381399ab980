package issuance

import (
	"fmt"
	"math/rand/v2"
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
