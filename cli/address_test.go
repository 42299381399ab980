package cli

import (
	"encoding/json"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
)

func TestAddressClient(t *testing.T) {
	for _, c := range []struct{ is, address, base string }{
		{"nothing is Caddy's default", "", "http://localhost:2019"},
		{"host and port", "127.0.0.30:2020", "http://127.0.0.30:2020"},
		{"a host alone has Caddy's default port", "example.net", "http://example.net:2019"},
		{"a port alone is on this machine", ":2020", "http://localhost:2020"},
		{"an IPv6 address and a port", "[::1]:2020", "http://[::1]:2020"},
		{"an IPv6 address alone", "::1", "http://[::1]:2019"},
		{"a network in front", "tcp/localhost:2020", "http://localhost:2020"},
		{"a URL", "http://localhost:2020/", "http://localhost:2020"},
		{"an https URL", "https://admin.example.net", "https://admin.example.net"},
		{"a socket", "unix//run/caddy.sock", "http://127.0.0.1"},
		{"a socket with permission bits", "unix//run/caddy.sock|0220", "http://127.0.0.1"},
	} {
		t.Run(c.is, func(t *testing.T) {
			client, base, err := AddressClient(c.address)
			if err != nil || base != c.base || client == nil {
				t.Errorf("%q, %v; want %q", base, err, c.base)
			}
		})
	}
	for _, c := range []struct{ is, address string }{
		{"another scheme", "ftp://x"},
		{"a URL without a host", "http://"},
		{"a network that Caddy's endpoint does not have", "udp/localhost:1"},
		{"a socket without a path", "unix/"},
		{"a host with a space", "a b"},
	} {
		t.Run(c.is, func(t *testing.T) {
			if _, base, err := AddressClient(c.address); err == nil || !strings.Contains(err.Error(), "the address ") {
				t.Errorf("%q, %v", base, err)
			}
		})
	}
}

func TestASocketIsAskedWithoutAnOriginAndOthersWithTheirs(t *testing.T) {
	seen := make(chan *http.Request, 1)
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen <- r
		json.NewEncoder(w).Encode(map[string]any{})
	})}
	path := filepath.Join(t.TempDir(), "s")
	for _, c := range []struct{ network, listen, address, host, origin string }{
		{"unix", path, "unix/" + path, "127.0.0.1", ""},
		{"tcp", "127.0.0.1:0", "", "", ""},
	} {
		ln, err := net.Listen(c.network, c.listen)
		if err != nil {
			t.Fatal(err)
		}
		go srv.Serve(ln)
		if c.network == "tcp" {
			c.address = ln.Addr().String()
			c.host, c.origin = c.address, "http://"+c.address
		}
		client, base, err := AddressClient(c.address)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := client.Get(base)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if r := <-seen; r.Host != c.host || r.Header.Get("Origin") != c.origin {
			t.Errorf("%s: host %q, origin %q", c.network, r.Host, r.Header.Get("Origin"))
		}
	}
	srv.Close()
}
