package cluster

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/apoxy-dev/caddy-apoxy/store"
)

// The keys of the cluster in the store.
const (
	NodesPrefix   = "nodes/"
	MailPrefix    = "mail/"
	MembersPrefix = "members/"
)

// DefaultTTL is how long a node that crashed still counts as live.
const DefaultTTL = 4 * time.Second

// ErrNotLive: this node does not hold its session with the store.
var ErrNotLive = errors.New("this node does not hold its lease in the store")

// Config is what a Member works with. Store and Name are required.
type Config struct {
	// Store is shared by the nodes. Over an engine without store.Sessions the member is
	// alone.
	Store store.Store
	// Name returns the node's name, unique in the cluster, as it is configured now.
	Name func() string
	// Instance tells this machine's installation from others, over restarts, so that a
	// node that is started again takes its place back at once.
	Instance string
	// Version is the software's, for operators.
	Version string
	// CaughtUp returns once queries are answered from the store's state at a revision or
	// a later one. Default: at once.
	CaughtUp func(ctx context.Context, revision int64) error
	// OnShares is called when work has changed hands. It must return soon.
	OnShares func()
	// OnMail is called for each message from another node, in the order that one wrote
	// them in. It must return soon.
	OnMail func(from string, m Mail)
	// TTL is how long a session outlasts a crash. Default: DefaultTTL.
	TTL time.Duration
	// Logger. Default: none.
	Logger *zap.Logger
}

// Node is a live node as the store has it.
type Node struct {
	Name string `json:"name"`
	// Instance and Process tell installations and processes apart.
	Instance string `json:"instance"`
	Process  string `json:"process"`
	// Session is the ID of the session that the node holds.
	Session string    `json:"session"`
	Version string    `json:"version,omitempty"`
	Started time.Time `json:"started"`
	// Working: it does its share of the work.
	Working bool `json:"working,omitempty"`
	// Acked is the revision up to which the node's zone answers, of what others wait for.
	Acked int64 `json:"acked"`
	// Falling are the node's records that are about to lose ownership.
	Falling Falling `json:"falling,omitzero"`
}

// Falling tells of the verified records that are about to lose ownership, or just have.
type Falling struct {
	// Records is how many these are, and Fallen how many of them have lost it.
	Records int `json:"records,omitempty"`
	Fallen  int `json:"fallen,omitempty"`
	// Owners are two of their owners, or all if there are fewer, as opaque hashes.
	Owners []uint64 `json:"owners,omitempty"`
}

// Member is this process's place in the cluster. All methods are safe for concurrent use.
type Member struct {
	cfg      Config
	sessions store.Sessions // nil: alone
	post     *post
	progress store.Progress // of nodes

	// What each query for a challenge, and each hint, asks: no lock is taken for it.
	joined atomic.Pointer[hold]     // held, once its zone has caught up; nil: this node is in no cluster
	shares atomic.Pointer[[]string] // this node and those that work, sorted, as last seen while this one was live

	mu      sync.Mutex
	held    *hold // the session and what was joined with it; nil: none
	ousted  bool  // another process of this installation has taken the node's place
	self    Node  // as it is to be published
	nodes   map[string]Node
	changed chan struct{} // closed when any of it changes
	publish chan struct{} // has a token when self is to be published
}

// hold is a session and the name that it was joined under.
type hold struct {
	store.Session
	name string
}

// New returns the member. It joins when Run is called.
func New(cfg Config) *Member {
	if cfg.Logger == nil {
		cfg.Logger = zap.NewNop()
	}
	if cfg.TTL <= 0 {
		cfg.TTL = DefaultTTL
	}
	if cfg.CaughtUp == nil {
		cfg.CaughtUp = func(context.Context, int64) error { return nil }
	}
	if cfg.OnShares == nil {
		cfg.OnShares = func() {}
	}
	if cfg.OnMail == nil {
		cfg.OnMail = func(string, Mail) {}
	}
	return &Member{
		cfg: cfg, sessions: store.SessionsOf(cfg.Store), post: newPost(),
		self:    Node{Instance: cfg.Instance, Process: rand.Text(), Version: cfg.Version, Started: time.Now().UTC().Truncate(time.Second)},
		nodes:   map[string]Node{},
		changed: make(chan struct{}), publish: make(chan struct{}, 1),
	}
}

// Alone reports whether the store belongs to this process.
func (m *Member) Alone() bool { return m.sessions == nil }

// Name is this node's.
func (m *Member) Name() string { return m.cfg.Name() }

// Started is when this process became a member.
func (m *Member) Started() time.Time { return m.self.Started }

// Live reports whether this node is in the cluster at this moment. Other nodes do not
// see it gone before it reports false.
func (m *Member) Live() bool { return m.Alone() || m.present() != nil }

// present is what this node is live by; nil: it is not live.
func (m *Member) present() *hold {
	if h := m.joined.Load(); h != nil && time.Now().Before(h.Until()) {
		return h
	}
	return nil
}

// Term names the stretch of time through which this node has been live without a break;
// empty: it is not live.
func (m *Member) Term() string {
	if m.Alone() {
		return "ever"
	}
	h := m.present()
	if h == nil {
		return ""
	}
	return h.ID()
}

// Session returns the session that this node is live by, for what is to vanish with it.
// ErrNotLive: there is none.
func (m *Member) Session() (store.Session, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.held == nil || !time.Now().Before(m.held.Until()) {
		return nil, ErrNotLive
	}
	return m.held.Session, nil
}

// Owner is the live node that works on key; "": none is known yet.
func (m *Member) Owner(key string) string {
	shares := m.shares.Load()
	if shares == nil {
		return ""
	}
	return Share(*shares, key)
}

// Mine reports whether this node works on key. Before this node has joined once, nothing
// is its own; while it is not live, what was stays so.
func (m *Member) Mine(key string) bool {
	return m.Alone() || m.Owner(key) == m.cfg.Name()
}

// Nodes are the live nodes by name, sorted.
func (m *Member) Nodes() []Node {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.SortedFunc(maps.Values(m.nodes), func(a, b Node) int { return cmp.Compare(a.Name, b.Name) })
}

// change wakes those who wait for the view. m.mu is held.
func (m *Member) change() {
	close(m.changed)
	m.changed = make(chan struct{})
}
