package caddyapoxy

import (
	"net"
	"net/http"
	"strconv"
	"strings"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// httpsURL is where a plain HTTP request is sent: the same page of hostname
// over https.
func (h *Handler) httpsURL(r *http.Request, hostname string) string {
	var httpPort, httpsPort int
	if app := h.app.http.Load(); app != nil {
		httpPort, httpsPort = app.HTTPPort, app.HTTPSPort
	}
	if port := redirectPort(portOf(r.Host), httpPort, httpsPort); port != "" {
		hostname = net.JoinHostPort(hostname, port)
	}
	uri := r.URL.RequestURI()
	if !strings.HasPrefix(uri, "/") {
		uri = "/" // "*", or what would lead to another host
	}
	return "https://" + hostname + uri
}

// redirectPort is the port in the URL of a redirect to https, empty for none.
// used is the port in the Host header, which is that of the URL that the client
// used (RFC 9110 section 7.2); httpPort and httpsPort are Caddy's http_port and
// https_port, 0 where they have their defaults.
//
// Where Caddy listens is not where its clients knock: a port mapping, a balancer
// or a container's network may lie between. Only a client that has named a
// http_port of its own in its URL is seen to reach Caddy's ports as they are, and
// is sent to https_port. Any other port belongs to a mapping of which the one for
// https is not known, so that its standard port is the best guess, as Caddy's own
// redirects have it.
func redirectPort(used string, httpPort, httpsPort int) string {
	if httpPort == 0 || httpPort == caddyhttp.DefaultHTTPPort || used != strconv.Itoa(httpPort) {
		return ""
	}
	if httpsPort == 0 || httpsPort == caddyhttp.DefaultHTTPSPort {
		return ""
	}
	return strconv.Itoa(httpsPort)
}

// portOf is the port of a Host header, empty if it has none.
func portOf(host string) string {
	if _, port, err := net.SplitHostPort(host); err == nil {
		return port
	}
	return ""
}
