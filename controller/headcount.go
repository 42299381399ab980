package controller

import (
	"hash/fnv"
	"math/rand/v2"
	"slices"
)

// headcount counts records and their owners. A record without an owner is an
// owner of its own.
type headcount struct {
	records   int
	ownerless int
	of        map[string]int // records by owner
	sampled   []string       // owners that sample named
}

func (h *headcount) add(owner string) {
	h.records++
	if owner == "" {
		h.ownerless++
		return
	}
	if h.of == nil {
		h.of = make(map[string]int)
	}
	h.of[owner]++
}

func (h *headcount) remove(owner string) {
	h.records--
	if owner == "" {
		h.ownerless--
		return
	}
	if h.of[owner]--; h.of[owner] == 0 {
		delete(h.of, owner)
	}
}

func (h *headcount) owners() int { return h.ownerless + len(h.of) }

// nobody sets this process's records without an owner apart from those of others.
var nobody = rand.Uint64()

// sample returns two of the owners as hashes, or all if there are fewer: enough to tell
// whether several nodes' records have more than one owner together. It names the same as
// before as long as it can.
func (h *headcount) sample() (owners []uint64) {
	for i := range min(h.ownerless, 2) {
		owners = append(owners, nobody+uint64(i))
	}
	h.sampled = slices.DeleteFunc(h.sampled, func(owner string) bool { return h.of[owner] == 0 })
	for owner := range h.of {
		if len(h.sampled) >= 2 {
			break
		}
		if !slices.Contains(h.sampled, owner) {
			h.sampled = append(h.sampled, owner)
		}
	}
	for _, owner := range h.sampled {
		owners = append(owners, hashOwner(owner))
	}
	return owners[:min(len(owners), 2)]
}

// ownersWith is owners with those that other nodes named, two each at most.
func (h *headcount) ownersWith(others []uint64) int {
	n := h.owners()
	if len(others) == 0 {
		return n
	}
	known := map[uint64]bool{}
	for owner := range h.of {
		known[hashOwner(owner)] = true
	}
	for _, o := range others {
		if !known[o] {
			known[o] = true
			n++
		}
	}
	return n
}

func hashOwner(owner string) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(owner))
	return h.Sum64()
}
