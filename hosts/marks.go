package hosts

import (
	"encoding/binary"
	"iter"
	"maps"
	"slices"
	"strings"
)

// marks are the labels and annotations of a record in one string. Records that have
// the same, as an owner's mostly have, share one in a table: a Go map for each takes
// several times as much memory as all the rest of a Host.
type marks struct {
	// text is the length of the labels, as unsigned varint, the labels and the
	// annotations. Each of them is the lengths and bytes of key and value; they
	// are in the order of their keys.
	text string
	uses int32 // by hosts in the table; its shard's lock guards it
}

// pair is a label or an annotation.
type pair struct{ key, value string }

// pairsOf returns the pairs of a map in order, in the memory of out.
func pairsOf(out []pair, m map[string]string) []pair {
	out = out[:0]
	for key, value := range m {
		out = append(out, pair{key, value})
	}
	slices.SortFunc(out, func(a, b pair) int { return strings.Compare(a.key, b.key) })
	return out
}

// appendMarks appends the text of labels and annotations, which are in order.
func appendMarks(out []byte, labels, annotations []pair) []byte {
	length := 0
	for _, p := range labels {
		length += varintLength(len(p.key)) + len(p.key) + varintLength(len(p.value)) + len(p.value)
	}
	out = binary.AppendUvarint(out, uint64(length))
	for _, list := range [...][]pair{labels, annotations} {
		for _, p := range list {
			out = append(binary.AppendUvarint(out, uint64(len(p.key))), p.key...)
			out = append(binary.AppendUvarint(out, uint64(len(p.value))), p.value...)
		}
	}
	return out
}

func varintLength(n int) int {
	length := 1
	for ; n >= 1<<7; n >>= 7 {
		length++
	}
	return length
}

// newMarks packs labels and annotations; nil: there are none.
func newMarks(labels, annotations map[string]string) *marks {
	if len(labels)+len(annotations) == 0 {
		return nil
	}
	return &marks{text: string(appendMarks(nil, pairsOf(nil, labels), pairsOf(nil, annotations)))}
}

func (m *marks) labels() string {
	if m == nil {
		return ""
	}
	length, rest := cut(m.text)
	return rest[:length]
}

func (m *marks) annotations() string {
	if m == nil {
		return ""
	}
	length, rest := cut(m.text)
	return rest[length:]
}

// cut returns the number that packed text begins with, and what follows it.
func cut(text string) (n int, rest string) {
	for shift := 0; ; shift += 7 {
		c := text[0]
		text = text[1:]
		n |= int(c&0x7f) << shift
		if c < 0x80 {
			return n, text
		}
	}
}

// packed yields the pairs of packed text.
func packed(text string) iter.Seq2[string, string] {
	return func(yield func(string, string) bool) {
		for text != "" {
			var n int
			n, text = cut(text)
			key := text[:n]
			n, text = cut(text[n:])
			value := text[:n]
			text = text[n:]
			if !yield(key, value) {
				return
			}
		}
	}
}

func find(text, key string) (string, bool) {
	for k, v := range packed(text) {
		if k == key {
			return v, true
		}
	}
	return "", false
}

func unpack(text string) map[string]string {
	if text == "" {
		return nil
	}
	return maps.Collect(packed(text))
}

// share returns the marks that the hosts of the table use in place of m, which are
// used once more from now on.
func (t *Table) share(m *marks) *marks {
	if m == nil {
		return nil
	}
	s, _ := t.shard(m.text)
	s.mu.Lock()
	defer s.mu.Unlock()
	shared := s.marks[m.text]
	if shared == nil {
		if s.marks == nil {
			s.marks = make(map[string]*marks)
		}
		shared = m
		s.marks[m.text] = shared
	}
	shared.uses++
	return shared
}

// unshare takes one use back.
func (t *Table) unshare(m *marks) {
	if m == nil {
		return
	}
	s, _ := t.shard(m.text)
	s.mu.Lock()
	if m.uses--; m.uses == 0 {
		delete(s.marks, m.text)
	}
	s.mu.Unlock()
}

// known returns marks of the table with this text; nil: it has none.
func (t *Table) known(text []byte) *marks {
	s, _ := t.shard(borrow(text))
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.marks[string(text)]
}
