package domainconnect

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/apoxy-dev/caddy-apoxy/store"
)

// StoreKey is where the key pair is kept, one for all nodes.
const StoreKey = "domainconnect/key"

// maxStored bounds what is read as a key.
const maxStored = 16 << 10

// stored is the key pair as the store keeps it.
type stored struct {
	// PKCS8 is the private key.
	PKCS8 []byte `json:"pkcs8"`
	// Created is when it was made.
	Created time.Time `json:"created"`
}

// LoadKey returns the key pair that is kept, making one if there is none. Nodes that do
// so at once end up with the same.
func LoadKey(ctx context.Context, st store.Store) (*Key, error) {
	k, err := readKey(ctx, st)
	if !errors.Is(err, store.ErrNotFound) {
		return k, err
	}
	if k, err = NewKey(); err != nil {
		return nil, err
	}
	der, err := k.marshal()
	if err != nil {
		return nil, err
	}
	value, err := json.Marshal(stored{PKCS8: der, Created: time.Now().UTC().Truncate(time.Second)})
	if err != nil {
		return nil, fmt.Errorf("encoding %s: %w", StoreKey, err)
	}
	_, err = st.Write(ctx, store.Op{Key: StoreKey, Value: value, If: store.Absent})
	if conflict := (*store.ConflictError)(nil); errors.As(err, &conflict) {
		return readKey(ctx, st) // another node was first
	}
	if err != nil {
		return nil, fmt.Errorf("writing %s: %w", StoreKey, err)
	}
	return k, nil
}

func readKey(ctx context.Context, st store.Store) (*Key, error) {
	entry, _, err := st.Get(ctx, StoreKey)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", StoreKey, err)
	}
	if len(entry.Value) > maxStored {
		return nil, fmt.Errorf("reading %s: it has %d octets, expected %d at most", StoreKey, len(entry.Value), maxStored)
	}
	var s stored
	if err := json.Unmarshal(entry.Value, &s); err != nil {
		return nil, fmt.Errorf("reading %s: it does not decode", StoreKey)
	}
	k, err := parseKey(s.PKCS8)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", StoreKey, err)
	}
	return k, nil
}
