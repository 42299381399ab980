package dnsprovider

import (
	"hash/maphash"
	"strings"
	"sync"
	"sync/atomic"
)

const indexShards = 64

// rrIndex holds nodes by owner name in presentation form for queries to read:
// a look-up locks one shard, for the map access alone.
type rrIndex struct {
	seed   maphash.Seed
	count  atomic.Int64
	shards [indexShards]indexShard
}

type indexShard struct {
	sync.RWMutex
	nodes map[string]*node
	// below counts the nodes under a name.
	below map[string]int
	_     [16]byte
}

func newIndex() *rrIndex {
	x := &rrIndex{seed: maphash.MakeSeed()}
	for i := range x.shards {
		x.shards[i].nodes, x.shards[i].below = map[string]*node{}, map[string]int{}
	}
	return x
}

func (x *rrIndex) shard(name []byte) *indexShard {
	return &x.shards[maphash.Bytes(x.seed, name)%indexShards]
}

func (x *rrIndex) empty() bool { return x.count.Load() == 0 }

func (x *rrIndex) lookup(name []byte) *node {
	if x.empty() {
		return nil
	}
	s := x.shard(name)
	s.RLock()
	n := s.nodes[string(name)]
	s.RUnlock()
	return n
}

func (x *rrIndex) hasBelow(name []byte) bool {
	s := x.shard(name)
	s.RLock()
	n := s.below[string(name)]
	s.RUnlock()
	return n > 0
}

// put sets, or with a nil set removes, the RRset of one owner and type. Only
// one goroutine may put.
func (x *rrIndex) put(owner string, typ uint16, set *rrset) {
	s := x.shard([]byte(owner))
	s.RLock()
	old := s.nodes[owner]
	s.RUnlock()
	var next *node
	if old != nil || set != nil {
		next = &node{}
	}
	if old != nil {
		for _, have := range old.sets {
			if have.typ != typ {
				next.sets = append(next.sets, have)
			}
		}
	}
	if set != nil {
		next.sets = append(next.sets, set)
	}
	if next != nil && len(next.sets) == 0 {
		next = nil
	}
	s.Lock()
	if next == nil {
		delete(s.nodes, owner)
	} else {
		s.nodes[owner] = next
	}
	s.Unlock()
	switch {
	case old == nil && next != nil:
		x.ancestors(owner, 1)
		x.count.Add(1)
	case old != nil && next == nil:
		x.count.Add(-1)
		x.ancestors(owner, -1)
	}
}

func (x *rrIndex) ancestors(owner string, by int) {
	for {
		_, up, ok := strings.Cut(owner, ".")
		if !ok {
			return
		}
		s := x.shard([]byte(up))
		s.Lock()
		if s.below[up] += by; s.below[up] == 0 {
			delete(s.below, up)
		}
		s.Unlock()
		owner = up
	}
}

// each calls f for every node.
func (x *rrIndex) each(f func(owner string, n *node)) {
	for i := range x.shards {
		s := &x.shards[i]
		s.RLock()
		for owner, n := range s.nodes {
			f(owner, n)
		}
		s.RUnlock()
	}
}
