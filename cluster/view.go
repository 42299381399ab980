package cluster

import (
	"context"
	"encoding/json"
	"slices"
	"strings"

	"go.uber.org/zap"

	"github.com/apoxy-dev/caddy-apoxy/store"
)

// follow keeps the view of who is live until the context ends or the store is closed.
func (m *Member) follow(ctx context.Context) {
	var gone map[string]bool
	_ = store.Follow(ctx, m.cfg.Store, store.Follower{
		Prefix: NodesPrefix, Strict: true,
		Begin: func() { gone = m.known() },
		Page: func(page []store.KeyValue) {
			for i := range page {
				name := strings.TrimPrefix(page[i].Key, NodesPrefix)
				delete(gone, name)
				m.take(name, page[i].Value, page[i].Err != nil)
			}
		},
		End: func(int64) {
			for name := range gone {
				m.take(name, nil, false)
			}
			gone = nil
		},
		Change:  func(e *store.Event) { m.take(strings.TrimPrefix(e.Key, NodesPrefix), e.Value, e.Err != nil) },
		Reached: m.progress.Reach,
		Failed: func(err error) {
			m.cfg.Logger.Warn("following who is live in the cluster failed and is tried again", zap.Error(err))
		},
	})
}

// known are the nodes that memory has.
func (m *Member) known() map[string]bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	names := map[string]bool{}
	for n := range m.nodes {
		names[n] = true
	}
	return names
}

// take takes what the store has of a node into memory; nil and not damaged: it is gone.
// One that cannot be read is live all the same: it may be of a later version.
func (m *Member) take(name string, value []byte, damaged bool) {
	live := value != nil || damaged
	var n Node
	if err := json.Unmarshal(value, &n); err != nil || n.Name != name {
		n = Node{Name: name}
	}
	m.mu.Lock()
	before, was := m.nodes[name]
	if live {
		m.nodes[name] = n
	} else {
		delete(m.nodes, name)
	}
	moved := m.reshare()
	m.change()
	m.mu.Unlock()
	if was != live || before.Process != n.Process && live {
		m.cfg.Logger.Info("the cluster has changed", zap.String("node", name), zap.Bool("live", live))
	}
	if moved {
		m.cfg.OnShares()
	}
}

// reshare shares the work out anew among those that work, if this node is live; a node
// counts itself before it works, so that it knows what will be its own. It reports
// whether that changes anything. m.mu is held.
func (m *Member) reshare() bool {
	h := m.present()
	if h == nil {
		return false
	}
	names := make([]string, 0, len(m.nodes))
	for name, n := range m.nodes {
		if n.Working || name == h.name {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	if before := m.shares.Load(); !slices.Contains(names, h.name) || before != nil && slices.Equal(names, *before) {
		return false
	}
	m.shares.Store(&names)
	return true
}
