package caddyapoxy

import "testing"

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
