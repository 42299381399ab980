package tunnel

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

// What a handshake can be refused for.
var (
	errRefused  = errors.New("there is no such tunnel, or the token is not one of its own")
	errTooMany  = errors.New("the tunnel has as many connections as it may: raise max_connections, or end other agents")
	errLeaving  = errors.New("the edge is about to end")
	errNotHTTP1 = errors.New("the handshake needs HTTP/1.1: the edge, or a proxy before it, spoke something else")
)

// Refuse answers the handshake of an agent that no hub is to see, with what an
// unknown token gets: who has no token learns nothing of which tunnels there are.
func Refuse(w http.ResponseWriter) { refuse(w, http.StatusUnauthorized, errRefused) }

func refuse(w http.ResponseWriter, status int, err error) {
	if status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", "Bearer")
	} else {
		w.Header().Set("Retry-After", "5")
	}
	http.Error(w, err.Error(), status)
}

// Accept answers an agent's handshake and takes its connection over; it returns at
// once. A request without a valid token costs one comparison and keeps nothing.
func (h *Hub) Accept(w http.ResponseWriter, r *http.Request) {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	c := &conn{
		hub: h, token: digestOf(strings.TrimSpace(token)), since: time.Now(), idle: make(chan struct{}), cut: make(chan struct{}),
		remote:  r.RemoteAddr,
		agent:   printable(r.Header.Get(headerAgent), 64),
		id:      printable(r.Header.Get(headerAgentID), 64),
		version: printable(strings.TrimPrefix(r.UserAgent(), agentProduct), 64),
	}
	c.said, c.control = io.Pipe()
	h.mu.Lock()
	known := h.allows(c.token)
	h.mu.Unlock()
	switch {
	case !known || !strings.EqualFold(scheme, "Bearer"):
		h.logger.Debug("an agent is refused", "remote", r.RemoteAddr)
		Refuse(w)
		return
	case r.ProtoMajor != 1:
		refuse(w, http.StatusHTTPVersionNotSupported, errNotHTTP1)
		return
	}
	if err := h.add(c); err != nil {
		h.logger.Warn("an agent is refused", "agent", c.agent, "remote", c.remote, "error", err)
		refuse(w, http.StatusServiceUnavailable, err)
		return
	}
	raw, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		h.remove(c)
		refuse(w, http.StatusHTTPVersionNotSupported, errNotHTTP1)
		return
	}
	go c.serve(hijacked{raw, buffered.Reader})
}

// switching is the answer to a handshake.
const switching = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: " + Protocol + "\r\n\r\n"

// hijacked reads first what the server had read already.
type hijacked struct {
	net.Conn
	buffered *bufio.Reader
}

func (c hijacked) Read(p []byte) (int, error) {
	if c.buffered.Buffered() > 0 {
		return c.buffered.Read(p)
	}
	return c.Conn.Read(p)
}
