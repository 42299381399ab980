package hosts

import (
	"hash/maphash"
	"iter"
	"strings"
	"sync"
	"sync/atomic"
)

// shardCount spreads the table over locks that are each held for one map
// operation only. A power of two.
const shardCount = 256

// Table holds a Host per hostname. All methods are safe for concurrent use.
// Hostnames are given as Host.Hostname has them: A-labels, lower case, no final
// dot.
type Table struct {
	seed   maphash.Seed
	shards [shardCount]shard
	length atomic.Int64
	counts counts

	waiting atomic.Int64 // Waits under way
}

type shard struct {
	mu sync.RWMutex
	// exact holds hosts by hostname, wild those of wildcards by what follows
	// their "*.", so that matching need not build a name.
	exact, wild map[string]*Host
	// below counts, for names that lie above hostnames, how many lie below.
	below map[string]int32
	// waiters by hostname.
	waiters map[string][]chan struct{}
}

// New returns an empty table.
func New() *Table {
	return &Table{seed: maphash.MakeSeed()}
}

func (t *Table) shard(name string) *shard {
	return &t.shards[maphash.String(t.seed, name)%shardCount]
}

func (t *Table) shardBytes(name []byte) *shard {
	return &t.shards[maphash.Bytes(t.seed, name)%shardCount]
}

// split returns the key of a hostname, and whether it is that of a wildcard.
func split(hostname string) (key string, wildcard bool) {
	return strings.CutPrefix(hostname, "*.")
}

// Get returns the host of exactly this hostname; "*.example.com" is that of
// the wildcard. It does not allocate.
func (t *Table) Get(hostname string) (*Host, bool) {
	key, wildcard := split(hostname)
	return t.get(key, wildcard)
}

func (t *Table) get(key string, wildcard bool) (*Host, bool) {
	s := t.shard(key)
	s.mu.RLock()
	m := s.exact
	if wildcard {
		m = s.wild
	}
	h, ok := m[key]
	s.mu.RUnlock()
	return h, ok
}

// GetBytes is Get for a name that is borrowed for the call.
func (t *Table) GetBytes(hostname []byte) (*Host, bool) {
	if len(hostname) > 2 && hostname[0] == '*' && hostname[1] == '.' {
		return t.getBytes(hostname[2:], true)
	}
	return t.getBytes(hostname, false)
}

func (t *Table) getBytes(key []byte, wildcard bool) (*Host, bool) {
	s := t.shardBytes(key)
	s.mu.RLock()
	m := s.exact
	if wildcard {
		m = s.wild
	}
	h, ok := m[string(key)]
	s.mu.RUnlock()
	return h, ok
}

// Match returns the host that answers for hostname: its own, or else that of
// the wildcard one label above. A wildcard never answers for the bare name nor
// for names more than one label below it. It does not allocate.
func (t *Table) Match(hostname string) (*Host, bool) {
	if h, ok := t.get(hostname, false); ok {
		return h, true
	}
	dot := strings.IndexByte(hostname, '.')
	if dot <= 0 {
		return nil, false
	}
	return t.get(hostname[dot+1:], true)
}

// MatchBytes is Match for a name that is borrowed for the call.
func (t *Table) MatchBytes(hostname []byte) (*Host, bool) {
	if h, ok := t.getBytes(hostname, false); ok {
		return h, true
	}
	for i, c := range hostname {
		if c == '.' {
			if i == 0 {
				return nil, false
			}
			return t.getBytes(hostname[i+1:], true)
		}
	}
	return nil, false
}

// HasBelow reports whether any hostname lies below name; a wildcard lies below
// what follows its "*.". It does not allocate.
func (t *Table) HasBelow(name []byte) bool {
	s := t.shardBytes(name)
	s.mu.RLock()
	n := s.below[string(name)]
	s.mu.RUnlock()
	return n > 0
}

// Len returns the number of hosts.
func (t *Table) Len() int { return int(t.length.Load()) }

// All yields every host, in no order. Hosts that come or go meanwhile may or
// may not be among them; none is yielded twice. The loop may change the table.
func (t *Table) All() iter.Seq[*Host] {
	return func(yield func(*Host) bool) {
		var hosts []*Host
		for i := range t.shards {
			s := &t.shards[i]
			hosts = hosts[:0]
			s.mu.RLock()
			for _, h := range s.exact {
				hosts = append(hosts, h)
			}
			for _, h := range s.wild {
				hosts = append(hosts, h)
			}
			s.mu.RUnlock()
			for _, h := range hosts {
				if !yield(h) {
					return
				}
			}
		}
	}
}

// Set puts h in the place of whatever its hostname had, and wakes those who
// wait for it. h must not be modified afterwards.
func (t *Table) Set(h *Host) {
	key, wildcard := split(h.Hostname)
	s := t.shard(key)
	s.mu.Lock()
	m := &s.exact
	if wildcard {
		m = &s.wild
	}
	if *m == nil {
		*m = make(map[string]*Host)
	}
	old := (*m)[key]
	if old != nil {
		delete(*m, key) // so that the map holds h's own string, not the old host's
	}
	(*m)[key] = h
	s.wake(h.Hostname)
	s.mu.Unlock()
	if old == nil {
		t.length.Add(1)
		t.ascend(key, wildcard, 1)
	}
	t.counts.move(old, h)
}

// Delete removes the host of exactly this hostname and wakes those who wait
// for it. It returns what it removed, nil if there was nothing.
func (t *Table) Delete(hostname string) *Host {
	key, wildcard := split(hostname)
	s := t.shard(key)
	s.mu.Lock()
	m := s.exact
	if wildcard {
		m = s.wild
	}
	old := m[key]
	if old != nil {
		delete(m, key)
		s.wake(hostname)
	}
	s.mu.Unlock()
	if old != nil {
		t.length.Add(-1)
		t.ascend(key, wildcard, -1)
		t.counts.move(old, nil)
	}
	return old
}

// ascend counts a hostname in or out at every name above it.
func (t *Table) ascend(key string, wildcard bool, by int32) {
	name := key
	if !wildcard {
		name = parent(key)
	}
	for ; name != ""; name = parent(name) {
		s := t.shard(name)
		s.mu.Lock()
		switch n, known := s.below[name]; {
		case n+by == 0:
			delete(s.below, name)
		case known:
			s.below[name] = n + by
		default:
			if s.below == nil {
				s.below = make(map[string]int32)
			}
			// A copy, or the count would keep a deleted host's name alive.
			s.below[strings.Clone(name)] = by
		}
		s.mu.Unlock()
	}
}

func parent(name string) string {
	_, up, _ := strings.Cut(name, ".")
	return up
}
