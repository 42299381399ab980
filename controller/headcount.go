package controller

// Headcount counts records by their owners, and knows the most that one owner
// has. A record without an owner is an owner of its own. Each call costs the
// same however many there are.
type headcount struct {
	total     int
	ownerless int
	of        map[string]int // records by owner
	owners    map[int]int    // owners by how many records they have
	top       int            // the most that one owner with a name has
}

func (h *headcount) add(owner string) {
	h.total++
	if owner == "" {
		h.ownerless++
		return
	}
	if h.of == nil {
		h.of, h.owners = make(map[string]int), make(map[int]int)
	}
	n := h.of[owner]
	h.of[owner] = n + 1
	h.move(n, n+1)
	h.top = max(h.top, n+1)
}

func (h *headcount) remove(owner string) {
	h.total--
	if owner == "" {
		h.ownerless--
		return
	}
	n := h.of[owner]
	if n == 1 {
		delete(h.of, owner)
	} else {
		h.of[owner] = n - 1
	}
	h.move(n, n-1)
	if h.owners[h.top] == 0 {
		h.top-- // this owner has so many now
	}
}

// Move counts an owner with so many records as one with so many others.
func (h *headcount) move(from, to int) {
	if from > 0 {
		if h.owners[from]--; h.owners[from] == 0 {
			delete(h.owners, from)
		}
	}
	if to > 0 {
		h.owners[to]++
	}
}

// Most is how many records the owner has that has most.
func (h *headcount) most() int {
	if h.top == 0 && h.ownerless > 0 {
		return 1
	}
	return h.top
}
