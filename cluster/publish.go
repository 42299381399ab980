package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/apoxy-dev/caddy-apoxy/store"
)

const (
	// publishTimeout bounds one write of the node's key, publishPause is after one that
	// failed.
	publishTimeout = 3 * time.Second
	publishPause   = 250 * time.Millisecond
)

// kick has the node's key written.
func (m *Member) kick() {
	select {
	case m.publish <- struct{}{}:
	default:
	}
}

// Acknowledge tells the others that this node's zone answers from a revision, or a later
// one. It returns at once.
func (m *Member) Acknowledge(revision int64) {
	if m.Alone() {
		return
	}
	m.mu.Lock()
	m.self.Acked = max(m.self.Acked, revision)
	m.mu.Unlock()
	m.kick()
}

// Work tells the others that this node does its share of the work from now on. It
// returns at once.
func (m *Member) Work() {
	if m.Alone() {
		return
	}
	m.mu.Lock()
	m.self.Working = true
	m.mu.Unlock()
	m.kick()
}

// WaitJoined returns once this node is live, or with the context's error.
func (m *Member) WaitJoined(ctx context.Context) error {
	for {
		m.mu.Lock()
		changed := m.changed
		m.mu.Unlock()
		if m.Live() {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("joining the cluster: %w", ctx.Err())
		}
	}
}

// Fall tells the others what of this node's records is about to lose ownership. It
// returns at once.
func (m *Member) Fall(f Falling) {
	if m.Alone() {
		return
	}
	m.mu.Lock()
	news := f.Records != m.self.Falling.Records || f.Fallen != m.self.Falling.Fallen || !slices.Equal(f.Owners, m.self.Falling.Owners)
	m.self.Falling = f
	m.mu.Unlock()
	if news {
		m.kick()
	}
}

// Falling is what other live nodes told by Fall, together: Owners are all that they named.
func (m *Member) Falling() (sum Falling) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for name, n := range m.nodes {
		if name == m.self.Name {
			continue
		}
		sum.Records += n.Falling.Records
		sum.Fallen += n.Falling.Fallen
		sum.Owners = append(sum.Owners, n.Falling.Owners...)
	}
	return sum
}

// publishing writes the node's key whenever it has changed, one write at a time, so that
// what changes meanwhile goes with the next.
func (m *Member) publishing(ctx context.Context) {
	var last string
	for {
		select {
		case <-ctx.Done():
			return
		case <-m.publish:
		}
		m.mu.Lock()
		self := m.self
		m.mu.Unlock()
		h := m.joined.Load()
		if h == nil {
			continue // joining publishes it
		}
		value, err := json.Marshal(self)
		if err != nil || string(value) == last {
			continue
		}
		bounded, cancel := context.WithTimeout(ctx, publishTimeout)
		_, err = h.Write(bounded, store.Op{Key: NodesPrefix + h.name, Value: value, If: store.Any})
		cancel()
		switch {
		case err == nil:
			last = string(value)
		case errors.Is(err, store.ErrSessionEnded):
		default:
			m.kick()
			select {
			case <-ctx.Done():
			case <-time.After(publishPause):
			}
		}
	}
}

// Confirm returns once every live node's zone answers from a revision of the store, or a
// later one; a node whose session ends meanwhile is not waited for. ErrNotLive: this node
// is not live, and what it wrote may be withheld by it. The context's error names the
// nodes that are still waited for.
func (m *Member) Confirm(ctx context.Context, revision int64) error {
	if m.Alone() {
		return nil
	}
	// A node that came before the revision is in the view from then on; one that came
	// after has read it before it was live.
	if err := m.progress.WaitRevision(ctx, revision); err != nil {
		return fmt.Errorf("reading who is live: %w", err)
	}
	for {
		m.mu.Lock()
		changed, behind := m.changed, m.behind(revision)
		m.mu.Unlock()
		switch {
		case !m.Live():
			return ErrNotLive
		case len(behind) == 0:
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("waiting for the zone of node %s, which holds its lease and has not confirmed revision %d: %w", strings.Join(behind, ", "), revision, ctx.Err())
		}
	}
}

// behind are the other live nodes that have not acknowledged a revision, sorted. m.mu is
// held.
func (m *Member) behind(revision int64) (names []string) {
	for name, n := range m.nodes {
		if name != m.self.Name && n.Acked < revision {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}
