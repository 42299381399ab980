package mirror

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"github.com/klauspost/compress/zstd"

	"github.com/apoxy-dev/caddy-apoxy/store"
)

const (
	header = 12
	// maxPlain is how long a value may be before it is compressed.
	maxPlain = 16 << 20
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Both are safe for concurrent use by EncodeAll and DecodeAll; the options are sound.
var (
	encoder, _ = zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderCRC(false), zstd.WithLowerEncoderMem(true), zstd.WithEncoderConcurrency(1))
	decoder, _ = zstd.NewReader(nil, zstd.WithDecoderMaxMemory(maxPlain), zstd.WithDecoderConcurrency(0), zstd.WithDecoderLowmem(true))
)

func checksum(key string, revision, value []byte) uint32 {
	sum := crc32.Update(0, castagnoli, binary.BigEndian.AppendUint32(nil, uint32(len(key))))
	sum = crc32.Update(sum, castagnoli, []byte(key))
	sum = crc32.Update(sum, castagnoli, revision)
	return crc32.Update(sum, castagnoli, value)
}

func encode(key string, revision int64, value []byte) []byte {
	raw := number(revision)
	raw = binary.BigEndian.AppendUint32(raw, checksum(key, raw, value))
	return encoder.EncodeAll(value, raw)
}

// decode returns the key-value, which is not a part of raw.
func decode(key string, raw []byte) (store.KeyValue, error) {
	kv := store.KeyValue{Key: key}
	if len(raw) < header {
		return kv, fmt.Errorf("key %q of the local copy is cut off", key)
	}
	value, err := decoder.DecodeAll(raw[header:], nil)
	if err != nil {
		return kv, fmt.Errorf("key %q of the local copy cannot be decompressed: %w", key, err)
	}
	if checksum(key, raw[:8], value) != binary.BigEndian.Uint32(raw[8:]) {
		return kv, errors.New("the checksum of key " + key + " of the local copy does not hold")
	}
	if value == nil {
		value = []byte{}
	}
	kv.Value, kv.Revision = value, int64(binary.BigEndian.Uint64(raw))
	return kv, nil
}
