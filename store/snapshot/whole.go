package snapshot

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/apoxy-dev/caddy-apoxy/store"
)

const (
	// FillingKey is in a store while Fill works on it.
	FillingKey = "snapshot/filling"
	// FilledKey is in a store that Fill has filled.
	FilledKey = "snapshot/filled"
)

// origin is the value of both: where the data came from.
type origin struct {
	Of    Header    `json:"of"`
	Begun time.Time `json:"begun"`
}

// ErrFilling: a store holds a part of what it should.
var ErrFilling = errors.New("the store is not whole: a copy or a restore into it is under way or was broken off; run that again to its end, which starts over by itself")

// Whole returns since which revision the history of st is its own: revisions before that
// are of the engine that the data came from, and mean nothing in this one; 0: it was never
// filled by Fill. The error is ErrFilling if it holds a part only.
func Whole(ctx context.Context, st store.Store) (since int64, err error) {
	switch _, _, err := st.Get(ctx, FillingKey); {
	case err == nil, errors.Is(err, store.ErrDamaged):
		return 0, ErrFilling
	case !errors.Is(err, store.ErrNotFound):
		return 0, fmt.Errorf("asking whether the store is whole: %w", err)
	}
	filled, _, err := st.Get(ctx, FilledKey)
	switch {
	case err == nil, errors.Is(err, store.ErrDamaged):
		return filled.Revision, nil
	case errors.Is(err, store.ErrNotFound):
		return 0, nil
	}
	return 0, fmt.Errorf("asking whether the store is whole: %w", err)
}
