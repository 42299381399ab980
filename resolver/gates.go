package resolver

import (
	"context"
	"sync"
)

// gates bound what is in flight per registered domain. A gate exists only while
// somebody holds or awaits a place in it.
type gates struct {
	limit int
	mu    sync.Mutex
	open  map[string]*gate
}

type gate struct {
	users  int
	places chan struct{}
}

// enter waits for a place in the gate of key; leave must be called if err is nil.
func (g *gates) enter(ctx context.Context, key string) (leave func(), err error) {
	g.mu.Lock()
	t := g.open[key]
	if t == nil {
		t = &gate{places: make(chan struct{}, g.limit)}
		g.open[key] = t
	}
	t.users++
	g.mu.Unlock()
	drop := func() {
		g.mu.Lock()
		if t.users--; t.users == 0 {
			delete(g.open, key)
		}
		g.mu.Unlock()
	}
	select {
	case t.places <- struct{}{}:
		return func() { <-t.places; drop() }, nil
	case <-ctx.Done():
		drop()
		return nil, ctx.Err()
	}
}
