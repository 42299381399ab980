package caddyapoxy

import (
	"net/http/httptest"
	"testing"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

func TestRedirectPort(t *testing.T) {
	for _, c := range []struct {
		name        string
		host        string
		http, https int // http_port and https_port, 0: not configured
		want        string
	}{
		{"the standard ports", "shop.example.com", 0, 0, ""},
		{"the standard port, written out", "shop.example.com:80", 0, 0, ""},
		{"the standard port, written out and configured", "shop.example.com:80", 80, 443, ""},
		{"standard ports mapped to Caddy's", "shop.example.com", 8080, 8443, ""},
		{"standard ports mapped to Caddy's, written out", "shop.example.com:80", 8080, 8443, ""},
		{"https alone is mapped", "shop.example.com", 80, 8443, ""},
		{"https alone is mapped, the port is written out", "shop.example.com:80", 80, 8443, ""},
		{"the client reaches Caddy's own ports", "shop.example.com:8080", 8080, 8443, "8443"},
		{"the client reaches Caddy's own ports by a name with a final dot", "shop.example.com.:8080", 8080, 8443, "8443"},
		{"https has its standard port", "shop.example.com:8080", 8080, 443, ""},
		{"https has its standard port by default", "shop.example.com:8080", 8080, 0, ""},
		{"a mapped port that nobody knows of", "shop.example.com:12345", 8080, 8443, ""},
		{"a mapped port before the standard ones", "shop.example.com:12345", 0, 0, ""},
		{"the https port in plain HTTP", "shop.example.com:8443", 8080, 8443, ""},
		{"no port after the colon", "shop.example.com:", 8080, 8443, ""},
		{"no host at all", "", 8080, 8443, ""},
	} {
		if got := redirectPort(portOf(c.host), c.http, c.https); got != c.want {
			t.Errorf("%s: http://%s/ with http_port %d and https_port %d leads to port %q, want %q", c.name, c.host, c.http, c.https, got, c.want)
		}
	}
}

// The story of examples/Caddyfile: its ports are told by nobody but the client.
func TestRedirectGoesToThePortsOfTheConfiguration(t *testing.T) {
	h := &Handler{app: new(App)}
	h.app.http.Store(&caddyhttp.App{HTTPPort: 8080, HTTPSPort: 8443})
	for url, want := range map[string]string{
		"http://shop.customer.test:8080/a?b=c": "https://shop.customer.test:8443/a?b=c",
		"http://shop.customer.test/a?b=c":      "https://shop.customer.test/a?b=c",
	} {
		if got := h.httpsURL(httptest.NewRequest("GET", url, nil), "shop.customer.test"); got != want {
			t.Errorf("%s leads to %s, want %s", url, got, want)
		}
	}
}
