package hosts

// grams is which runs of three bytes stand in the names and the values of the labels of a
// leaf's hosts, so that a search for a text passes over leaves that cannot have it. Each run
// is a bit, which others may share, and what a host that is gone had may still be there: it
// says of what is not there that it may be, and never the other way. It takes 4 bytes a host.
type grams [32]uint64

// gram is the bit of three bytes, letters of ASCII in lower case.
func gram(a, b, c byte) uint16 {
	n := uint32(lower(a))<<16 | uint32(lower(b))<<8 | uint32(lower(c))
	return uint16(n * 2654435761 >> 21)
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}

// gramsOf are the bits of a text, each once or more.
func gramsOf(text string) (bits []uint16) {
	for i := 0; i+3 <= len(text); i++ {
		bits = append(bits, gram(text[i], text[i+1], text[i+2]))
	}
	return bits
}

func (g *grams) add(text string) {
	for i := 0; i+3 <= len(text); i++ {
		bit := gram(text[i], text[i+1], text[i+2])
		g[bit/64] |= 1 << (bit % 64)
	}
}

// note adds what a host has. Nothing is noted of nil.
func (g *grams) note(h *Host) {
	if g == nil {
		return
	}
	g.add(h.Hostname)
	if h.rare != nil {
		g.add(h.rare.name)
	}
	for _, value := range packed(h.marks.labels()) {
		g.add(value)
	}
}

// renew makes it what some hosts have.
func (g *grams) renew(hosts []*Host) {
	if g == nil {
		return
	}
	*g = grams{}
	for _, h := range hosts {
		g.note(h)
	}
}

// join adds what others have.
func (g *grams) join(others *grams) {
	if g == nil {
		return
	}
	for i := range g {
		g[i] |= others[i]
	}
}

// may reports whether a text of these bits may be there.
func (g *grams) may(bits []uint16) bool {
	if g == nil {
		return true
	}
	for _, bit := range bits {
		if g[bit/64]&(1<<(bit%64)) == 0 {
			return false
		}
	}
	return true
}
