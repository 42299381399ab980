package caddyapoxy

import (
	"slices"
	"sync"
	"sync/atomic"
)

// generations lets something that outlives configurations follow them. While
// Caddy reloads, the new configuration starts before the old one stops, and if
// it fails to start it stops again: the newest that still runs is the current.
type generations[T any] struct {
	mu      sync.Mutex
	list    []*T
	current atomic.Pointer[T]
	// changed, if set, is called with the new current one, never nil, in the
	// order of the changes.
	changed func(*T)
}

// Current returns the configuration in force; nil before the first.
func (g *generations[T]) Current() *T { return g.current.Load() }

// Push makes v the current one.
func (g *generations[T]) Push(v *T) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.list = append(g.list, v)
	g.set(v)
}

// Remove drops v; the newest of the others becomes current. Removing the last
// one leaves it current: what outlives it is about to be closed, too.
func (g *generations[T]) Remove(v *T) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.list = slices.DeleteFunc(g.list, func(o *T) bool { return o == v })
	if n := len(g.list); n > 0 && g.list[n-1] != g.current.Load() {
		g.set(g.list[n-1])
	}
}

func (g *generations[T]) set(v *T) {
	g.current.Store(v)
	if g.changed != nil {
		g.changed(v)
	}
}
