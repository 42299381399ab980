package caddyapoxy

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
	"github.com/apoxy-dev/caddy-apoxy/hosts"
)

// serveRedirect answers a request for a record that is a redirect. hostname is the
// request's host, without port; tls: the client came by TLS.
func serveRedirect(host *hosts.Host, hostname string, tls bool, w http.ResponseWriter, r *http.Request) error {
	requests.count(host, serve)
	location, code, ok := redirect(host.Redirect(), hostname, tls, r)
	if !ok {
		return caddyhttp.Error(http.StatusBadRequest, fmt.Errorf("record %s: the request's host %.80q is no hostname to redirect to", host.Name(), hostname))
	}
	http.Redirect(w, r, location, code)
	return nil
}

// redirect is the Location and the status of the answer to a request, as Gateway API's
// HTTPRequestRedirectFilter has them. The Location is always absolute: its scheme, host
// and port come from the record and, where that leaves them out, from how the request
// came; nothing in path or query can change them. Path and query stay encoded as they
// came (RFC 3986 section 6). ok is false if the host is the client's own invention, below
// a wildcard, and no hostname.
func redirect(d *v1alpha3.TargetRedirect, hostname string, tls bool, r *http.Request) (location string, code int, ok bool) {
	scheme := v1alpha3.SchemeHTTP
	if tls {
		scheme = v1alpha3.SchemeHTTPS
	}
	port, err := strconv.ParseUint(portOf(r.Host), 10, 16)
	if err != nil {
		port = 0 // none, or none that there is
	}
	if d.Scheme != nil {
		scheme, port = *d.Scheme, 0
	}
	if d.Port != nil {
		port = uint64(*d.Port)
	}
	if d.Hostname != nil {
		hostname = *d.Hostname
	}
	if !isHostname(hostname) {
		return "", 0, false
	}
	location = scheme + "://" + hostname
	if port != 0 && port != uint64(v1alpha3.DefaultPort(scheme)) {
		location += ":" + strconv.FormatUint(port, 10)
	}
	location += redirectPath(d.Path, r.URL.EscapedPath())
	if r.URL.RawQuery != "" || r.URL.ForceQuery {
		location += "?" + escaped(r.URL.RawQuery, `"#<>\`)
	}
	return location, d.Code(), true
}

// redirectPath is the path to go to from one that is percent-encoded, and is itself.
// What is replaced as a prefix is "/".
func redirectPath(p *v1alpha3.RedirectPath, path string) string {
	if !strings.HasPrefix(path, "/") {
		path = "/" // that of "OPTIONS *", and none
	}
	switch {
	case p == nil:
	case p.Type == v1alpha3.ReplaceFullPath && p.ReplaceFullPath != nil:
		path = *p.ReplaceFullPath
	case p.Type == v1alpha3.ReplacePrefixMatch && p.ReplacePrefixMatch != nil:
		prefix, rest := *p.ReplacePrefixMatch, path[1:]
		if rest == "" {
			path = prefix
		} else {
			path = strings.TrimSuffix(prefix, "/") + "/" + rest
		}
	}
	if !strings.HasPrefix(path, "/") { // or it would go on with the host's name
		path = "/" + path
	}
	return escaped(path, `"#<>?\`)
}

// escaped percent-encodes what is not printable ASCII, and some more.
func escaped(s, more string) string {
	plain := func(c byte) bool { return c > ' ' && c < 0x7f && strings.IndexByte(more, c) < 0 }
	var b strings.Builder
	for i := range len(s) {
		if plain(s[i]) {
			b.WriteByte(s[i])
		} else {
			fmt.Fprintf(&b, "%%%02X", s[i])
		}
	}
	return b.String()
}

// isHostname reports whether a name in lower case is made of what names in the DNS of
// the web are, underscores included, and so ends the authority of no URL.
func isHostname(s string) bool {
	for i := range len(s) {
		if c := s[i]; !(c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-' || c == '.' || c == '_') {
			return false
		}
	}
	return s != "" && len(s) <= 253
}
