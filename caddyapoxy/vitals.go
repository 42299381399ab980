package caddyapoxy

import (
	"crypto/tls"
	"net"
	"net/http"
	"sync/atomic"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/apoxy-dev/caddy-apoxy/controller"
	"github.com/apoxy-dev/caddy-apoxy/dnsprovider"
	"github.com/apoxy-dev/caddy-apoxy/vitals"
)

// tlsConnections counts the TLS connections that clients have opened over TCP at servers
// with the handler apoxy: each begins with a handshake, and each handshake has one. Those
// of HTTP/3 are not known to Caddy's HTTP app.
var tlsConnections atomic.Uint64

// countConnections has those of the server that is being provisioned counted, once for
// each server.
func (a *App) countConnections(ctx caddy.Context) {
	srv, ok := ctx.Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server)
	if !ok || a.counted[srv] {
		return
	}
	if a.counted == nil {
		a.counted = map[*caddyhttp.Server]bool{}
	}
	a.counted[srv] = true
	srv.RegisterConnState(countConnection)
}

// countConnection hears of every change of a connection's state: it must cost nothing.
func countConnection(c net.Conn, state http.ConnState) {
	if state != http.StateNew {
		return
	}
	if _, ok := c.(*tls.Conn); ok {
		tlsConnections.Add(1)
	}
}

// newVitals is what remembers the last hour of this process.
func newVitals() *vitals.Recorder {
	return vitals.New(nil,
		vitals.Source{Name: "looks", Count: vitals.Sum("apoxy_check_duration_seconds", controller.Collectors()...)},
		vitals.Source{Name: "TLS connections", Count: func() float64 { return float64(tlsConnections.Load()) }},
		vitals.Source{Name: "requests", Count: vitals.Sum("apoxy_requests_total", requestsTotal)},
		vitals.Source{Name: "DNS queries", Count: vitals.Sum("apoxy_dns_queries_total", dnsprovider.Collectors()...)},
	)
}
