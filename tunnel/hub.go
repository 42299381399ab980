package tunnel

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// ErrNoAgent is returned for a request while no agent is connected.
var ErrNoAgent = errors.New("no agent is connected to the tunnel")

// ErrBusy is returned for a request over the tunnel's limit of requests under way.
var ErrBusy = errors.New("the tunnel has as many requests under way as it may")

// Hub is the edge's side of one tunnel: it takes in agents' connections and sends
// requests through them, each through the one with the fewest under way. It is an
// http.RoundTripper, safe for concurrent use.
type Hub struct {
	timing    Timing
	logger    *slog.Logger
	transport *http.Transport

	streams    atomic.Int64 // under way
	maxStreams atomic.Int64
	turn       atomic.Uint32
	live       atomic.Pointer[[]*conn] // those that may be chosen

	mu       sync.Mutex
	grants   []*grant
	conns    []*conn // all, also those being given up
	closed   bool
	lastLeft time.Time
	work     sync.WaitGroup
}

// NewHub returns the hub of a tunnel, which lets nobody in until Allow. A nil
// logger logs nothing.
func NewHub(logger *slog.Logger, timing Timing) *Hub {
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	h := &Hub{timing: timing.withDefaults(5 * time.Second), logger: logger}
	h.live.Store(new([]*conn))
	h.transport = &http.Transport{
		Protocols:              h2only(),
		DisableCompression:     true,
		MaxResponseHeaderBytes: maxHeaderBytes,
		ExpectContinueTimeout:  time.Minute,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return ctx.Value(connKey{}).(net.Conn), nil
		},
		HTTP2: &http.HTTP2Config{
			MaxReceiveBufferPerConnection: connectionWindow,
			MaxReceiveBufferPerStream:     streamWindow,
			MaxReadFrameSize:              frameSize,
			SendPingTimeout:               h.timing.PingAfter,
			PingTimeout:                   h.timing.PingTimeout,
		},
	}
	return h
}

// connKey is under what a context holds the connection that the transport is to use.
type connKey struct{}

// Close gives up all connections, those with requests under way after the time
// that Timing.Drain says, and returns once they are closed.
func (h *Hub) Close() error {
	h.mu.Lock()
	h.closed = true
	conns := slices.Clone(h.conns)
	h.mu.Unlock()
	for _, c := range conns {
		c.drain(h.timing.Drain)
	}
	h.work.Wait()
	return nil
}

// choose returns the connection that is to carry a request: of those whose origin
// answers, or if there is none of all, the one with the fewest requests under way
// that is not in not.
func (h *Hub) choose(not []*conn) *conn {
	live := *h.live.Load()
	if len(live) == 0 {
		return nil
	}
	var best *conn
	var least int64
	var well bool
	first := int(h.turn.Add(1)) % len(live)
	for i := range live {
		c := live[(first+i)%len(live)]
		if len(not) > 0 && slices.Contains(not, c) {
			continue
		}
		n, ok := c.streams.Load(), c.ill.Load() == nil
		if best == nil || ok && !well || ok == well && n < least {
			best, least, well = c, n, ok
		}
	}
	return best
}

// add takes a connection in; an error says why not.
func (h *Hub) add(c *conn) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case h.closed:
		return errLeaving
	case !h.allows(c.token): // withdrawn since it was looked at
		return errRefused
	case len(h.conns) >= h.grants[len(h.grants)-1].connections:
		return errTooMany
	}
	h.conns = append(h.conns, c)
	h.work.Add(1)
	return nil
}

// remove forgets a connection that is closed.
func (h *Hub) remove(c *conn) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.conns = slices.DeleteFunc(h.conns, func(o *conn) bool { return o == c })
	h.lastLeft = time.Now()
	h.publish()
	h.work.Done()
}

// changed lets a connection that has become ready be chosen, and one that is being
// given up no longer.
func (h *Hub) changed() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.publish()
}

// publish is changed under h.mu.
func (h *Hub) publish() {
	live := make([]*conn, 0, len(h.conns))
	for _, c := range h.conns {
		if c.ready.Load() && !c.leaving.Load() {
			live = append(live, c)
		}
	}
	h.live.Store(&live)
}

var _ http.RoundTripper = (*Hub)(nil)
