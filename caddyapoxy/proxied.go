package caddyapoxy

import (
	"net/http"
	"strings"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/certmagic"
)

// fromTrustedProxy reports whether the request's peer is one of the server's
// trusted_proxies. Its connection is not the client's then: it carries the
// requests of many clients for many hostnames, and the server name of its TLS
// handshake, if any, is what the proxy calls us.
func fromTrustedProxy(r *http.Request) bool {
	trusted, _ := caddyhttp.GetVar(r.Context(), caddyhttp.TrustedProxyVarKey).(bool)
	return trusted
}

// overTLS reports whether the client came by TLS: as a trusted proxy says in
// X-Forwarded-Proto, else as the connection is. Of several such header fields
// the last counts, as for Caddy's reverse_proxy; of a list in it, to which
// proxies append, the first, which is about the client's own connection.
func overTLS(r *http.Request, trusted bool) bool {
	if trusted {
		if said := r.Header["X-Forwarded-Proto"]; len(said) > 0 {
			scheme, _, _ := strings.Cut(said[len(said)-1], ",")
			switch scheme = strings.TrimSpace(scheme); {
			case strings.EqualFold(scheme, "https"), strings.EqualFold(scheme, "wss"):
				return true
			case strings.EqualFold(scheme, "http"), strings.EqualFold(scheme, "ws"):
				return false
			}
		}
	}
	return r.TLS != nil
}

// answersChallenge answers an HTTP-01 challenge (RFC 8555 section 8.3) that
// Caddy has not recognised before it came to the site, because Caddy looks the
// Host header up as it comes: with the name's final dot (RFC 3986 section 3.2.2)
// or in another case. hostname is r's host in its normal form.
func (h *Handler) answersChallenge(w http.ResponseWriter, r *http.Request, hostname string) bool {
	if !certmagic.LooksLikeHTTPChallenge(r) || r.Host == hostname {
		return false
	}
	tls := h.app.tls.Load()
	if tls == nil {
		return false
	}
	normal := *r
	normal.Host = hostname
	return tls.HandleHTTPChallenge(w, &normal)
}

// withoutFinalDot takes the final dot of the name out of the Host header, and
// out of an X-Forwarded-Host that says the same: to backends and to
// {http.request.host} one host has one name. It changes the request in place, for
// placeholders are read from the request that Caddy began with.
func withoutFinalDot(r *http.Request) {
	r.Host = trimFinalDot(r.Host)
	if said := r.Header["X-Forwarded-Host"]; len(said) > 0 {
		said[len(said)-1] = trimFinalDot(said[len(said)-1])
	}
}

// trimFinalDot returns host, a name with or without a port, without the name's
// final dot.
func trimFinalDot(host string) string {
	name, port := host, ""
	if i := strings.LastIndexByte(host, ':'); i >= 0 {
		name, port = host[:i], host[i:]
	}
	if trimmed := strings.TrimSuffix(name, "."); trimmed != name {
		return trimmed + port
	}
	return host
}
