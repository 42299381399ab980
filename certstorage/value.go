package certstorage

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"
)

// A value is kept as
//
//	version   byte: 1
//	sealing   byte: 0 none, 1 AES-256-GCM
//	modified  int64, nanoseconds since 1970, big endian
//	if it is sealed: the key's ID (8 bytes) and the nonce (12 bytes)
//	the content, or its ciphertext with the tag (16 bytes)
//
// What is authenticated beside the content is the header and the key of the store, so
// that no value can be put in another's place.
const (
	valueVersion = 1
	plainHeader  = 2 + 8
	sealedHeader = plainHeader + idSize + nonceSize
	nonceSize    = 12
	tagSize      = 16

	unsealed  = 0
	sealedGCM = 1
)

// maxValue bounds a value, in bytes. Engines may take less: etcd 1.5 MiB.
const maxValue = 4 << 20

// errShort: a value is shorter than its header.
var errShort = errors.New("it is shorter than what stands before every value")

// NewerError says that a value is of a version of this program that is newer than this.
type NewerError struct{ Version byte }

func (e *NewerError) Error() string {
	return fmt.Sprintf("it was stored by a newer version, in format %d, and this one knows formats to %d: update this Caddy", e.Version, valueVersion)
}

// header is what is known of a value without a key.
type header struct {
	sealed   bool
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
	switch raw[1] {
	case unsealed:
		h.size = int64(len(raw) - plainHeader)
	case sealedGCM:
		if len(raw) < sealedHeader+tagSize {
			return h, errShort
		}
		h.sealed, h.key = true, ID(raw[plainHeader:plainHeader+idSize])
		h.size = int64(len(raw) - sealedHeader - tagSize)
	default:
		return h, fmt.Errorf("its sealing %d is none that is known", raw[1])
	}
	return h, nil
}

// newHeader begins a value.
func newHeader(sealing byte, modified time.Time, size int) []byte {
	raw := make([]byte, 0, sealedHeader+size+tagSize)
	raw = append(raw, valueVersion, sealing)
	return binary.BigEndian.AppendUint64(raw, uint64(modified.UnixNano()))
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
