// Package jsonscan walks JSON (RFC 8259) by hand where encoding/json is too slow:
// Decoder reads records that we wrote ourselves several times as fast, Skimmer reads
// of them what one of many needs, and Find finds one member without reading the others.
// It knows no record and no room.
package jsonscan

import (
	"bytes"
	"encoding/binary"
	"math/bits"
	"unicode/utf8"
)

// maxDepth is how many objects and arrays may stand inside one another, as in
// encoding/json. What clients send is bounded before; what was stored earlier is not.
const maxDepth = 10_000

// scanner reads one JSON text from its beginning to its end. It is strict, and
// after the first thing that it does not take, it finds nothing any more.
type scanner struct {
	data   []byte
	at     int // the offset of what comes next
	depth  int // the objects and arrays around it
	failed bool
	wrong  int // where it failed
}

func (s *scanner) fail() {
	if !s.failed {
		s.failed, s.wrong = true, s.at
	}
	s.at = len(s.data)
}

// peek passes white space and returns the byte after it, 0 at the end.
func (s *scanner) peek() byte {
	for ; s.at < len(s.data); s.at++ {
		if c := s.data[s.at]; c > ' ' || !isSpace(c) {
			return c
		}
	}
	return 0
}

func isSpace(c byte) bool { return c == ' ' || c == '\n' || c == '\t' || c == '\r' }

// expect passes the byte c.
func (s *scanner) expect(c byte) {
	if s.peek() != c {
		s.fail()
		return
	}
	s.at++
}

// word passes w if it comes next and reports whether it did.
func (s *scanner) word(w string) bool {
	if s.peek() != w[0] || !bytes.HasPrefix(s.data[s.at:], []byte(w)) {
		return false
	}
	s.at += len(w)
	return true
}

func (s *scanner) null() bool { return s.word("null") }

// open passes the bracket that an object or array begins with.
func (s *scanner) open(bracket byte) {
	if s.depth++; s.depth > maxDepth {
		s.fail()
		return
	}
	s.expect(bracket)
}

// more passes the comma before the n-th element (from 0) of an object or array
// and reports true, or passes the closing bracket and reports false.
func (s *scanner) more(n int, bracket byte) bool {
	c := s.peek()
	switch {
	case c == bracket:
		s.at++
		s.depth--
		return false
	case n == 0 && c != 0:
		return true
	case n > 0 && c == ',':
		s.at++
		return true
	}
	s.fail()
	return false
}

// key passes an object's key and the colon after it. It returns the bytes between
// the key's quotes; a key with escapes is not one that anybody looks for.
func (s *scanner) key() []byte {
	key, _ := s.text()
	s.expect(':')
	return key
}

// Classes of the bytes inside a string; 0 stands for itself.
const (
	classEnd     = 1 + iota // the closing quote
	classEscape             // a backslash
	classControl            // must be escaped (RFC 8259 section 7)
	classUTF8               // part of a longer character
)

var classes = func() (of [256]byte) {
	for c := range of {
		switch {
		case c < ' ':
			of[c] = classControl
		case c >= utf8.RuneSelf:
			of[c] = classUTF8
		}
	}
	of['"'], of['\\'] = classEnd, classEscape
	return of
}()

// text passes a string. It returns the bytes between its quotes, and whether they
// are the text as it is: without escapes and in valid UTF-8.
func (s *scanner) text() (inner []byte, plain bool) {
	if s.peek() != '"' {
		s.fail()
		return nil, false
	}
	begin, ascii, escaped := s.at+1, true, false
	rest := s.data[begin:]
	for i := 0; i < len(rest); i++ {
		if len(rest)-i >= 8 {
			if i += plainBytes(binary.LittleEndian.Uint64(rest[i:])); i == len(rest) {
				break
			}
		}
		c := classes[rest[i]]
		if c == 0 {
			continue
		}
		switch c {
		case classEnd:
			s.at = begin + i + 1
			inner = rest[:i]
			return inner, !escaped && (ascii || utf8.Valid(inner))
		case classEscape:
			escaped = true
			n := escapeLength(rest[i:])
			if n == 0 {
				s.fail()
				return nil, false
			}
			i += n - 1
		case classControl:
			s.fail()
			return nil, false
		case classUTF8:
			ascii = false
		}
	}
	s.fail()
	return nil, false
}

// plainBytes is how many of eight bytes, the lowest first, stand for themselves before
// the first that does not. A byte that is borrowed from below shows as one, so that only
// the first is certain.
func plainBytes(x uint64) int {
	const ones, tops = 0x0101010101010101, 0x8080808080808080
	quote, escape := x^'"'*ones, x^'\\'*ones
	special := (x-' '*ones)&^x | (quote-ones)&^quote | (escape-ones)&^escape | x
	return bits.TrailingZeros64(special&tops) / 8
}

// escapeLength is the length of the escape that data begins with, 0 for a wrong one.
func escapeLength(data []byte) int {
	if len(data) < 2 {
		return 0
	}
	if data[1] != 'u' {
		if bytes.IndexByte([]byte(`"\/bfnrt`), data[1]) < 0 {
			return 0
		}
		return 2
	}
	if len(data) < 6 {
		return 0
	}
	for _, c := range data[2:6] {
		if !('0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F') {
			return 0
		}
	}
	return 6
}

// number passes a number and returns it as it is written.
func (s *scanner) number() []byte {
	s.peek()
	begin := s.at
	s.byteOf('-')
	if !s.byteOf('0') && s.digits() == 0 {
		s.fail()
	}
	if s.byteOf('.') && s.digits() == 0 {
		s.fail()
	}
	if s.byteOf('e') || s.byteOf('E') {
		if !s.byteOf('-') {
			s.byteOf('+')
		}
		if s.digits() == 0 {
			s.fail()
		}
	}
	if s.failed {
		return nil
	}
	return s.data[begin:s.at]
}

// byteOf passes c if it is the very next byte.
func (s *scanner) byteOf(c byte) bool {
	if s.at == len(s.data) || s.data[s.at] != c {
		return false
	}
	s.at++
	return true
}

func (s *scanner) digits() (n int) {
	for ; s.at < len(s.data) && '0' <= s.data[s.at] && s.data[s.at] <= '9'; s.at++ {
		n++
	}
	return n
}

// skip passes one value of any type and returns its bytes.
func (s *scanner) skip() []byte {
	c := s.peek()
	begin := s.at
	switch c {
	case '{':
		s.open('{')
		for n := 0; s.more(n, '}'); n++ {
			s.key()
			s.skip()
		}
	case '[':
		s.open('[')
		for n := 0; s.more(n, ']'); n++ {
			s.skip()
		}
	case '"':
		s.text()
	case 't', 'f', 'n':
		if !s.word("true") && !s.word("false") && !s.null() {
			s.fail()
		}
	default:
		s.number()
	}
	if s.failed {
		return nil
	}
	return s.data[begin:s.at]
}
