package cli

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
)

// DefaultAddress is where Caddy's admin endpoint listens by default.
const DefaultAddress = "localhost:2019"

// AddressClient returns the client and base URL for an address of Caddy's admin
// endpoint as its --address flag takes them: host:port, tcp/host:port,
// unix//path/to/socket (permission bits behind a | are ignored), or a URL. An
// empty address is DefaultAddress.
func AddressClient(address string) (*http.Client, string, error) {
	if address == "" {
		address = DefaultAddress
	}
	if strings.Contains(address, "://") {
		u, err := url.Parse(address)
		if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
			return nil, "", fmt.Errorf("the address %s is no URL of an admin endpoint: give host:port, unix//path or http://host:port", quote(address))
		}
		base := u.Scheme + "://" + u.Host + strings.TrimSuffix(u.Path, "/")
		return newClient("tcp", "", u.Scheme+"://"+u.Host), base, nil
	}
	network, rest, ok := strings.Cut(address, "/")
	if !ok {
		network, rest = "tcp", address
	}
	switch network {
	case "tcp", "tcp4", "tcp6":
		hostPort, err := withPort(rest)
		if err != nil {
			return nil, "", fmt.Errorf("the address %s is no host:port: %w", quote(address), err)
		}
		return newClient(network, "", "http://"+hostPort), "http://" + hostPort, nil
	case "unix":
		path, _, _ := strings.Cut(rest, "|")
		if path == "" {
			return nil, "", fmt.Errorf("the address %s names no socket: give unix//path/to/socket", quote(address))
		}
		// Caddy takes 127.0.0.1 as the host of requests on a socket, and no Origin.
		return newClient("unix", path, ""), "http://127.0.0.1", nil
	}
	return nil, "", fmt.Errorf("the address %s has the network %s: give host:port, unix//path or http://host:port", quote(address), quote(network))
}

func withPort(s string) (string, error) {
	if host, port, err := net.SplitHostPort(s); err == nil {
		if host == "" {
			host = "localhost"
		}
		if port == "" {
			port = "2019"
		}
		return net.JoinHostPort(host, port), nil
	}
	bare := strings.TrimSuffix(strings.TrimPrefix(s, "["), "]")
	host, _, err := net.SplitHostPort(net.JoinHostPort(bare, "2019"))
	if err != nil || host == "" || strings.ContainsAny(host, "/ ") {
		return "", fmt.Errorf("expected something like %s", DefaultAddress)
	}
	return net.JoinHostPort(host, "2019"), nil
}

// newClient dials path instead of a request's host where path is given, and
// sends origin, which Caddy's enforce_origin asks for, where origin is.
func newClient(network, path, origin string) *http.Client {
	dialer := &net.Dialer{}
	t := http.DefaultTransport.(*http.Transport).Clone()
	if path != "" {
		t.Proxy = nil
	}
	t.DialContext = func(ctx context.Context, _, addr string) (net.Conn, error) {
		if path != "" {
			addr = path
		}
		return dialer.DialContext(ctx, network, addr)
	}
	if origin == "" {
		return &http.Client{Transport: t}
	}
	return &http.Client{Transport: withOrigin{t, origin}}
}

type withOrigin struct {
	next   http.RoundTripper
	origin string
}

func (w withOrigin) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("Origin", w.origin)
	return w.next.RoundTrip(r)
}
