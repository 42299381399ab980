package controller

import (
	"fmt"
	"slices"
	"testing"
	"time"
	"unsafe"
)

func newItem(name, domain string) *item {
	return &item{name: name, hostname: name + "." + domain, domainAt: uint8(len(name) + 1), place: -1}
}

// take pops until nothing more may run, and returns the names.
func take(q *queue, now time.Time) (names []string, items []*item) {
	for e := q.next(now); e != nil; e = q.next(now) {
		e.begin()
		names = append(names, e.name)
		items = append(items, e)
	}
	return names, items
}

// What waits is counted while it comes and goes: through a domain's places, too.
func TestWaitingCountsWhatIsParked(t *testing.T) {
	now := time.Unix(1_000_000, 0)
	q := newQueue(64)
	counted := func() int {
		n := 0
		for _, d := range q.domains {
			n += len(d.parked)
		}
		for i := range q.tracks {
			l := &q.tracks[i]
			n += len(l.urgent) + len(l.unparked) + len(l.demanded) + len(l.timed)
		}
		return n
	}
	for i := range 9 {
		q.demand(newItem(fmt.Sprint("n", i), "one.example"), workLook)
	}
	for left := 9; left > 0; left-- {
		_, running := take(&q, now)
		if len(running) != 1 || q.waiting() != left-1 || counted() != left-1 {
			t.Fatalf("%d left: %d run, %d are said to wait and %d do, want 1 and %d", left, len(running), q.waiting(), counted(), left-1)
		}
		q.done(running[0])
	}
}

func TestQueue(t *testing.T) {
	now := time.Unix(1_000_000, 0)
	for _, c := range []struct {
		what string
		do   func(q *queue) []string
		want []string
	}{
		{
			what: "the timer's earliest comes first, and nothing before it is due",
			do: func(q *queue) []string {
				q.schedule(newItem("later", "l"), now.Add(time.Second))
				q.schedule(newItem("second", "s"), now.Add(-time.Second))
				q.schedule(newItem("first", "f"), now.Add(-2*time.Second))
				names, _ := take(q, now)
				return names
			},
			want: []string{"first", "second"},
		},
		{
			what: "an item that was scheduled anew comes at its new time",
			do: func(q *queue) []string {
				e := newItem("moved", "m")
				q.schedule(e, now)
				q.schedule(e, now.Add(time.Hour))
				names, _ := take(q, now)
				return names
			},
		},
		{
			what: "what somebody waits for overtakes",
			do: func(q *queue) []string {
				for i := range 4 {
					q.demand(newItem(fmt.Sprint("demanded", i), fmt.Sprint(i)), workLook)
				}
				q.demand(newItem("checked", "c"), workLook|workUrgent)
				names, _ := take(q, now)
				return names[:1]
			},
			want: []string{"checked"},
		},
		{
			what: "a queued item that somebody comes to wait for overtakes, once",
			do: func(q *queue) []string {
				e := newItem("e", "e")
				q.demand(newItem("other", "o"), workLook)
				q.demand(e, workLook)
				q.demand(e, workLook|workUrgent)
				names, _ := take(q, now)
				return names
			},
			want: []string{"e", "other"},
		},
		{
			what: "a registered domain has its fill, and others pass it",
			do: func(q *queue) []string {
				q.memory.put("big", trackFast, now)
				for i := range perDomain + 2 {
					q.demand(newItem(fmt.Sprint("big", i), "big"), workLook)
				}
				q.demand(newItem("small", "small"), workLook)
				names, items := take(q, now)
				if slices.Contains(names, "big4") || !slices.Contains(names, "small") {
					return names
				}
				q.done(items[0])
				more, _ := take(q, now)
				return more
			},
			want: []string{"big4"},
		},
		{
			what: "a domain of which nothing is known yet tries one name first",
			do: func(q *queue) []string {
				for i := range 3 {
					q.demand(newItem(fmt.Sprint("new", i), "new"), workLook)
				}
				names, _ := take(q, now)
				return names
			},
			want: []string{"new0"},
		},
		{
			what: "names that wait leave the fast track when their domain turns out slow",
			do: func(q *queue) []string {
				q.tracks[trackNew].limit = 0
				q.demand(newItem("e", "d"), workLook)
				take(q, now)
				q.memory.put("d", trackSlow, now)
				q.tracks[trackNew].limit = 1
				names, items := take(q, now)
				if q.tracks[trackNew].running != 0 || items[0].track != trackSlow {
					return nil
				}
				return names
			},
			want: []string{"e"},
		},
		{
			what: "a domain whose waiting records were deleted is not stuck",
			do: func(q *queue) []string {
				q.memory.put("d", trackFast, now)
				var all []*item
				for i := range 3 * perDomain {
					e := newItem(fmt.Sprint("r", i), "d")
					all = append(all, e)
					q.demand(e, workLook)
				}
				_, running := take(q, now)
				for _, e := range running {
					q.done(e) // unparks as many
				}
				for _, e := range all[perDomain : 2*perDomain] {
					q.remove(e)
				}
				names, _ := take(q, now)
				return names
			},
			want: []string{"r8", "r9", "r10", "r11"},
		},
		{
			what: "slow ones never take the others' places",
			do: func(q *queue) []string {
				for i := range 20 {
					e := newItem(fmt.Sprint("dead", i), fmt.Sprint("dead", i))
					q.memory.put(e.domain(), trackSlow, now)
					q.demand(e, workLook)
				}
				q.demand(newItem("healthy", "healthy"), workLook)
				names, _ := take(q, now)
				return []string{fmt.Sprint(len(names)), fmt.Sprint(slices.Contains(names, "healthy"))}
			},
			want: []string{"3", "true"}, // two slow places, and the healthy one
		},
		{
			what: "a look that outlasts its place frees it, while there are slow places",
			do: func(q *queue) []string {
				var out []string
				for i := range 8 {
					q.demand(newItem(fmt.Sprint(i), fmt.Sprint(i)), workLook)
				}
				_, items := take(q, now)
				for _, e := range items {
					out = append(out, fmt.Sprint(q.outlasts(e, true, now)))
				}
				return out
			},
			want: []string{"true", "true", "false", "false", "false", "false", "false", "false"},
		},
		{
			what: "what is demanded while it runs is done after",
			do: func(q *queue) []string {
				e := newItem("e", "e")
				q.demand(e, workJudge)
				take(q, now)
				q.demand(e, workLook)
				again, _ := take(q, now)
				q.done(e)
				after, _ := take(q, now)
				return append(again, after...)
			},
			want: []string{"e"},
		},
		{
			what: "a removed item is never worked on",
			do: func(q *queue) []string {
				a, b := newItem("a", "a"), newItem("b", "b")
				q.schedule(a, now)
				q.demand(b, workLook)
				q.remove(a)
				q.remove(b)
				q.demand(b, workLook)
				names, _ := take(q, now)
				return names
			},
		},
	} {
		t.Run(c.what, func(t *testing.T) {
			q := newQueue(8)
			if got := c.do(&q); !slices.Equal(got, c.want) {
				t.Errorf("got %v, want %v", got, c.want)
			}
		})
	}
}

