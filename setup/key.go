package setup

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/apoxy-dev/caddy-apoxy/store"
)

// Prefix begins the keys of the store that are this room's.
const Prefix = "setup/"

// keyAt is where the key that links are signed with is kept. Copies and backups have
// it, so that links outlive a move. Who deletes it ends all links.
const keyAt = Prefix + "key"

const (
	// keyAge is how old a key may be that links are checked with.
	keyAge = 10 * time.Second
	// keyTries bounds the reads while others write the same key.
	keyTries = 4
)

// Keys has the key that links are signed with. All nodes share it by the store; the
// first that needs it makes it.
type Keys struct {
	// Store keeps it.
	Store store.Store
	// Now is the clock. Default: time.Now.
	Now func() time.Time

	mu      sync.Mutex
	key     []byte
	at      time.Time // when key was read
	reading bool
}

// ForSigning returns the key as the store has it now.
func (k *Keys) ForSigning(ctx context.Context) ([]byte, error) {
	key, err := k.read(ctx)
	if err == nil {
		k.keep(key)
	}
	return key, err
}

// ForChecking returns the key as it was in the store a few seconds ago, or before that
// if the store cannot be read: a forged link costs no read.
func (k *Keys) ForChecking(ctx context.Context) ([]byte, error) {
	k.mu.Lock()
	key, fresh := k.key, k.now().Sub(k.at) < keyAge
	if key != nil && (fresh || k.reading) {
		k.mu.Unlock()
		return key, nil
	}
	k.reading = true
	k.mu.Unlock()
	read, err := k.read(ctx)
	k.mu.Lock()
	k.reading = false
	k.mu.Unlock()
	switch {
	case err == nil:
		k.keep(read)
		return read, nil
	case key != nil:
		return key, nil
	}
	return nil, err
}

func (k *Keys) now() time.Time {
	if k.Now != nil {
		return k.Now()
	}
	return time.Now()
}

func (k *Keys) keep(key []byte) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.key, k.at = key, k.now()
}

// read returns the key of the store. Where there is none, or one that cannot be used,
// it makes one; of several who do at a time one wins.
func (k *Keys) read(ctx context.Context) ([]byte, error) {
	for range keyTries {
		kv, _, err := k.Store.Get(ctx, keyAt)
		condition := kv.Revision
		switch {
		case err == nil && CheckKey(keyAt, kv.Value) == nil:
			return kv.Value, nil
		case errors.Is(err, store.ErrNotFound):
			condition = store.Absent
		case err != nil && !errors.Is(err, store.ErrDamaged):
			return nil, fmt.Errorf("reading the key of set-up links: %w", err)
		}
		key := make([]byte, KeySize)
		_, _ = rand.Read(key) // never fails
		_, err = k.Store.Write(ctx, store.Op{Key: keyAt, Value: key, If: condition})
		if conflict := (*store.ConflictError)(nil); errors.As(err, &conflict) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("keeping the key of set-up links: %w", err)
		}
		return key, nil
	}
	return nil, errors.New("reading the key of set-up links: others kept on changing it")
}

// CheckKey says why a value of the store is no key; nil: it is one.
func CheckKey(_ string, value []byte) error {
	if len(value) != KeySize {
		return fmt.Errorf("it has %d octets, want %d", len(value), KeySize)
	}
	return nil
}
