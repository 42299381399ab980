package controller

import (
	"container/list"
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// Lru remembers a bounded number of values for a bounded time; the least
// recently used goes first.
type lru[V any] struct {
	mu    sync.Mutex
	limit int
	order *list.List // of *remembered[V], most recently used first
	byKey map[string]*list.Element
}

type remembered[V any] struct {
	key     string
	value   V
	expires time.Time
}

func newLRU[V any](limit int) *lru[V] {
	return &lru[V]{limit: limit, order: list.New(), byKey: make(map[string]*list.Element)}
}

func (c *lru[V]) get(key string) (value V, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.byKey[key]
	if !ok {
		return value, false
	}
	m := e.Value.(*remembered[V])
	if time.Now().After(m.expires) {
		c.order.Remove(e)
		delete(c.byKey, key)
		return value, false
	}
	c.order.MoveToFront(e)
	return m.value, true
}

func (c *lru[V]) put(key string, value V, ttl time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	m := &remembered[V]{key, value, time.Now().Add(ttl)}
	if e, ok := c.byKey[key]; ok {
		e.Value = m
		c.order.MoveToFront(e)
		return
	}
	c.byKey[key] = c.order.PushFront(m)
	if c.order.Len() > c.limit {
		last := c.order.Back()
		c.order.Remove(last)
		delete(c.byKey, last.Value.(*remembered[V]).key)
	}
}

func (c *lru[V]) drop(key string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e, ok := c.byKey[key]; ok {
		c.order.Remove(e)
		delete(c.byKey, key)
	}
}

// Gates bound what is in flight per registered domain. A gate exists only while
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

// Enter waits for a place in the gate of key; leave must be called if err is nil.
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

// Muted remembers that no authoritative server anywhere answers while recursive
// resolvers do: port 53 to the outside is closed, and trying it every time would
// only cost time.
type muted struct {
	until atomic.Int64 // Unix nanoseconds
	some  atomic.Bool  // whether row holds any
	mu    sync.Mutex
	row   map[string]struct{} // registered domains that only resolvers could tell of
}

// When so many domains in a row have given no authoritative answer, none is
// tried for mutedFor. One domain, whose servers are silent for us alone, silences
// nobody else's.
const (
	mutedAfter = 8
	mutedFor   = time.Minute
)

func (m *muted) now() bool { return time.Now().UnixNano() < m.until.Load() }

func (m *muted) heard() {
	if !m.some.Load() {
		return
	}
	m.mu.Lock()
	m.row = nil
	m.some.Store(false)
	m.mu.Unlock()
}

func (m *muted) unheard(domain string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.row == nil {
		m.row = make(map[string]struct{}, mutedAfter)
	}
	m.row[domain] = struct{}{}
	m.some.Store(true)
	if len(m.row) >= mutedAfter {
		m.until.Store(time.Now().Add(mutedFor).UnixNano())
		delete(m.row, domain) // one more failure is enough next time
	}
}
