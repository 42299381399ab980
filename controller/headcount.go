package controller

// headcount counts records and their owners. A record without an owner is an
// owner of its own.
type headcount struct {
	records   int
	ownerless int
	of        map[string]int // records by owner
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
