package dnsprovider

// Sizes that RFC 1035 section 2.3.4 and the header's layout fix.
const (
	headerLen     = 12
	maxNameOctets = 255
	maxLabels     = 127
)

// lower maps an octet to its lower-case form, ASCII only (RFC 4343).
var lower = func() (t [256]byte) {
	for i := range t {
		t[i] = byte(i)
		if 'A' <= i && i <= 'Z' {
			t[i] = byte(i) + 'a' - 'A'
		}
	}
	return t
}()

// plain tells the octets that may stand in a label of a record's hostname or
// of a name that this package itself gives out.
var plain = func() (t [256]bool) {
	for i := range t {
		t[i] = 'a' <= i && i <= 'z' || '0' <= i && i <= '9' || i == '-' || i == '_'
	}
	return t
}()

// wireName is a domain name in wire form, uncompressed and lower case, with
// the offsets of its labels. It is reused from query to query.
type wireName struct {
	buf    [maxNameOctets]byte
	n      int
	starts [maxLabels]uint8
	labels int
}

// read takes the uncompressed name at msg[off:] and returns where it ends. A
// compression pointer is refused: in a question there is nothing that it could
// point to.
func (w *wireName) read(msg []byte, off int) (end int, ok bool) {
	w.n, w.labels = 0, 0
	for {
		if off >= len(msg) {
			return 0, false
		}
		l := int(msg[off])
		if l > 63 || l > 0 && w.n+l+2 > maxNameOctets || off+1+l > len(msg) {
			return 0, false
		}
		w.buf[w.n] = byte(l)
		if l == 0 {
			w.n++
			return off + 1, true
		}
		if w.labels == maxLabels {
			return 0, false
		}
		w.starts[w.labels] = uint8(w.n)
		w.labels++
		for i := 1; i <= l; i++ {
			w.buf[w.n+i] = lower[msg[off+i]]
		}
		w.n += 1 + l
		off += 1 + l
	}
}

// set takes a whole name in wire form. It reports false, and leaves the root
// name, if that is not one.
func (w *wireName) set(name []byte) bool {
	if end, ok := w.read(name, 0); ok && end == len(name) {
		return true
	}
	w.buf[0], w.n, w.labels = 0, 1, 0
	return false
}

// bytes is the whole name, borrowed until the next read or set.
func (w *wireName) bytes() []byte { return w.buf[:w.n] }

// suffix is the name of the last labels labels; 0: the root.
func (w *wireName) suffix(labels int) []byte {
	if labels == 0 {
		return w.buf[w.n-1 : w.n]
	}
	return w.buf[w.starts[w.labels-labels]:w.n]
}

// label is the i-th label from the left, without its length octet.
func (w *wireName) label(i int) []byte {
	s := int(w.starts[i])
	return w.buf[s+1 : s+1+int(w.buf[s])]
}

// relative writes the labels above the last below ones in presentation form
// into dst and returns them. It reports false if a label holds an octet that
// no name of ours does; what it then returns names nothing.
func (w *wireName) relative(dst []byte, below int) ([]byte, bool) {
	n := 0
	for i := 0; i < w.labels-below; i++ {
		if i > 0 {
			dst[n] = '.'
			n++
		}
		for _, c := range w.label(i) {
			if !plain[c] {
				return nil, false
			}
			dst[n] = c
			n++
		}
	}
	return dst[:n], true
}

// skipName returns where the possibly compressed name at msg[off:] ends.
func skipName(msg []byte, off int) (end int, ok bool) {
	for n := 0; n <= maxNameOctets; {
		if off >= len(msg) {
			return 0, false
		}
		l := int(msg[off])
		switch {
		case l == 0:
			return off + 1, true
		case l&0xc0 == 0xc0:
			return off + 2, off+2 <= len(msg)
		case l > 63:
			return 0, false
		}
		off += 1 + l
		n += 1 + l
	}
	return 0, false
}
