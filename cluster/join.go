package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/apoxy-dev/caddy-apoxy/store"
)

const (
	// joinPause is between two tries to join; it doubles up to joinPauseMost.
	joinPause     = 100 * time.Millisecond
	joinPauseMost = 2 * time.Second
	// joinTimeout bounds one try, the catching up of the zone among it.
	joinTimeout = 30 * time.Second
	// leaveTimeout bounds the giving back of the session.
	leaveTimeout = 2 * time.Second
)

// Run keeps this node in the cluster until the context ends; then its session is given
// back, so that others take its work at once.
func (m *Member) Run(ctx context.Context) error {
	if m.Alone() {
		return nil
	}
	running.Store(m)
	defer func() { running.CompareAndSwap(m, nil) }()
	var work sync.WaitGroup
	defer work.Wait()
	work.Go(func() { m.follow(ctx) })
	work.Go(func() { m.publishing(ctx) })
	work.Go(func() { m.receive(ctx) })
	work.Go(func() { m.deliver(ctx) })
	var said string // the last failure, so that each is logged once
	for pause := joinPause; ctx.Err() == nil; {
		err := m.join(ctx)
		if err == nil {
			pause, said = joinPause, ""
			m.stay(ctx)
			continue
		}
		if ctx.Err() != nil {
			break
		}
		if err.Error() != said {
			said = err.Error()
			m.cfg.Logger.Warn("joining the cluster failed and is tried again; until then this node answers SERVFAIL for challenges and obtains no certificates",
				zap.String("node", m.cfg.Name()), zap.Error(err))
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
		pause = min(2*pause, joinPauseMost)
	}
	m.leave()
	return nil
}

// join begins a session, takes the node's place, and is live once the zone has caught up
// with that.
func (m *Member) join(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, joinTimeout)
	defer cancel()
	name := m.cfg.Name()
	s, err := m.sessions.Begin(ctx, m.cfg.TTL)
	if err != nil {
		return fmt.Errorf("beginning a session: %w", err)
	}
	h := &hold{Session: s, name: name}
	revision, err := m.claim(ctx, h)
	if err == nil {
		m.mu.Lock()
		m.held = h // locks may be taken from now on
		m.change()
		m.mu.Unlock()
		err = m.catchUp(ctx, h, revision)
	}
	if err != nil {
		m.drop(h)
		return err
	}
	m.cfg.Logger.Info("this node is live in the cluster", zap.String("node", name), zap.Int64("revision", revision))
	return nil
}

// claim writes the node's key. Who stands there is sent away if it is this installation's
// former process, and waited for otherwise.
func (m *Member) claim(ctx context.Context, h *hold) (revision int64, err error) {
	m.mu.Lock()
	m.self.Name, m.self.Session = h.name, h.ID()
	self := m.self
	m.mu.Unlock()
	value, err := json.Marshal(self)
	if err != nil {
		return 0, err
	}
	key := NodesPrefix + h.name
	for range 5 {
		kv, _, err := m.cfg.Store.Get(ctx, key)
		switch {
		case errors.Is(err, store.ErrNotFound):
		case err != nil && !errors.Is(err, store.ErrDamaged):
			return 0, fmt.Errorf("reading who is node %s: %w", h.name, err)
		default:
			other, readable := decodeNode(kv)
			if !readable || !m.replaces(other) {
				return 0, fmt.Errorf("another process is live as node %s (installation %.60q, version %.60q): give each node a name of its own with `node`, or wait until its lease is over", h.name, other.Instance, other.Version)
			}
			if err := m.sessions.End(ctx, other.Session); err != nil {
				return 0, fmt.Errorf("ending the session of this node's former process: %w", err)
			}
		}
		revision, err = h.Write(ctx, store.Op{Key: key, Value: value, If: store.Absent})
		if conflict := (*store.ConflictError)(nil); errors.As(err, &conflict) {
			continue // it is looked at again
		}
		if err != nil {
			return 0, fmt.Errorf("taking the place of node %s: %w", h.name, err)
		}
		return revision, m.register(ctx, self)
	}
	return 0, fmt.Errorf("taking the place of node %s: others take it all the time: give each node a name of its own with `node`", h.name)
}

// replaces reports whether this process takes the place of the one that stands there: one
// of the same installation that has not taken this one's place itself.
func (m *Member) replaces(other Node) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return other.Process == m.self.Process || other.Instance == m.cfg.Instance && !m.ousted
}

func decodeNode(kv store.KeyValue) (n Node, ok bool) {
	ok = kv.Err == nil && json.Unmarshal(kv.Value, &n) == nil && n.Session != ""
	return n, ok
}

// catchUp has the zone answer from what the store held when the node came, says so, and
// takes the node's share of the work.
func (m *Member) catchUp(ctx context.Context, h *hold, revision int64) error {
	if err := m.cfg.CaughtUp(ctx, revision); err != nil {
		return fmt.Errorf("catching up with the store: %w", err)
	}
	if err := m.progress.WaitRevision(ctx, revision); err != nil {
		return fmt.Errorf("reading who is live: %w", err)
	}
	m.mu.Lock()
	m.self.Acked = max(m.self.Acked, revision)
	m.joined.Store(h)
	moved := m.reshare()
	m.change()
	m.mu.Unlock()
	m.kick()
	if moved {
		m.cfg.OnShares()
	}
	return nil
}

// stay returns when the session is over, or the context, or the node has another name.
func (m *Member) stay(ctx context.Context) {
	m.mu.Lock()
	h := m.held
	m.mu.Unlock()
	rename := time.NewTicker(time.Second)
	defer rename.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-h.Ended():
			m.mu.Lock()
			m.ousted = m.otherProcess(h.name)
			m.mu.Unlock()
			m.cfg.Logger.Warn("this node has lost its lease; it answers SERVFAIL for challenges and obtains no certificates until it has one again", zap.String("node", h.name))
			m.drop(h)
			return
		case <-rename.C:
			if m.cfg.Name() != h.name {
				m.drop(h)
				return
			}
		}
	}
}

// otherProcess reports whether another process of this installation is node name now, as
// far as was heard. m.mu is held.
func (m *Member) otherProcess(name string) bool {
	n, ok := m.nodes[name]
	return ok && n.Process != m.self.Process && n.Instance == m.cfg.Instance
}

// drop lets go of a session.
func (m *Member) drop(h *hold) {
	m.mu.Lock()
	if m.held == h {
		m.held = nil
		m.joined.Store(nil)
		m.change()
	}
	m.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), leaveTimeout)
	defer cancel()
	if err := h.Close(ctx); err != nil && !errors.Is(err, store.ErrSessionEnded) && !errors.Is(err, store.ErrClosed) {
		m.cfg.Logger.Warn("giving back this node's lease failed; others take it for live until it is over", zap.String("node", h.name), zap.Error(err))
	}
}

// leave gives the session back.
func (m *Member) leave() {
	m.mu.Lock()
	h := m.held
	m.mu.Unlock()
	if h != nil {
		m.drop(h)
	}
}
