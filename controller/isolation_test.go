package controller

import (
	"container/heap"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

// simulated is a record in the simulation below.
type simulated struct {
	item  *item
	takes time.Duration
	heard bool
	live  bool
}

type event struct {
	at    time.Duration
	order int
	do    func()
}

type events []event

func (e events) Len() int { return len(e) }
func (e events) Less(i, j int) bool {
	return e[i].at < e[j].at || e[i].at == e[j].at && e[i].order < e[j].order
}
func (e events) Swap(i, j int) { e[i], e[j] = e[j], e[i] }
func (e *events) Push(x any)   { *e = append(*e, x.(event)) }
func (e *events) Pop() any {
	old := *e
	last := old[len(old)-1]
	*e = old[:len(old)-1]
	return last
}

// simulate has all looked at, all at once, and returns when each live one was.
func simulate(q *queue, all []simulated) map[string]time.Duration {
	start := time.Unix(1_000_000, 0)
	of := make(map[*item]simulated)
	for _, s := range all {
		of[s.item] = s
		q.demand(s.item, workLook)
	}
	done := make(map[string]time.Duration)
	var agenda events
	var now time.Duration
	order := 0
	after := func(d time.Duration, do func()) {
		order++
		heap.Push(&agenda, event{now + d, order, do})
	}
	for {
		for e := q.next(start); e != nil; e = q.next(start) {
			what, _ := e.begin()
			s, over := of[e], false
			after(s.takes, func() {
				if over {
					return
				}
				over = true
				q.learn(e, s.takes, s.heard, start)
				q.done(e)
				if s.live {
					done[e.name] = now
				}
			})
			if most := patience(e.track); most > 0 {
				after(most, func() {
					if !over && !q.outlasts(e, s.heard, start) {
						over = true
						e.pending |= what
						q.done(e)
					}
				})
			}
		}
		if len(agenda) == 0 {
			return done
		}
		next := heap.Pop(&agenda).(event)
		now = next.at
		next.do()
	}
}

// A live record waits for live ones only: the dead, however many, cost it
// nothing once they are known, and the first time no more than their turn of
// slowAfter among those of which nothing is known yet.
func TestALiveRecordsWaitIsBoundedByLiveWorkAlone(t *testing.T) {
	const concurrency = 16
	for seed := range uint64(20) {
		world := func(dead int) []simulated {
			rnd := rand.New(rand.NewPCG(seed, 1))
			var all []simulated
			for i := range 20 + rnd.IntN(100) {
				takes := time.Duration(1+rnd.IntN(290)) * time.Millisecond
				if rnd.IntN(4) == 0 {
					takes += 2 * time.Second
				}
				for k := range 1 + rnd.IntN(2*perDomain) {
					e := newItem(fmt.Sprint("live", i, ".", k), fmt.Sprint("live", i))
					all = append(all, simulated{takes: takes, heard: true, live: true, item: e})
				}
			}
			for i := range dead {
				s := simulated{takes: 5 * time.Second, item: newItem(fmt.Sprint("dead", i), fmt.Sprint("dead", i))}
				at := rnd.IntN(len(all) + 1)
				all = append(all[:at], append([]simulated{s}, all[at:]...)...)
			}
			return all
		}
		dead := 10 + int(seed)*50
		alone, among := newQueue(concurrency), newQueue(concurrency)
		first, crowded := simulate(&alone, world(0)), simulate(&among, world(dead))
		turns := time.Duration((dead+concurrency-1)/concurrency+1) * slowAfter
		var last time.Duration
		for _, at := range first {
			last = max(last, at)
		}
		for name, at := range crowded {
			if at > last+turns {
				t.Errorf("seed %d: %s is done after %v among %d dead ones of which nothing was known; all are after %v without them", seed, name, at, dead, last)
			}
		}
		if len(crowded) != len(first) {
			t.Errorf("seed %d: %d of %d live ones were looked at", seed, len(crowded), len(first))
		}
		// From now on all is known.
		known := func(q *queue, all []simulated) map[string]time.Duration {
			for _, s := range all {
				q.memory.put(s.item.domain(), trackAfter(trackNew, s.takes, s.heard), time.Unix(1_000_000, 0))
			}
			return simulate(q, all)
		}
		first, crowded = known(&alone, world(0)), known(&among, world(dead))
		for name, at := range first {
			if crowded[name] != at {
				t.Errorf("seed %d: %s is done after %v, and after %v among %d dead ones", seed, name, at, crowded[name], dead)
			}
		}
	}
}
