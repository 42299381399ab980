package issuance

import "hash/maphash"

// nameIndex finds entries by hostname, by open addressing with linear probing. It leaves
// the hostnames in their entries, where a Go map has them once more and room for half as
// many again. It is spread over shards, so that no growing takes long. Its owner locks.
type nameIndex struct {
	seed   maphash.Seed
	shards [nameShards]nameShard
}

// nameShards is how many shards there are: at a million entries each has four thousand.
const nameShards = 256

// nameShard is a table of its own. slots and hashes have the same length.
type nameShard struct {
	slots  []*entry // nil: free
	hashes []uint32
	used   int
}

func newNameIndex() *nameIndex { return &nameIndex{seed: maphash.MakeSeed()} }

// shard returns the shard of a hostname, and its hash within it.
func (x *nameIndex) shard(hostname string) (*nameShard, uint32) {
	h := maphash.String(x.seed, hostname)
	return &x.shards[h%nameShards], uint32(h >> 32)
}

// get returns the entry of a hostname, nil if there is none.
func (x *nameIndex) get(hostname string) *entry {
	s, hash := x.shard(hostname)
	if i := s.find(hostname, hash); i >= 0 {
		return s.slots[i]
	}
	return nil
}

// add takes an entry in, whose hostname has none.
func (x *nameIndex) add(e *entry) {
	s, hash := x.shard(e.hostname)
	if 5*(s.used+1) > 4*len(s.slots) {
		s.grow()
	}
	s.insert(e, hash)
	s.used++
}

// remove takes the entry of a hostname out, if there is one.
func (x *nameIndex) remove(hostname string) {
	s, hash := x.shard(hostname)
	if i := s.find(hostname, hash); i >= 0 {
		s.free(i)
	}
}

// home is the first place to look for a hash.
func (s *nameShard) home(hash uint32) int { return int(uint64(hash) * uint64(len(s.slots)) >> 32) }

func (s *nameShard) after(i int) int {
	if i++; i == len(s.slots) {
		return 0
	}
	return i
}

// find returns the place of a hostname; -1: it is not there.
func (s *nameShard) find(hostname string, hash uint32) int {
	if s.used == 0 {
		return -1
	}
	for i := s.home(hash); s.slots[i] != nil; i = s.after(i) {
		if s.hashes[i] == hash && s.slots[i].hostname == hostname {
			return i
		}
	}
	return -1
}

func (s *nameShard) insert(e *entry, hash uint32) {
	i := s.home(hash)
	for s.slots[i] != nil {
		i = s.after(i)
	}
	s.slots[i], s.hashes[i] = e, hash
}

// grow makes room, a quarter more: little of it stands empty.
func (s *nameShard) grow() {
	slots, hashes := s.slots, s.hashes
	n := max(8, len(slots)+len(slots)/4)
	s.slots, s.hashes = make([]*entry, n), make([]uint32, n)
	for i, e := range slots {
		if e != nil {
			s.insert(e, hashes[i])
		}
	}
}

// free frees a place. What probing had pushed beyond it moves up, so that nothing is left
// that probing must pass.
func (s *nameShard) free(hole int) {
	n := len(s.slots)
	for i := s.after(hole); s.slots[i] != nil; i = s.after(i) {
		// It may fill the hole unless its first place lies after the hole.
		if (i-s.home(s.hashes[i])+n)%n >= (i-hole+n)%n {
			s.slots[hole], s.hashes[hole] = s.slots[i], s.hashes[i]
			hole = i
		}
	}
	s.slots[hole], s.hashes[hole] = nil, 0
	s.used--
}
