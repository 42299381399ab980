package target

import (
	"net/http"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// Gateway is a target made of Caddy handlers. It is healthy as long as it is
// configured: what its handlers do is theirs.
type Gateway struct {
	Handler caddyhttp.MiddlewareHandler
}

// Serve runs the gateway's handlers.
func (g Gateway) Serve(w http.ResponseWriter, r *http.Request, next Next) error {
	return g.Handler.ServeHTTP(w, r, next)
}

// Health is always healthy, and that nothing checks it.
func (Gateway) Health() Health { return Health{Healthy: true, Unchecked: true} }

var _ Target = Gateway{}
