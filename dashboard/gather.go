package dashboard

import (
	"context"
	"time"
)

// patience is how long a page waits for a fact. Those who tell them end with the context;
// one that did not would be left out, and not waited for.
const patience = 3 * time.Second

// fact is something that was asked for.
type fact[T any] struct {
	Value T
	// Trouble is why there is none; empty: there is.
	Trouble string
}

// ask begins to ask for a fact and returns what waits for it.
func ask[T any](ctx context.Context, of func(context.Context) (T, error)) func() fact[T] {
	ctx, cancel := context.WithTimeout(ctx, patience)
	told := make(chan fact[T], 1)
	go func() {
		v, err := of(ctx)
		f := fact[T]{Value: v}
		if err != nil {
			f.Trouble = "This could not be found out: " + err.Error()
		}
		told <- f
	}()
	return func() fact[T] {
		defer cancel()
		select {
		case f := <-told:
			return f
		case <-ctx.Done():
			return fact[T]{Trouble: "This could not be found out in time."}
		}
	}
}
