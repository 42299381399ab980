package target

import (
	"fmt"
	"net/http"
	"strings"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
)

// Proxy is a target made of Caddy's reverse proxy. It is as healthy as that
// proxy's own active and passive health checks say of its static upstreams;
// dynamic upstreams are unknown until a request and count as healthy.
type Proxy struct {
	Handler *reverseproxy.Handler
}

// Serve proxies the request.
func (p Proxy) Serve(w http.ResponseWriter, r *http.Request, next Next) error {
	return p.Handler.ServeHTTP(w, r, next)
}

// Health is healthy while at least one upstream is. A full upstream is healthy.
func (p Proxy) Health() Health {
	ups := p.Handler.Upstreams
	if len(ups) == 0 {
		return Health{Healthy: true}
	}
	var ill []string
	for _, u := range ups {
		if u.Healthy() {
			return Health{Healthy: true}
		}
		ill = append(ill, u.Dial)
	}
	return Health{Message: fmt.Sprintf("health checks fail for all upstreams (%s)", strings.Join(ill, ", "))}
}

var _ Target = Proxy{}
