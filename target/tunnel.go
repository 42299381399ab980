package target

import (
	"errors"
	"net/http"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"

	"github.com/apoxy-dev/caddy-apoxy/tunnel"
)

// Agents is what a Tunnel knows of the agents that serve it.
type Agents interface {
	// Health tells whether a request would be answered, and says who serves or
	// why nobody does, in a sentence without a final full stop.
	Health() (well bool, message string)
}

// Tunnel is a target that agents serve, who have connected from beside the backend:
// Caddy's reverse proxy, with a transport that leads to them.
type Tunnel struct {
	Handler *reverseproxy.Handler
	Agents  Agents
}

// Serve proxies the request. While no agent can take it, the answer is 503 with
// Retry-After.
func (t Tunnel) Serve(w http.ResponseWriter, r *http.Request, next Next) error {
	err := t.Handler.ServeHTTP(w, r, next)
	if errors.Is(err, tunnel.ErrNoAgent) || errors.Is(err, tunnel.ErrBusy) {
		w.Header().Set("Retry-After", "5")
	}
	return err
}

// Health is that of the agents and their origins.
func (t Tunnel) Health() Health {
	well, message := t.Agents.Health()
	return Health{Healthy: well, Message: message}
}

var _ Target = Tunnel{}
