package caddyapoxy

import (
	"errors"
	"fmt"
	"net/http"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"

	"github.com/apoxy-dev/caddy-apoxy/tunnel"
)

func init() {
	caddy.RegisterModule(new(TunnelTransport))
}

// TunnelTransport carries the requests of a reverse_proxy handler to the agents of
// a tunnel that an apoxy handler defines, whatever the upstream is called.
type TunnelTransport struct {
	// The tunnel's name. Required.
	Tunnel string `json:"tunnel,omitempty"`

	hub    *hub
	name   string
	joined bool // the hub stays known: requests may end after Cleanup
}

// CaddyModule returns the Caddy module information.
func (*TunnelTransport) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.reverse_proxy.transport.apoxy_tunnel", New: func() caddy.Module { return new(TunnelTransport) }}
}

// Provision joins the tunnel.
func (t *TunnelTransport) Provision(ctx caddy.Context) error {
	name, err := expand(caddy.NewReplacer(), "transport apoxy_tunnel", t.Tunnel)
	if err != nil {
		return err
	}
	if name == "" {
		return errors.New("transport apoxy_tunnel: expected a tunnel's name, such as `transport apoxy_tunnel office`")
	}
	if t.hub, err = joinHub(name, ctx.Logger()); err != nil {
		return err
	}
	t.name, t.joined = name, true
	return nil
}

// RoundTrip implements http.RoundTripper. What no origin has seen is an error of
// dialling, which reverse_proxy sends again where it is to.
func (t *TunnelTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	res, err := t.hub.RoundTrip(r)
	var origin *tunnel.OriginError
	switch {
	case err == nil:
		return res, nil
	case errors.Is(err, tunnel.ErrNoAgent), errors.Is(err, tunnel.ErrBusy):
		return nil, caddyhttp.Error(http.StatusServiceUnavailable, unseen{t.name, err})
	case errors.As(err, &origin) && origin.Unseen:
		return nil, unseen{t.name, err}
	default:
		return nil, fmt.Errorf("tunnel %s: %w", t.name, err)
	}
}

// unseen is the error of a request that no origin has seen: to reverse_proxy one
// of dialling, which it may try again whatever the method.
type unseen struct {
	tunnel string
	err    error
}

func (u unseen) Error() string   { return fmt.Sprintf("tunnel %s: %v", u.tunnel, u.err) }
func (u unseen) Unwrap() []error { return []error{reverseproxy.NewDialError(u.err), u.err} }

// Cleanup leaves the tunnel.
func (t *TunnelTransport) Cleanup() error {
	if !t.joined {
		return nil
	}
	t.joined = false
	return leaveHub(t.name)
}

// UnmarshalCaddyfile sets up the transport. Syntax:
//
//	transport apoxy_tunnel <name>
func (t *TunnelTransport) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // consume the transport's name
	if !d.AllArgs(&t.Tunnel) {
		return d.Err("expected a tunnel's name, such as `transport apoxy_tunnel office`")
	}
	if d.NextBlock(0) {
		return d.Errf("the transport apoxy_tunnel has no option %q: the tunnel's are in the apoxy block", d.Val())
	}
	return nil
}

// Interface guards
var (
	_ http.RoundTripper     = (*TunnelTransport)(nil)
	_ caddy.Provisioner     = (*TunnelTransport)(nil)
	_ caddy.CleanerUpper    = (*TunnelTransport)(nil)
	_ caddyfile.Unmarshaler = (*TunnelTransport)(nil)
)
