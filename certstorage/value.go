package certstorage

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/klauspost/compress/zstd"
)

// A value is kept as
//
//	version   byte: 1
//	sealing   byte: 0 none, 1 AES-256-GCM, 3 the same over zstd
//	modified  int64, nanoseconds since 1970, big endian
//	size      uint32, of the content, in bytes, big endian
//	if it is sealed: the key's ID (8 bytes) and the nonce (12 bytes)
//	the content, or its ciphertext with the tag (16 bytes)
//
// What is authenticated beside the content is the header and the key of the store, so
// that no value can be put in another's place. What is sealed is compressed before, where
// that saves an eighth: no engine could afterwards.
const (
	valueVersion = 1
	plainHeader  = 2 + 8 + 4
	sealedHeader = plainHeader + idSize + nonceSize
	nonceSize    = 12
	tagSize      = 16

	unsealed        = 0
	sealed          = 1
	sealedCompacted = 3
)

// maxValue bounds a value, in bytes. Engines may take less: etcd 1.5 MiB.
const maxValue = 4 << 20

// errShort: a value is not as long as its header says, if it has one.
var errShort = errors.New("it is not as long as what stands before every value says")

// NewerError says that a value is of a version of this program that is newer than this.
type NewerError struct{ Version byte }

func (e *NewerError) Error() string {
	return fmt.Sprintf("it was stored by a newer version, in format %d, and this one knows formats to %d: update this Caddy", e.Version, valueVersion)
}

// header is what is known of a value without a key.
type header struct {
	sealed   bool
	compact  bool
	key      ID // it is sealed with; zero if it is not
	modified time.Time
	size     int64 // of the content
}

// parseHeader reads what stands before a value. The error is errShort, a *NewerError or
// says which sealing is not known.
func parseHeader(raw []byte) (h header, err error) {
	switch {
	case len(raw) == 0 || raw[0] == 0:
		return h, errShort
	case raw[0] > valueVersion:
		return h, &NewerError{raw[0]}
	case len(raw) < plainHeader:
		return h, errShort
	}
	h.modified = time.Unix(0, int64(binary.BigEndian.Uint64(raw[2:])))
	h.size = int64(binary.BigEndian.Uint32(raw[10:]))
	switch sealing := raw[1]; {
	case sealing == unsealed && h.size == int64(len(raw)-plainHeader):
	case sealing == sealed && h.size == int64(len(raw)-sealedHeader-tagSize),
		sealing == sealedCompacted && h.size <= maxValue && len(raw) >= sealedHeader+tagSize:
		h.sealed, h.compact, h.key = true, sealing == sealedCompacted, ID(raw[plainHeader:plainHeader+idSize])
	case sealing == unsealed, sealing == sealed, sealing == sealedCompacted:
		return h, errShort
	default:
		return h, fmt.Errorf("its sealing %d is none that is known", sealing)
	}
	return h, nil
}

// newHeader begins a value.
func newHeader(sealing byte, modified time.Time, size int) []byte {
	raw := make([]byte, 0, sealedHeader+size+tagSize)
	raw = append(raw, valueVersion, sealing)
	raw = binary.BigEndian.AppendUint64(raw, uint64(modified.UnixNano()))
	return binary.BigEndian.AppendUint32(raw, uint32(size))
}

// Both are safe for concurrent use by EncodeAll and DecodeAll; the options are sound.
var (
	encoder, _ = zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderCRC(false), zstd.WithLowerEncoderMem(true))
	decoder, _ = zstd.NewReader(nil, zstd.WithDecoderMaxMemory(maxValue), zstd.WithDecoderConcurrency(0), zstd.WithDecoderLowmem(true))
)

// compacted returns a shorter form of a value; nil: none is an eighth shorter.
func compacted(value []byte) []byte {
	if len(value) < 256 {
		return nil
	}
	if small := encoder.EncodeAll(value, nil); len(small) <= len(value)/8*7 {
		return small
	}
	return nil
}

// Check says why a value below Prefix cannot be one; nil: it can, or a newer version's.
func Check(_ string, raw []byte) error {
	var newer *NewerError
	if _, err := parseHeader(raw); err != nil && !errors.As(err, &newer) {
		return err
	}
	return nil
}

// CheckVersion says why this version must leave a value below Prefix alone; empty: it
// need not.
func CheckVersion(raw []byte) string {
	var newer *NewerError
	if _, err := parseHeader(raw); errors.As(err, &newer) {
		return newer.Error()
	}
	return ""
}
