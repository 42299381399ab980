package domainconnect

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"time"

	"github.com/apoxy-dev/caddy-apoxy/internal/lru"
	"github.com/apoxy-dev/caddy-apoxy/internal/specialpurpose"
)

// Bounds of one question to a provider.
const (
	dialFor    = 3 * time.Second
	answerFor  = 5 * time.Second
	maxAnswer  = 64 << 10
	maxHeaders = 16 << 10
	maxTried   = 4 // addresses of one host
)

// How long a host that could not be reached is left alone, and how many such are
// remembered: however many zones name it, it keeps few workers waiting.
const (
	leaveAlone  = time.Minute
	hostsBroken = 4096
)

// asker asks providers.
type asker struct {
	client *http.Client
	broken *lru.Cache[struct{}] // by host and port
}

func newAsker(cfg *Config) *asker {
	return &asker{newClient(cfg), lru.New[struct{}](hostsBroken)}
}

// newClient returns a client for hosts that strangers name. It contacts addresses of the
// public internet, and of the networks that the operator allows, alone: each address is
// judged when it is dialled, whatever its name led to a moment ago. It follows no
// redirect and uses no proxy.
func newClient(cfg *Config) *http.Client {
	return &http.Client{
		Transport: &http.Transport{
			DialContext: func(ctx context.Context, _, address string) (net.Conn, error) {
				return dial(ctx, cfg, address)
			},
			TLSClientConfig:        cfg.TLS,
			TLSHandshakeTimeout:    answerFor,
			ResponseHeaderTimeout:  answerFor,
			MaxResponseHeaderBytes: maxHeaders,
			DisableKeepAlives:      true, // each is asked once a day
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// dial connects to one of a host's addresses, those that may be contacted.
func dial(ctx context.Context, cfg *Config, address string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, fmt.Errorf("dialling %.100q: no host and port", address)
	}
	ctx, cancel := context.WithTimeout(ctx, answerFor)
	defer cancel()
	addrs, err := cfg.DNS.Addresses(ctx, host)
	if err != nil {
		return nil, err
	}
	var networks []netip.Prefix
	if cfg.PrivateNetworks != nil {
		networks = cfg.PrivateNetworks()
	}
	err = fmt.Errorf("dialling %.100q: it has no addresses", host)
	tried := 0
	for _, addr := range addrs {
		addr = addr.Unmap()
		if block, special := specialpurpose.Of(addr); special && !specialpurpose.Allowed(networks, addr) {
			err = fmt.Errorf("dialling %.100q: its address %s lies in %s, and `private_networks` does not name it", host, addr, block)
			continue
		}
		if tried++; tried > maxTried {
			break
		}
		var conn net.Conn
		if conn, err = (&net.Dialer{Timeout: dialFor}).DialContext(ctx, "tcp", net.JoinHostPort(addr.String(), port)); err == nil {
			return conn, nil
		}
	}
	return nil, err
}

var errTooLarge = errors.New("the answer is too large")

// get asks for a URL and returns status and body.
func (a *asker) get(ctx context.Context, url string) (int, []byte, error) {
	within, cancel := context.WithTimeout(ctx, 2*answerFor)
	defer cancel()
	req, err := http.NewRequestWithContext(within, http.MethodGet, url, nil)
	if err != nil {
		return 0, nil, fmt.Errorf("asking the provider: %w", err)
	}
	req.Header.Set("Accept", "application/json")
	if _, broken := a.broken.Get(req.URL.Host); broken {
		return 0, nil, fmt.Errorf("asking the provider: %.100q could not be reached a moment ago", req.URL.Host)
	}
	resp, err := a.client.Do(req)
	if err != nil {
		if ctx.Err() == nil { // else what came before took the time, and is no fault of this host
			a.broken.Put(req.URL.Host, struct{}{}, leaveAlone)
		}
		return 0, nil, fmt.Errorf("asking the provider: %w", err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err != nil {
		return 0, nil, fmt.Errorf("reading the provider's answer: %w", err)
	}
	if len(body) > maxAnswer {
		return 0, nil, fmt.Errorf("reading the provider's answer: %w: expected %d octets at most", errTooLarge, maxAnswer)
	}
	return resp.StatusCode, body, nil
}
