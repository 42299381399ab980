package hosts

import (
	"context"
	"math"
	"strings"
	"sync"
)

// maxChanged is how many changes a table remembers by name; as many as engines keep.
const maxChanged = 16384

// changed remembers which records were changed last, so that a list of what was at a
// revision knows of which records the table tells something later.
type changed struct {
	mu   sync.Mutex
	ring []renewal
	next int // where the oldest is, once the ring is full
	// floor: changes up to here are not remembered. While everything is read, and
	// before, that is all.
	floor int64
}

type renewal struct {
	name     string
	revision int64
}

// forget: from now on changes come in no order.
func (c *changed) forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.floor, c.ring, c.next = math.MaxInt64, nil, 0
}

// begin: the table holds what was at a revision, and changes come in their order.
func (c *changed) begin(revision int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.floor, c.ring, c.next = revision, nil, 0
}

// note is told of a change before the table shows it.
func (c *changed) note(name string, revision int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.floor == math.MaxInt64 {
		return
	}
	r := renewal{strings.Clone(name), revision} // a copy, or it would keep a host alive
	if len(c.ring) < maxChanged {
		c.ring = append(c.ring, r)
		return
	}
	c.floor = max(c.floor, c.ring[c.next].revision)
	c.ring[c.next] = r
	c.next = (c.next + 1) % len(c.ring)
}

// since returns the names after a name, and up to another one, that were changed after
// a revision, in no order; ok is false if not all are remembered.
func (c *changed) since(revision int64, after, upto string) (names []string, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if revision < c.floor {
		return nil, false
	}
	for i := range c.ring {
		r := &c.ring[len(c.ring)-1-i]
		if len(c.ring) == maxChanged {
			r = &c.ring[(c.next+2*len(c.ring)-1-i)%len(c.ring)]
		}
		if r.revision <= revision {
			break
		}
		if r.name > after && (upto == "" || r.name <= upto) {
			names = append(names, r.name)
		}
	}
	return names, true
}

// ChangedSince returns the names of the records that were changed after a revision of
// the store, of those after a name and, unless upto is empty, not after that one; some
// may be there twice, and later ones among them. ok is false if the table does not
// remember: then nothing can be said of what was at that revision.
func (t *Table) ChangedSince(revision int64, after, upto string) (names []string, ok bool) {
	return t.changed.since(revision, after, upto)
}

// WaitChange returns once a record has changed after a revision of the table, the named
// one or, if name is empty, any; or with the context's error. now is up to where the table
// has come, for the next call. Where the table does not remember, as of what was before it
// was filled, it has changed.
func (t *Table) WaitChange(ctx context.Context, since int64, name string) (now int64, err error) {
	for {
		now = t.Revision()
		if t.changed.has(since, name) {
			return now, nil
		}
		since = max(since, now) // what is up to there is looked through no more
		if err := t.WaitRevision(ctx, now+1); err != nil {
			return now, err
		}
	}
}

// has reports whether a record was changed after a revision, any if name is empty.
func (c *changed) has(revision int64, name string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if revision < c.floor {
		return true
	}
	for i := range c.ring {
		r := &c.ring[(c.next+2*len(c.ring)-1-i)%len(c.ring)]
		if r.revision <= revision {
			return false
		}
		if name == "" || r.name == name {
			return true
		}
	}
	return false
}
