package pack

import (
	_ "embed"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"sync"

	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/zstd"
)

// The first byte of what is kept says how the rest is.
const (
	plain   = 0 // the value as it is
	zstdOwn = 1 // Zstandard, without a dictionary
	s2Dict1 = 2 // an S2 block with the first dictionary
)

const (
	// MaxPlain is how long a value may be, in bytes, that is made shorter, and so the most
	// that one is ever found to be.
	MaxPlain = 16 << 20
	// shortest is how long a value is that is worth it with a dictionary, and
	// shortestZstd without one.
	shortest     = 64
	shortestZstd = 512
	// longestS2 is how long a value is at most that is kept with the dictionary: what is
	// longer gains nothing from it.
	longestS2 = 64 << 10
)

// ErrDamaged: what is to be read is nothing that was written.
var ErrDamaged = errors.New("it cannot be decompressed")

// dictionary1 holds values as they are kept for hostnames: who held one, what is known of a
// certificate, and records with what is said most of customers' DNS. Six records were
// picked one by one as those that shortened others the most. It must never change: files
// depend on it. Another gets a number, and a file format, of its own.
//
//go:embed dictionary1.txt
var dictionary1 []byte

// dictionary is dictionary1 made ready, which takes a moment and some memory.
var dictionary = sync.OnceValue(func() *s2.Dict { return s2.MakeDictManual(dictionary1, 0) })

// Those of Zstandard are safe for concurrent use by EncodeAll and DecodeAll; the options
// are sound.
var (
	encoder = sync.OnceValue(func() *zstd.Encoder {
		e, _ := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderCRC(false), zstd.WithLowerEncoderMem(true))
		return e
	})
	decoder = sync.OnceValue(func() *zstd.Decoder {
		d, _ := zstd.NewReader(nil, zstd.WithDecoderMaxMemory(MaxPlain), zstd.WithDecoderConcurrency(0), zstd.WithDecoderLowmem(true))
		return d
	})
)

// Value returns how a value is kept, or nil if that is not shorter by an eighth at least:
// it is then best kept as it is.
func Value(value []byte) []byte {
	switch {
	case len(value) < shortest || len(value) > MaxPlain:
		return nil
	case len(value) > longestS2:
		if small := AppendPortable(nil, value); small[0] != plain {
			return small
		}
		return nil
	}
	buffer := buffers.Get().(*[]byte)
	defer buffers.Put(buffer)
	*buffer = grown(*buffer, s2.MaxEncodedLen(len(value)))
	small := dictionary().Encode(*buffer, value)
	if len(small) > len(value)/8*7 {
		return nil
	}
	return append(append(make([]byte, 0, 1+len(small)), s2Dict1), small...)
}

// buffers are for what is compressed and then copied to its size.
var buffers = sync.Pool{New: func() any { return new([]byte) }}

// largestBuffer is one that is kept for the next value.
const largestBuffer = 64 << 10

// grown returns a buffer of n bytes.
func grown(b []byte, n int) []byte {
	if cap(b) < n {
		return make([]byte, n, max(n, largestBuffer/4))
	}
	return b[:n]
}

// AppendPortable appends to dst how a value is kept by engines whose other users may be of
// an earlier version: as it is, or Zstandard.
func AppendPortable(dst, value []byte) []byte {
	if len(value) >= shortestZstd && len(value) <= MaxPlain {
		small := encoder().EncodeAll(value, append(dst, zstdOwn))
		if len(small)-len(dst) <= len(value)/8*7 {
			return small
		}
	}
	return append(append(dst, plain), value...)
}

// Append appends to dst how a value is kept, whatever its length.
func Append(dst, value []byte) []byte {
	if small := Value(value); small != nil {
		return append(dst, small...)
	}
	return append(append(dst, plain), value...)
}

// Read returns the value of what is kept, never nil. It is in buf if there is room, and
// never a part of kept. The error wraps ErrDamaged.
func Read(buf, kept []byte) ([]byte, error) {
	if len(kept) == 0 {
		return nil, fmt.Errorf("%w: nothing is left", ErrDamaged)
	}
	rest := kept[1:]
	switch kept[0] {
	case plain:
		return append(room(buf, len(rest)), rest...), nil
	case zstdOwn:
		value, err := decoder().DecodeAll(rest, room(buf, 0))
		if err != nil || len(rest) == 0 {
			return nil, ErrDamaged // the library's words may quote the value
		}
		return value, nil
	case s2Dict1:
		n, err := s2.DecodedLen(rest)
		if err != nil || n > MaxPlain {
			return nil, ErrDamaged
		}
		value, err := dictionary().Decode(room(buf, n)[:n], rest)
		if err != nil {
			return nil, ErrDamaged
		}
		return value, nil
	}
	return nil, fmt.Errorf("%w: its encoding %d is none that this version knows", ErrDamaged, kept[0])
}

// room returns an empty slice with room for n bytes, in buf if it has that, which is not nil.
func room(buf []byte, n int) []byte {
	if buf == nil || cap(buf) < n {
		return make([]byte, 0, n)
	}
	return buf[:0]
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Sum is the CRC-32C of a key's length (4 bytes, big endian), the key and what follows.
func Sum(key string, follows ...[]byte) uint32 {
	sum := crc32.Update(0, castagnoli, binary.BigEndian.AppendUint32(nil, uint32(len(key))))
	sum = crc32.Update(sum, castagnoli, []byte(key))
	for _, b := range follows {
		sum = crc32.Update(sum, castagnoli, b)
	}
	return sum
}
