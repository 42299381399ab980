package wasmloops

import (
	"encoding/binary"
	"errors"
	"fmt"
)

var errShort = errors.New("the binary ends too early")

// reader reads a part of a binary. Its first error stays, and what is read after it is
// zero; a count is never larger than the bytes that are left.
type reader struct {
	data []byte
	at   int
	err  error
	*known
}

// known is what a module has: nothing in it may name what Instrument adds.
type known struct {
	types, functions, globals uint32
}

func (r *reader) left() int { return len(r.data) - r.at }

func (r *reader) fail(err error) {
	if r.err == nil {
		r.err = err
		r.at = len(r.data)
	}
}

func (r *reader) failf(format string, args ...any) { r.fail(fmt.Errorf(format, args...)) }

func (r *reader) byte() byte {
	if r.left() == 0 {
		r.fail(errShort)
		return 0
	}
	r.at++
	return r.data[r.at-1]
}

func (r *reader) take(n int) []byte {
	if n < 0 || n > r.left() {
		r.fail(errShort)
		return nil
	}
	r.at += n
	return r.data[r.at-n : r.at]
}

// u32 reads an unsigned LEB128 number of at most five bytes.
func (r *reader) u32() uint32 {
	var v uint64
	for shift := 0; shift < 35; shift += 7 {
		b := r.byte()
		v |= uint64(b&0x7f) << shift
		if b < 0x80 {
			if v > 0xffff_ffff {
				break
			}
			return uint32(v)
		}
	}
	r.failf("a number at byte %d passes 32 bits", r.at)
	return 0
}

// index reads the number of one of n things.
func (r *reader) index(n uint32, what string) uint32 {
	i := r.u32()
	if i >= n && r.err == nil {
		r.failf("%s %d is named: there are %d", what, i, n)
		return 0
	}
	return i
}

func (r *reader) typeIndex() uint32 { return r.index(r.types, "type") }

func (r *reader) globalIndex() uint32 { return r.index(r.globals, "global") }

// blockType passes over a signed number of 33 bits, which is a type's where it is not
// negative.
func (r *reader) blockType() {
	var v uint64
	for shift := 0; shift < 35; shift += 7 {
		b := r.byte()
		v |= uint64(b&0x7f) << shift
		if b >= 0x80 {
			continue
		}
		if b&0x40 == 0 && v >= uint64(r.types) && r.err == nil {
			r.failf("a block has type %d: there are %d", v, r.types)
		}
		return
	}
	r.failf("a block's type at byte %d passes 33 bits", r.at)
}

// skipLEB passes over a signed or unsigned LEB128 number of at most so many bytes.
func (r *reader) skipLEB(most int) {
	for range most {
		if r.byte() < 0x80 {
			return
		}
	}
	r.failf("a number at byte %d is longer than %d bytes", r.at, most)
}

// count reads how many entries follow, of which each takes a byte at least.
func (r *reader) count() int {
	n := r.u32()
	if uint64(n) > uint64(r.left()) {
		r.failf("%d entries are announced with %d bytes left", n, r.left())
		return 0
	}
	return int(n)
}

// name passes over a name and returns it.
func (r *reader) name() []byte { return r.take(r.count()) }

// ended fails where something is left.
func (r *reader) ended(what string) error {
	if r.err != nil {
		return fmt.Errorf("%s: %w", what, r.err)
	}
	if r.left() > 0 {
		return fmt.Errorf("%s: %d bytes are left over", what, r.left())
	}
	return nil
}

func appendU32(b []byte, v uint32) []byte { return binary.AppendUvarint(b, uint64(v)) }

// appendI32 appends a signed LEB128 number that is not negative.
func appendI32(b []byte, v uint32) []byte {
	for v >= 0x40 {
		b = append(b, byte(v)|0x80)
		v >>= 7
	}
	return append(b, byte(v))
}

func appendName(b []byte, name string) []byte {
	return append(appendU32(b, uint32(len(name))), name...)
}
