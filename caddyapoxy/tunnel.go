package caddyapoxy

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
	"go.uber.org/zap"
	"go.uber.org/zap/exp/zapslog"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
	"github.com/apoxy-dev/caddy-apoxy/target"
	"github.com/apoxy-dev/caddy-apoxy/tunnel"
)

// Tunnel is a target that agents serve, which connect to this server from beside
// the backend. A name is one tunnel, whatever sites define it: agents are known to
// all of them, and all their tokens are valid.
type Tunnel struct {
	// The secrets of which an agent must know one, printable ASCII without
	// spaces. Required; several for rotation. Agents that came with a token which
	// a reload withdraws are dropped.
	Tokens []string `json:"tokens,omitempty"`

	// How many connections agents may have at once. Default: 64.
	MaxConnections int `json:"max_connections,omitempty"`

	// How many requests may be under way at once, WebSockets included. Each may
	// take 1 MiB of memory where its client reads slowly. Default: 4000.
	MaxStreams int `json:"max_streams,omitempty"`

	// What else the reverse_proxy handler takes; its transport and upstreams are
	// the tunnel's own. Default: as of reverse_proxy.
	Proxy json.RawMessage `json:"reverse_proxy,omitempty"`

	name     string
	hub      *hub
	joined   bool // the hub stays known: requests may end after Cleanup
	withdraw func()
	logger   *zap.Logger
}

// provision joins the tunnel and returns what serves it. release undoes it, also
// after an error.
func (t *Tunnel) provision(ctx caddy.Context, name string) (_ target.Target, err error) {
	repl := caddy.NewReplacer()
	if t.name, err = expand(repl, "the name of a Tunnel", name); err != nil {
		return nil, err
	}
	if strings.ContainsFunc(t.name, func(r rune) bool { return !strings.ContainsRune(tunnelRunes, r) }) || len(t.name) > 63 {
		return nil, fmt.Errorf("the name is %.100q: expected at most 63 letters, digits, dots, hyphens and underscores", t.name)
	}
	if t.MaxConnections < 0 || t.MaxStreams < 0 {
		return nil, fmt.Errorf("max_connections is %d and max_streams %d: expected positive numbers", t.MaxConnections, t.MaxStreams)
	}
	grant := tunnel.Grant{MaxConnections: t.MaxConnections, MaxStreams: t.MaxStreams}
	for _, token := range t.Tokens {
		if token, err = expand(repl, "token", token); err != nil {
			return nil, err
		}
		grant.Tokens = append(grant.Tokens, strings.TrimSpace(token)) // a file ends with a line's end
	}
	logger := ctx.Logger().Named("tunnel")
	h, err := joinHub(t.name, logger)
	if err != nil {
		return nil, err
	}
	t.hub, t.joined = h, true
	if t.withdraw, err = h.Allow(grant); err != nil {
		return nil, err
	}
	t.logger = logger
	h.loggers.Push(logger)
	raw, err := t.proxy()
	if err != nil {
		return nil, err
	}
	mod, err := ctx.LoadModuleByID("http.handlers.reverse_proxy", raw)
	if err != nil {
		return nil, err
	}
	return target.Tunnel{Handler: mod.(*reverseproxy.Handler), Agents: h.Hub}, nil
}

const tunnelRunes = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_"

// proxy is the configuration of the reverse_proxy handler.
func (t *Tunnel) proxy() (json.RawMessage, error) {
	fields := map[string]json.RawMessage{}
	if len(t.Proxy) > 0 {
		if err := json.Unmarshal(t.Proxy, &fields); err != nil {
			return nil, fmt.Errorf("reading reverse_proxy: %w", err)
		}
	}
	for _, own := range []string{"transport", "upstreams", "dynamic_upstreams", "health_checks"} {
		if _, taken := fields[own]; taken {
			return nil, fmt.Errorf("reverse_proxy has %s: a tunnel's are its agents, take it out", own)
		}
	}
	fields["transport"] = caddyconfig.JSONModuleObject(&TunnelTransport{Tunnel: t.name}, "protocol", "apoxy_tunnel", nil)
	fields["upstreams"] = caddyconfig.JSON([]map[string]string{{"dial": t.name + ".tunnel:80"}}, nil)
	return json.Marshal(fields)
}

// release leaves the tunnel.
func (t *Tunnel) release() error {
	if t.withdraw != nil {
		t.withdraw()
	}
	if !t.joined {
		return nil
	}
	t.joined = false
	if t.logger != nil {
		t.hub.loggers.Remove(t.logger)
	}
	return leaveHub(t.name)
}

// acceptAgent answers an agent's handshake, whatever hostname it came to.
func (h *Handler) acceptAgent(w http.ResponseWriter, r *http.Request, name string) {
	if !overTLS(r, fromTrustedProxy(r)) {
		http.Error(w, "agents connect over HTTPS: a token must not travel without TLS", http.StatusForbidden)
		return
	}
	for _, t := range h.Tunnels {
		if t.name == name {
			t.hub.Accept(w, r)
			return
		}
	}
	tunnel.Refuse(w)
}

// provisionTunnels takes the tunnels in.
func (h *Handler) provisionTunnels(ctx caddy.Context) error {
	for name, t := range h.Tunnels {
		if t == nil {
			return fmt.Errorf("tunnel %s: expected an object with tokens", name)
		}
		served, err := t.provision(ctx, name)
		if err != nil {
			return fmt.Errorf("tunnel %s: %w", name, err)
		}
		if err := h.add(v1alpha3.KindTunnel, name, served); err != nil {
			return err
		}
	}
	return nil
}

// Cleanup leaves the tunnels and the functions. Agents stay connected, and functions
// compiled, while another configuration has them.
func (h *Handler) Cleanup() error {
	var all []error
	for _, t := range h.Tunnels {
		if t != nil {
			all = append(all, t.release())
		}
	}
	for _, e := range h.EdgeFunctions {
		if e != nil {
			all = append(all, e.release())
		}
	}
	return errors.Join(all...)
}

// hubs holds one hub per tunnel's name, across configurations.
var hubs = caddy.NewUsagePool()

// hub is the edge's side of a tunnel, and logs as the newest configuration says.
type hub struct {
	*tunnel.Hub
	loggers generations[zap.Logger]
}

// Destruct implements caddy.Destructor.
func (h *hub) Destruct() error { return h.Close() }

// joinHub returns the hub of a tunnel. Each call must be followed by one leaveHub.
func joinHub(name string, first *zap.Logger) (*hub, error) {
	v, _, err := hubs.LoadOrNew(name, func() (caddy.Destructor, error) {
		h := new(hub)
		live := liveLogger(first, func() *zap.Logger { return cmp.Or(h.loggers.Current(), first) }).With(zap.String("tunnel", name))
		h.Hub = tunnel.NewHub(slog.New(zapslog.NewHandler(live.Core())), tunnel.Timing{})
		return h, nil
	})
	if err != nil {
		return nil, err
	}
	return v.(*hub), nil
}

func leaveHub(name string) error {
	_, err := hubs.Delete(name)
	return err
}
