package etcdstore

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"

	"github.com/klauspost/compress/zstd"

	"github.com/apoxy-dev/caddy-apoxy/store"
)

const (
	valueHeader = 5
	plain       = 0
	compressed  = 1

	// compressFrom is how long a value is that is worth compressing.
	compressFrom = 512
	// maxPlain is how long a value may be before it is compressed.
	maxPlain = 16 << 20
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Both are safe for concurrent use by EncodeAll and DecodeAll; the options are sound.
var (
	encoder, _ = zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderCRC(false), zstd.WithLowerEncoderMem(true))
	decoder, _ = zstd.NewReader(nil, zstd.WithDecoderMaxMemory(maxPlain), zstd.WithDecoderConcurrency(0), zstd.WithDecoderLowmem(true))
)

func checksum(key string, value []byte) uint32 {
	sum := crc32.Update(0, castagnoli, binary.BigEndian.AppendUint32(nil, uint32(len(key))))
	sum = crc32.Update(sum, castagnoli, []byte(key))
	return crc32.Update(sum, castagnoli, value)
}

// encode returns what is kept for a value.
func encode(key string, value []byte) []byte {
	raw := binary.BigEndian.AppendUint32(make([]byte, 0, valueHeader+len(value)), checksum(key, value))
	if len(value) >= compressFrom {
		small := encoder.EncodeAll(value, append(raw, compressed))
		if len(small)-valueHeader <= len(value)/8*7 {
			return small
		}
	}
	return append(append(raw, plain), value...)
}

// decode returns the value of what is kept, or a *store.DamagedError.
func decode(key string, revision int64, raw []byte) ([]byte, error) {
	damaged := func(format string, args ...any) error {
		return &store.DamagedError{Key: key, Revision: revision, Reason: fmt.Sprintf(format, args...)}
	}
	if len(raw) < valueHeader {
		return nil, damaged("it has %d bytes, fewer than stand before every value", len(raw))
	}
	value := raw[valueHeader:len(raw):len(raw)]
	switch raw[4] {
	case plain:
	case compressed:
		var err error
		if value, err = decoder.DecodeAll(value, nil); err != nil {
			return nil, damaged("it cannot be decompressed")
		}
	default:
		return nil, damaged("its encoding %d is none that this version knows", raw[4])
	}
	if checksum(key, value) != binary.BigEndian.Uint32(raw) {
		return nil, damaged("its checksum does not hold")
	}
	if value == nil {
		value = []byte{} // nil means deleted
	}
	return value, nil
}
