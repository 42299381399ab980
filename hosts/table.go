package hosts

import (
	"hash/maphash"
	"iter"
	"math"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"unsafe"

	"github.com/apoxy-dev/caddy-apoxy/store"
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
	first   atomic.Int64 // WaitFirsts under way

	byName, byOwner order
	changed         changed

	progress store.Progress // the store's revision that the table has come to
	through  atomic.Pointer[func(hostname string) *Host]
}

type shard struct {
	mu sync.RWMutex
	// exact holds hosts by hostname, wild those of wildcards by what follows
	// their "*.", so that matching need not build a name.
	exact, wild index
	// below counts, for names that lie above hostnames, how many lie below. The names
	// are told apart by their hashes alone: of a million, one in 10^13 unknown names
	// would be taken for one of them, and answered as a name that exists.
	below map[uint64]int32
	// marks by their text.
	marks map[string]*marks
	// waiters by hostname.
	waiters map[string]*waiters
}

// New returns an empty table.
func New() *Table {
	t := &Table{seed: maphash.MakeSeed(), byOwner: order{byOwner: true}}
	t.changed.forget()
	return t
}

// shard returns the shard of a name and the name's hash within it.
func (t *Table) shard(name string) (*shard, uint32) {
	h := maphash.String(t.seed, name)
	return &t.shards[h%shardCount], uint32(h >> 32)
}

// above returns the shard of a name and what it is counted by in below.
func (t *Table) above(name string) (*shard, uint64) {
	h := maphash.String(t.seed, name)
	return &t.shards[h%shardCount], h
}

// borrow makes a string of bytes for a look-up, which neither keeps it nor
// outlasts the caller's hold on the bytes.
func borrow(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

func (s *shard) index(wildcard bool) *index {
	if wildcard {
		return &s.wild
	}
	return &s.exact
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
	if read := t.through.Load(); read != nil {
		h := readThrough(*read, key, wildcard)
		return h, h != nil
	}
	return t.held(key, wildcard)
}

// held is get by what the table holds.
func (t *Table) held(key string, wildcard bool) (*Host, bool) {
	s, hash := t.shard(key)
	s.mu.RLock()
	h := s.index(wildcard).get(key, hash)
	s.mu.RUnlock()
	return h, h != nil
}

// own is Get by what the table holds.
func (t *Table) own(hostname string) (*Host, bool) {
	key, wildcard := split(hostname)
	return t.held(key, wildcard)
}

// GetBytes is Get for a name that is borrowed for the call.
func (t *Table) GetBytes(hostname []byte) (*Host, bool) { return t.Get(borrow(hostname)) }

// Match returns the host that answers for hostname: its own, or else that of
// the wildcard one label above. While its own is not verified, a verified
// wildcard goes on answering: an unproven record changes nothing for a proven
// one. A wildcard never answers for the bare name nor for names more than one
// label below it. It does not allocate.
func (t *Table) Match(hostname string) (*Host, bool) {
	own, ok := t.get(hostname, false)
	if ok && own.Verified {
		return own, true
	}
	dot := strings.IndexByte(hostname, '.')
	if dot <= 0 {
		return own, ok
	}
	if wild, covered := t.get(hostname[dot+1:], true); covered && (!ok || wild.Verified) {
		return wild, true
	}
	return own, ok
}

// Candidates returns the hosts that Match chooses from: the one of exactly this
// hostname and that of the wildcard one label above, nil for none. It does not
// allocate.
func (t *Table) Candidates(hostname string) (own, wild *Host) {
	own, _ = t.Get(hostname)
	if dot := strings.IndexByte(hostname, '.'); dot > 0 && hostname[:dot] != "*" {
		wild, _ = t.get(hostname[dot+1:], true)
	}
	return own, wild
}

// HasBelow reports whether any hostname lies below name; a wildcard lies below
// what follows its "*.". It does not allocate.
func (t *Table) HasBelow(name []byte) bool {
	s, hash := t.above(borrow(name))
	s.mu.RLock()
	n := s.below[hash]
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
			hosts = slices.AppendSeq(hosts, s.exact.all())
			hosts = slices.AppendSeq(hosts, s.wild.all())
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
// wait for it. h belongs to this table from then on, and must not be modified.
func (t *Table) Set(h *Host) {
	if m := t.share(h.marks); m != h.marks {
		h.marks = m
	}
	key, wildcard := split(h.Hostname)
	s, hash := t.shard(key)
	s.mu.Lock()
	old := s.index(wildcard).put(key, hash, h)
	s.wake(h.Hostname)
	s.mu.Unlock()
	t.sort(old, h, h.Revision)
	if old == nil {
		t.length.Add(1)
		t.ascend(key, wildcard, 1)
	} else {
		t.unshare(old.marks)
	}
	t.counts.move(old, h)
}

// Delete removes the host of exactly this hostname and wakes those who wait
// for it. It returns what it removed, nil if there was nothing.
func (t *Table) Delete(hostname string) *Host { return t.deleteAt(hostname, math.MaxInt64) }

// deleteAt is Delete for what the store has deleted at a revision.
func (t *Table) deleteAt(hostname string, revision int64) *Host {
	key, wildcard := split(hostname)
	s, hash := t.shard(key)
	s.mu.Lock()
	old := s.index(wildcard).remove(key, hash)
	if old != nil {
		s.wake(hostname)
	}
	s.mu.Unlock()
	if old != nil {
		t.length.Add(-1)
		t.sort(old, nil, revision)
		t.ascend(key, wildcard, -1)
		t.unshare(old.marks)
		t.counts.move(old, nil)
	}
	return old
}

// sort puts now in the place of old in what lists read; nil: there is none.
func (t *Table) sort(old, now *Host, revision int64) {
	if now != nil {
		t.changed.note(now.Name(), revision)
	}
	if old != nil && (now == nil || old.Name() != now.Name()) {
		t.changed.note(old.Name(), revision)
	}
	t.byName.move(old, now)
	t.byOwner.move(old, now)
}

// ascend counts a hostname in or out at every name above it.
func (t *Table) ascend(key string, wildcard bool, by int32) {
	name := key
	if !wildcard {
		name = parent(key)
	}
	for ; name != ""; name = parent(name) {
		s, hash := t.above(name)
		s.mu.Lock()
		if s.below == nil {
			s.below = make(map[uint64]int32)
		}
		if n := s.below[hash] + by; n != 0 {
			s.below[hash] = n
		} else {
			delete(s.below, hash)
		}
		s.mu.Unlock()
	}
}

func parent(name string) string {
	_, up, _ := strings.Cut(name, ".")
	return up
}
