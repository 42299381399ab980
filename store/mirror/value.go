package mirror

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/apoxy-dev/caddy-apoxy/store"
	"github.com/apoxy-dev/caddy-apoxy/store/pack"
)

// header is the revision and the checksum before every value: pack.Sum of key, revision
// and value.
const header = 12

func encode(key string, revision int64, value []byte) []byte {
	raw := number(revision)
	raw = binary.BigEndian.AppendUint32(raw, pack.Sum(key, raw, value))
	return pack.Append(raw, value)
}

// decode returns the key-value, which is not a part of raw.
func decode(key string, raw []byte) (store.KeyValue, error) {
	kv := store.KeyValue{Key: key}
	if len(raw) < header {
		return kv, fmt.Errorf("key %q of the local copy is cut off", key)
	}
	value, err := pack.Read(nil, raw[header:])
	if err != nil {
		return kv, fmt.Errorf("key %q of the local copy: %w", key, err)
	}
	if pack.Sum(key, raw[:8], value) != binary.BigEndian.Uint32(raw[8:]) {
		return kv, errors.New("the checksum of key " + key + " of the local copy does not hold")
	}
	kv.Value, kv.Revision = value, int64(binary.BigEndian.Uint64(raw))
	return kv, nil
}
