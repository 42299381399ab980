package resolver

import (
	"context"
	"sync/atomic"
)

type heardKey struct{}

// WithHeard returns a context in which heard is set once an authoritative server
// of the customer's has answered.
func WithHeard(ctx context.Context, heard *atomic.Bool) context.Context {
	return context.WithValue(ctx, heardKey{}, heard)
}

// noteHeard says that an authoritative server has answered.
func noteHeard(ctx context.Context) {
	if heard, ok := ctx.Value(heardKey{}).(*atomic.Bool); ok {
		heard.Store(true)
	}
}
