package etcdstore

import (
	"encoding/binary"
	"fmt"

	"github.com/apoxy-dev/caddy-apoxy/store"
	"github.com/apoxy-dev/caddy-apoxy/store/pack"
)

// sumBytes is the length of the checksum before every value, pack.Sum of key and value.
const sumBytes = 4

// encode returns what is kept for a value, as nodes of any version read it.
func encode(key string, value []byte) []byte {
	raw := binary.BigEndian.AppendUint32(make([]byte, 0, sumBytes+1+len(value)), pack.Sum(key, value))
	return pack.AppendPortable(raw, value)
}

// decode returns the value of what is kept, or a *store.DamagedError.
func decode(key string, revision int64, raw []byte) ([]byte, error) {
	damaged := func(reason string) error {
		return &store.DamagedError{Key: key, Revision: revision, Reason: reason}
	}
	if len(raw) <= sumBytes {
		return nil, damaged(fmt.Sprintf("it has %d bytes, fewer than stand before every value", len(raw)))
	}
	value, err := pack.Read(nil, raw[sumBytes:])
	if err != nil {
		return nil, damaged(err.Error())
	}
	if pack.Sum(key, value) != binary.BigEndian.Uint32(raw) {
		return nil, damaged("its checksum does not hold")
	}
	return value, nil
}
