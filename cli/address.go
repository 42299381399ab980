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
// unix//path/to/socket (permission bits behind a | are ignored), or a URL, whose
// user and password, if it has them, are sent as Basic authentication (RFC 7617)
// and are no part of the base. An empty address is DefaultAddress; one that
// stands for every interface, as a listen address may, is this machine.
func AddressClient(address string) (*http.Client, string, error) {
	if address == "" {
		address = DefaultAddress
	}
	if strings.Contains(address, "://") {
		u, err := url.Parse(address)
		if err != nil || u.Hostname() == "" || u.Scheme != "http" && u.Scheme != "https" {
			return nil, "", fmt.Errorf("the address %s is no URL of an admin endpoint: give host:port, unix//path or http://host:port", quote(withoutSecret(address)))
		}
		origin := u.Scheme + "://" + u.Host
		client := newClient("tcp", "", origin)
		if u.User != nil {
			client.Transport = withUser{client.Transport, u.Host, u.User}
		}
		return client, origin + strings.TrimSuffix(u.EscapedPath(), "/"), nil
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
		return newClient(network, "", "http://"+hostPort, "http://"+rest), "http://" + hostPort, nil
	case "unix":
		path, _, _ := strings.Cut(rest, "|")
		if path == "" {
			return nil, "", fmt.Errorf("the address %s names no socket: give unix//path/to/socket", quote(address))
		}
		// Caddy takes 127.0.0.1 as the host of requests on a socket, and no Origin.
		return newClient("unix", path), "http://127.0.0.1", nil
	}
	return nil, "", fmt.Errorf("the address %s has the network %s: give host:port, unix//path or http://host:port", quote(address), quote(network))
}

func withPort(s string) (string, error) {
	if host, port, err := net.SplitHostPort(s); err == nil {
		if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
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
	return withPort(net.JoinHostPort(host, "2019"))
}

// withoutSecret is an address without the user and password that it may hold.
func withoutSecret(address string) string {
	scheme, rest, _ := strings.Cut(address, "://")
	return scheme + "://" + rest[strings.LastIndexByte(rest, '@')+1:]
}

// newClient dials path instead of a request's host where path is given. Origins
// are what it may say that it comes from, see askedForOrigin.
func newClient(network, path string, origins ...string) *http.Client {
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
	if len(origins) == 0 {
		return &http.Client{Transport: t}
	}
	return &http.Client{Transport: &askedForOrigin{next: t, origins: origins}}
}
