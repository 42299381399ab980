package certstorage

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/apoxy-dev/caddy-apoxy/store"
)

// rewritePage is how many values are looked at before others have their turn.
const rewritePage = 64

// Rewritten is what a Rewrite did.
type Rewritten struct {
	// Values were looked at, Sealed of them sealed anew, and Deleted those of lost keys.
	Values, Sealed, Deleted int
	// Left were not, because they cannot be read.
	Left int
}

// Rewrite seals every value with the first key that is not yet, and forgets the other
// keys once no value needs them: they may then be taken out of the configuration. It
// takes a fifth of the time at most that it lasts, and loses nothing that is written
// meanwhile. It deletes what was encrypted with lost keys.
func (s *Storage) Rewrite(ctx context.Context) (Rewritten, error) {
	var sum Rewritten
	if err := s.ready(ctx); err != nil {
		return sum, err
	}
	o := store.ListOptions{Limit: rewritePage}
	for {
		began := time.Now()
		page, err := s.o.Store.List(ctx, Prefix, o)
		if err != nil {
			return sum, fmt.Errorf("encrypting what is stored: %w", err)
		}
		for _, kv := range page.KeyValues {
			if err := s.rewrite(ctx, kv, &sum); err != nil {
				return sum, fmt.Errorf("encrypting what is stored: %w", err)
			}
		}
		if !page.More {
			return sum, s.forget(ctx, sum)
		}
		o.After = page.KeyValues[len(page.KeyValues)-1].Key
		select {
		case <-ctx.Done():
			return sum, ctx.Err()
		case <-time.After(4 * time.Since(began)):
		}
	}
}

// rewrite seals one value anew, if it need be, and as often as it is replaced meanwhile by
// one that needs it, too, as by a node that does not encrypt yet.
func (s *Storage) rewrite(ctx context.Context, kv store.KeyValue, sum *Rewritten) error {
	sum.Values++
	for {
		err := s.reseal(ctx, kv, sum)
		if !is[*store.ConflictError](err) {
			return err
		}
		kv, _, err = s.o.Store.Get(ctx, kv.Key)
		switch {
		case errors.Is(err, store.ErrNotFound):
			return nil
		case err != nil && !errors.Is(err, store.ErrDamaged):
			return err
		}
	}
}

func (s *Storage) reseal(ctx context.Context, kv store.KeyValue, sum *Rewritten) error {
	if kv.Err != nil { // the store tells of it
		sum.Left++
		return nil
	}
	if h, err := parseHeader(kv.Value); err == nil && s.o.Keys.seals(h) {
		return nil
	}
	if s.lost(kv.Value) {
		_, err := s.o.Store.Write(ctx, store.Op{Key: kv.Key, If: kv.Revision})
		if err == nil {
			sum.Deleted++
		}
		return err
	}
	at := kv.Key[len(Prefix):]
	value, h, err := s.o.Keys.open(at, kv.Value)
	if err != nil {
		sum.Left++
		s.o.Logger.Error("a stored value cannot be encrypted anew", zap.String("key", at), zap.Error(err))
		return nil
	}
	_, err = s.o.Store.Write(ctx, store.Op{Key: kv.Key, Value: s.o.Keys.seal(at, value, h.modified), If: kv.Revision})
	if err == nil {
		sum.Sealed++
	}
	return err
}

// forget ends the notes of keys that no value needs.
func (s *Storage) forget(ctx context.Context, sum Rewritten) error {
	if sum.Left > 0 {
		return nil
	}
	used, err := s.o.Store.List(ctx, KeyPrefix, store.ListOptions{})
	if err != nil {
		return fmt.Errorf("reading which encryption keys are in use: %w", err)
	}
	for _, kv := range used.KeyValues {
		id, ok := idOf(kv.Key)
		if !ok || len(s.o.Keys) > 0 && id == s.o.Keys[0].id || !s.o.Keys.has(id) && !slices.Contains(s.o.Lost, id) {
			continue
		}
		if _, err := s.o.Store.Write(ctx, store.Op{Key: kv.Key, If: store.Any}); err != nil {
			return fmt.Errorf("noting that encryption key %s is not in use: %w", id, err)
		}
		s.o.Logger.Info("no stored value needs this encryption key any more: it may be taken out of the configuration", zap.Stringer("key", id))
	}
	return nil
}