func TestQueueServesTimedAndDemandedAlike(t *testing.T) {
	now := time.Unix(1_000_000, 0)
	q := newQueue(1)
	for i := range 12 {
		q.demand(newItem(fmt.Sprint("demanded", i), fmt.Sprint("d", i)), workLook)
		q.schedule(newItem(fmt.Sprint("timed", i), fmt.Sprint("t", i)), now)
	}
	timed := 0
	for range 12 {
		e := q.next(now)
		e.begin()
		if e.name[0] == 't' {
			timed++
		}
		q.done(e)
	}
	if timed < 2 || timed > 6 {
		t.Errorf("%d of 12 were the timer's", timed)
	}
}

func TestQueueForgetsADomainWhoseEntriesAreGone(t *testing.T) {
	now := time.Unix(1_000_000, 0)
	q := newQueue(8)
	items := make([]*item, 4)
	for i := range items {
		items[i] = newItem(fmt.Sprint(i), "example.com")
		q.demand(items[i], workLook)
	}
	take(&q, now)
	q.done(items[0]) // the next one's turn
	for _, e := range items[1:] {
		q.remove(e)
	}
	if names, _ := take(&q, now); len(names) != 0 {
		t.Errorf("what is gone was taken up: %v", names)
	}
	if n := len(q.domains); n != 0 {
		t.Errorf("%d domains are still remembered", n)
	}
}

// A million of them are kept.
func TestAnItemIsSmall(t *testing.T) {
	if size := unsafe.Sizeof(item{}); size > 64 {
		t.Errorf("an item has %d bytes", size)
	}
}
