package hosts

import "iter"

// slot is one place of an index.
type slot struct {
	host *Host // nil: free
	hash uint32
}

// index maps names to hosts by open addressing with linear probing. It leaves
// the names in their hosts: at many records a look-up costs what it misses of
// the processor's caches, and so it misses its slot and the host, where a Go map
// also misses the name and its own directory. It grows by doubling; a Table has
// one for each of its shards, so that no growing takes long. The zero value is
// empty and ready for use.
type index struct {
	slots []slot // a power of two of them, or none
	used  int
}

// find returns the place of key; -1: it is not there.
func (x *index) find(key string, hash uint32) int {
	if x.used == 0 {
		return -1
	}
	mask := uint32(len(x.slots) - 1)
	for i := hash & mask; ; i = (i + 1) & mask {
		s := &x.slots[i]
		if s.host == nil {
			return -1
		}
		if s.hash == hash && indexKey(s.host) == key {
			return int(i)
		}
	}
}

// indexKey is what a host is indexed by.
func indexKey(h *Host) string {
	key, _ := split(h.Hostname)
	return key
}

// get returns the host at key, nil if there is none.
func (x *index) get(key string, hash uint32) *Host {
	if i := x.find(key, hash); i >= 0 {
		return x.slots[i].host
	}
	return nil
}

// put sets the host at key and returns what was there before.
func (x *index) put(key string, hash uint32, h *Host) (old *Host) {
	if i := x.find(key, hash); i >= 0 {
		old, x.slots[i].host = x.slots[i].host, h
		return old
	}
	if 4*(x.used+1) > 3*len(x.slots) {
		x.grow()
	}
	x.insert(slot{host: h, hash: hash})
	x.used++
	return nil
}

func (x *index) insert(s slot) {
	mask := uint32(len(x.slots) - 1)
	i := s.hash & mask
	for x.slots[i].host != nil {
		i = (i + 1) & mask
	}
	x.slots[i] = s
}

func (x *index) grow() {
	old := x.slots
	x.slots = make([]slot, max(8, 2*len(old)))
	for i := range old {
		if old[i].host != nil {
			x.insert(old[i])
		}
	}
}

// remove takes key out and returns what was there. What probing had pushed
// beyond the place moves up, so that nothing is left that probing must pass.
func (x *index) remove(key string, hash uint32) *Host {
	at := x.find(key, hash)
	if at < 0 {
		return nil
	}
	gone := x.slots[at].host
	mask := uint32(len(x.slots) - 1)
	hole := uint32(at)
	for i := (hole + 1) & mask; x.slots[i].host != nil; i = (i + 1) & mask {
		// It may fill the hole unless its own first place lies after the hole.
		if home := x.slots[i].hash & mask; (i-home)&mask >= (i-hole)&mask {
			x.slots[hole] = x.slots[i]
			hole = i
		}
	}
	x.slots[hole] = slot{}
	x.used--
	return gone
}

// all yields every host.
func (x *index) all() iter.Seq[*Host] {
	return func(yield func(*Host) bool) {
		for i := range x.slots {
			if h := x.slots[i].host; h != nil && !yield(h) {
				return
			}
		}
	}
}
