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

// Healthy is true while at least one upstream is healthy. A full one is.
func (p Proxy) Healthy() bool {
	ups := p.Handler.Upstreams
	for _, u := range ups {
		if u.Healthy() {
			return true
		}
	}
	return len(ups) == 0
}

// Health is Healthy, whether anything checks that, and which upstreams are not.
func (p Proxy) Health() Health {
	if p.Healthy() {
		return Health{Healthy: true, Unchecked: !p.checked()}
	}
	var ill []string
	for _, u := range p.Handler.Upstreams {
		ill = append(ill, u.Dial)
	}
	return Health{Message: fmt.Sprintf("health checks fail for all upstreams (%s)", strings.Join(ill, ", "))}
}

// checked reports whether an active or a passive health check looks at the
// upstreams that Healthy goes by.
func (p Proxy) checked() bool {
	checks := p.Handler.HealthChecks
	if checks == nil || len(p.Handler.Upstreams) == 0 {
		return false
	}
	return checks.Active != nil && checks.Active.IsEnabled() || checks.Passive != nil && checks.Passive.FailDuration > 0
}

var _ Target = Proxy{}
