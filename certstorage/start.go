package certstorage

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/apoxy-dev/caddy-apoxy/store"
)

// inUse is the value at KeyPrefix of a key of encryption.
type inUse struct {
	Since time.Time `json:"since"`
}

// CheckKey says why a value below KeyPrefix is not what is kept of an encryption key;
// nil: it is.
func CheckKey(key string, raw []byte) error {
	if id, err := hex.DecodeString(strings.TrimPrefix(key, KeyPrefix)); err != nil || len(id) != idSize {
		return errors.New("its key is not the ID of an encryption key")
	}
	var v inUse
	return json.Unmarshal(raw, &v)
}

// Start asks the store whether all keys that values are encrypted with are at hand, and
// notes that the first of ours is in use from now on. Whatever is stored or loaded does
// so first, until it has succeeded once. *UnknownKeyError: a key is missing.
func (s *Storage) Start(ctx context.Context) error {
	s.checking.Lock()
	defer s.checking.Unlock()
	if s.checked.Load() {
		return nil
	}
	if s.o.Usable != nil {
		if err := s.o.Usable(ctx); err != nil {
			return fmt.Errorf("%s: %w", s.o.Name, err)
		}
	}
	used, err := s.o.Store.List(ctx, KeyPrefix, store.ListOptions{})
	if err != nil {
		return fmt.Errorf("reading which encryption keys are in use: %w", err)
	}
	noted := false
	for _, kv := range used.KeyValues {
		id, ok := idOf(kv.Key)
		if ok && !s.o.Keys.has(id) && !slices.Contains(s.o.Lost, id) {
			return fmt.Errorf("%s has values %w", s.o.Name, &UnknownKeyError{id, s.o.Keys.String()})
		}
		noted = noted || ok && len(s.o.Keys) > 0 && id == s.o.Keys[0].id
	}
	if stale := store.StaleAllowed(ctx); stale != nil && stale.Cause() != nil {
		return nil // a copy does for this handshake, and the store is asked again
	}
	if len(s.o.Keys) > 0 && !noted {
		if err := s.note(ctx, s.o.Keys[0].id); err != nil {
			return err
		}
	}
	s.checked.Store(true)
	return nil
}

func (s *Storage) ready(ctx context.Context) error {
	if s.checked.Load() {
		return nil
	}
	return s.Start(ctx)
}

// note notes that a key is in use.
func (s *Storage) note(ctx context.Context, id ID) error {
	value, err := json.Marshal(inUse{time.Now().UTC()})
	if err == nil {
		_, err = s.o.Store.Write(ctx, store.Op{Key: KeyPrefix + id.String(), Value: value, If: store.Absent})
	}
	if err != nil && !is[*store.ConflictError](err) {
		return fmt.Errorf("noting that encryption key %s is in use: %w", id, err)
	}
	return nil
}

func idOf(key string) (id ID, ok bool) {
	raw, err := hex.DecodeString(strings.TrimPrefix(key, KeyPrefix))
	return ID(append(raw, make([]byte, idSize)...)[:idSize]), err == nil && len(raw) == idSize
}
