package etcdstore

import (
	"context"
	"sort"
	"sync"

	clientv3 "go.etcd.io/etcd/client/v3"
)

const (
	// markEvery is how many keys lie between two marks of a guide.
	markEvery = 500
	// guideKeys is how many keys a guide is made of, in one question without values.
	guideKeys = 20000
	// guideFrom is how many keys must be left that a guide is worth its while.
	guideFrom = 10 * page
	// maxGuides bounds those that are kept.
	maxGuides = 256
)

// guide knows where the keys of a span lie at a revision. Etcd counts all keys from
// where it reads to the end that it is given, for every page anew, so that reading
// 200,000 keys cost it six times what it costs with ends that are near.
type guide struct {
	from  string
	marks []mark // in order; none: nothing is known yet
}

// mark is a key with how many keys there are from it on.
type mark struct {
	key  string
	rest int64
}

// near returns the first mark that is known to have n keys between start and itself, or
// the span's end. It reports whether there is one.
func (g guide) near(start string, n int) (mark, bool) {
	i := sort.Search(len(g.marks), func(i int) bool { return g.marks[i].key > start })
	i += (n + markEvery - 1) / markEvery
	if last := len(g.marks) - 1; i > last && last >= 0 && g.marks[last].rest == 0 {
		i = last
	}
	if start < g.from || i >= len(g.marks) {
		return mark{}, false
	}
	return g.marks[i], true
}

// newGuide makes a guide of keys, the first of count ones that a span has from its start
// on.
func newGuide(part span, keys []string, count int64) guide {
	g := guide{from: part.start}
	for i := 0; i < len(keys); i += markEvery {
		g.marks = append(g.marks, mark{keys[i], count - int64(i)})
	}
	if int64(len(keys)) == count {
		g.marks = append(g.marks, mark{part.end, 0})
	}
	return g
}

// guides are those of the lists that were read last.
type guides struct {
	mu sync.Mutex
	of map[guided][]guide
	n  int
}

// guided is what guides are for.
type guided struct {
	end      string // of the span
	revision int64
}

// near is near of one of the guides. large reports whether any is worth its while.
func (g *guides) near(of guided, start string, n int) (m mark, ok, large bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	known := g.of[of]
	for i := len(known) - 1; i >= 0 && !ok; i-- {
		m, ok = known[i].near(start, n)
	}
	return m, ok, len(known) > 0
}

func (g *guides) put(of guided, known guide) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.n >= maxGuides || g.of == nil {
		g.of, g.n = make(map[guided][]guide), 0
	}
	g.of[of] = append(g.of[of], known)
	g.n++
}

// forget forgets all: etcd has gone back, and what it has at a revision is not what it
// had.
func (g *guides) forget() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.of, g.n = nil, 0
}

// near returns where the next n keys of a span end, not much later, and how many there
// are from there on: the span's end and 0 where that is not known.
func (l *listing) near(ctx context.Context, part span, n int) (mark, error) {
	whole := mark{part.end, 0}
	of := guided{part.end, l.Revision}
	m, ok, large := l.engine.guides.near(of, part.start, n)
	switch {
	case ok:
		return m, nil
	case !large:
		return whole, nil
	}
	got, err := l.get(ctx, part, clientv3.WithKeysOnly(), clientv3.WithLimit(guideKeys))
	if err != nil {
		return whole, err
	}
	keys := make([]string, len(got.Kvs))
	for i, kv := range got.Kvs {
		keys[i] = string(kv.Key)
	}
	g := newGuide(part, keys, got.Count)
	l.engine.guides.put(of, g)
	if m, ok := g.near(part.start, n); ok {
		return m, nil
	}
	return whole, nil
}
