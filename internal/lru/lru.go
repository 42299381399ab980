// Package lru is a bounded memory: so many values, each for so long. It knows
// nothing of what they are.
package lru

import (
	"container/list"
	"sync"
	"time"
)

// Cache remembers a bounded number of values for a bounded time; the least
// recently used goes first. It is safe for concurrent use.
type Cache[V any] struct {
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

// New returns a Cache of at most limit values.
func New[V any](limit int) *Cache[V] {
	return &Cache[V]{limit: limit, order: list.New(), byKey: make(map[string]*list.Element)}
}

// Get returns the value of key; false if there is none, or its time is over.
func (c *Cache[V]) Get(key string) (value V, ok bool) {
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

// Put remembers value under key for ttl, in the place of what was there.
func (c *Cache[V]) Put(key string, value V, ttl time.Duration) {
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

// Drop forgets key.
func (c *Cache[V]) Drop(key string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e, ok := c.byKey[key]; ok {
		c.order.Remove(e)
		delete(c.byKey, key)
	}
}
