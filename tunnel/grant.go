package tunnel

import (
	"crypto/subtle"
	"errors"
	"slices"
	"strings"
	"sync"
)

// Grant is what one definition of a tunnel allows.
type Grant struct {
	// Tokens are the secrets of which an agent must know one. At least one.
	Tokens []string
	// MaxConnections is how many connections of agents there may be at once.
	// Default: 64.
	MaxConnections int
	// MaxStreams is how many requests may be under way through the tunnel at
	// once, WebSockets included. Default: 4000.
	MaxStreams int
}

const (
	defaultConnections = 64
	defaultStreams     = 4000
)

// grant is a Grant in force.
type grant struct {
	tokens               []digest
	connections, streams int
}

// Allow adds a grant to what the hub allows. All tokens of all grants are valid;
// the limits are those of the newest. withdraw takes the grant back, once: agents
// that came with a token which no other grant has are dropped then.
func (h *Hub) Allow(g Grant) (withdraw func(), err error) {
	if len(g.Tokens) == 0 {
		return nil, errors.New("a tunnel needs a token, such as `token {env.TUNNEL_TOKEN}`")
	}
	in := &grant{connections: g.MaxConnections, streams: g.MaxStreams}
	for _, token := range g.Tokens {
		if token == "" || strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }) {
			return nil, errors.New("a token must be printable ASCII without spaces, and not empty")
		}
		in.tokens = append(in.tokens, digestOf(token))
	}
	if in.connections <= 0 {
		in.connections = defaultConnections
	}
	if in.streams <= 0 {
		in.streams = defaultStreams
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.grants = append(h.grants, in)
	h.limit()
	return sync.OnceFunc(func() { h.withdraw(in) }), nil
}

func (h *Hub) withdraw(g *grant) {
	h.mu.Lock()
	h.grants = slices.DeleteFunc(h.grants, func(o *grant) bool { return o == g })
	h.limit()
	var out []*conn
	for _, c := range h.conns {
		if !h.allows(c.token) {
			out = append(out, c)
		}
	}
	h.mu.Unlock()
	for _, c := range out {
		h.logger.Info("an agent is dropped: its token is no longer valid", "agent", c.agent, "remote", c.remote)
		c.drain(h.timing.Drain)
	}
}

// limit puts the newest grant's limits into force. Under h.mu.
func (h *Hub) limit() {
	if n := len(h.grants); n > 0 {
		h.maxStreams.Store(int64(h.grants[n-1].streams))
	}
}

// allows compares a token with all that are valid, in a time that does not depend
// on which of them it resembles. Under h.mu.
func (h *Hub) allows(token digest) bool {
	found := 0
	for _, g := range h.grants {
		for i := range g.tokens {
			found |= subtle.ConstantTimeCompare(token[:], g.tokens[i][:])
		}
	}
	return found == 1
}
