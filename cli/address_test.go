package cli

import (
	"encoding/json"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
)

func TestAddressClient(t *testing.T) {
	for _, c := range []struct{ is, address, base string }{
		{"nothing is Caddy's default", "", "http://localhost:2019"},
		{"host and port", "127.0.0.30:2020", "http://127.0.0.30:2020"},
		{"a host alone has Caddy's default port", "example.net", "http://example.net:2019"},
		{"a port alone is on this machine", ":2020", "http://localhost:2020"},
		{"every interface of IPv4", "0.0.0.0:2020", "http://localhost:2020"},
		{"every interface of IPv6", "[::]:2020", "http://localhost:2020"},
		{"every interface alone", "0.0.0.0", "http://localhost:2019"},
		{"a user and a password", "http://ops:s%3Acret@localhost:2020", "http://localhost:2020"},
		{"a path with an escape", "http://localhost:2020/a%2Fb/", "http://localhost:2020/a%2Fb"},
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

func TestTheSecretOfAnAddressIsNotShown(t *testing.T) {
	for _, address := range []string{"ftp://ops:secret@x", "http://ops:secret@", "http://ops:sec%zzret@x:1", "http://ops:secret@:1"} {
		if _, _, err := AddressClient(address); err == nil || strings.Contains(err.Error(), "sec") {
			t.Errorf("%s: %v", address, err)
		}
	}
}

// admin answers as Caddy's admin endpoint checks requests, which it tells of.
func admin(t *testing.T, network, listen string, check func(*http.Request) (code int, says string)) (address string, seen chan *http.Request) {
	t.Helper()
	ln, err := net.Listen(network, listen)
	if err != nil {
		t.Fatal(err)
	}
	seen = make(chan *http.Request, 10)
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		r.Body = io.NopCloser(strings.NewReader(string(body)))
		select {
		case seen <- r:
		default: // nobody looks at so many
		}
		code, says := check(r)
		w.WriteHeader(code)
		json.NewEncoder(w).Encode(map[string]any{"error": says})
	})}
	go srv.Serve(ln)
	t.Cleanup(func() { srv.Close() })
	return ln.Addr().String(), seen
}

func TestNoOriginIsSentThatNobodyAskedFor(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	for _, network := range []string{"unix", "tcp"} {
		listen := map[string]string{"unix": path, "tcp": "127.0.0.1:0"}[network]
		address, seen := admin(t, network, listen, func(*http.Request) (int, string) { return 200, "" })
		host := address
		if network == "unix" {
			address, host = "unix/"+path, "127.0.0.1"
		}
		client, base, err := AddressClient(address)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := client.Get(base)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if r := <-seen; r.Host != host || r.Header.Get("Origin") != "" {
			t.Errorf("%s: host %q, origin %q", network, r.Host, r.Header.Get("Origin"))
		}
	}
}

func TestAnEnforcedOriginIsSent(t *testing.T) {
	var allowed atomic.Value
	listens, _ := admin(t, "tcp", "127.0.0.1:0", func(r *http.Request) (int, string) {
		if r.Header.Get("Origin") != allowed.Load() {
			return 403, "client is not allowed to access from origin '" + r.Header.Get("Origin") + "'"
		}
		body, _ := io.ReadAll(r.Body)
		return 200, string(body)
	})
	_, port, _ := net.SplitHostPort(listens)
	for _, address := range []string{"127.0.0.1:" + port, ":" + port, "http://127.0.0.1:" + port} {
		for _, c := range []struct {
			allowed string
			code    int
		}{{"http://127.0.0.1:" + port, 200}, {"http://:" + port, 200}, {"http://elsewhere", 403}} {
			allowed.Store(c.allowed)
			client, base, err := AddressClient(address)
			if err != nil {
				t.Fatal(err)
			}
			isOwn := c.allowed == "http://"+strings.TrimPrefix(address, "http://") || base == c.allowed
			for range 2 { // the second goes right at once, or wrong again
				resp, err := client.Post(base, "text/plain", strings.NewReader("hello"))
				if err != nil {
					t.Fatal(err)
				}
				body, _ := io.ReadAll(resp.Body)
				resp.Body.Close()
				want, says := 403, "not allowed to access"
				if c.code == 200 && isOwn {
					want, says = 200, "hello"
				}
				if resp.StatusCode != want || !strings.Contains(string(body), says) {
					t.Errorf("%s, of which %s is allowed: %d %s", address, c.allowed, resp.StatusCode, body)
				}
			}
		}
	}
}

func TestCredentialsAreSentToTheirHostAlone(t *testing.T) {
	other, seenThere := admin(t, "tcp", "127.0.0.1:0", func(*http.Request) (int, string) { return 200, "" })
	address, seen := admin(t, "tcp", "127.0.0.1:0", func(*http.Request) (int, string) { return 200, "" })
	client, base, err := AddressClient("http://ops:s%3Acret@" + address)
	if err != nil {
		t.Fatal(err)
	}
	for _, url := range []string{base, "http://" + other} {
		resp, err := client.Get(url)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
	}
	if user, password, _ := (<-seen).BasicAuth(); user != "ops" || password != "s:cret" {
		t.Errorf("sent are %q and %q", user, password)
	}
	if r := <-seenThere; r.Header.Get("Authorization") != "" {
		t.Errorf("another host is sent %q", r.Header.Get("Authorization"))
	}
}
