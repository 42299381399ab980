package caddyapoxy

import (
	"encoding/json"
	"strconv"

	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
)

// parseTunnel sets up a tunnel. Syntax:
//
//	tunnel <name> {
//		token <secret>...
//		max_connections <n>
//		max_streams <n>
//		<what else reverse_proxy takes, but for upstreams, transport and health>
//	}
func parseTunnel(h httpcaddyfile.Helper, handler *Handler, name string, segment caddyfile.Segment) error {
	if _, twice := handler.Tunnels[name]; twice {
		return h.Errf("there are two targets of one kind named %q", name)
	}
	d := caddyfile.NewDispenser(segment)
	d.Next() // consume `tunnel`
	t, rest := new(Tunnel), caddyfile.Segment{segment[0]}
	if d.NextArg() {
		return d.Errf("tunnel %s takes a block, got %q", name, d.Val())
	}
	for d.NextBlock(0) {
		switch option := d.Val(); option {
		case "token":
			tokens := d.RemainingArgs()
			if len(tokens) == 0 {
				return d.Errf("tunnel %s: expected a secret, such as `token {env.TUNNEL_TOKEN}`", name)
			}
			t.Tokens = append(t.Tokens, tokens...)
		case "max_connections", "max_streams":
			to := map[string]*int{"max_connections": &t.MaxConnections, "max_streams": &t.MaxStreams}[option]
			var text string
			if !d.AllArgs(&text) {
				return d.Errf("tunnel %s: %s: expected one number", name, option)
			}
			n, err := strconv.Atoi(text)
			if err != nil || n < 1 {
				return d.Errf("tunnel %s: %s is %.100q: expected a positive number", name, option, text)
			}
			*to = n
		case "to", "dynamic", "transport", "health_uri", "health_upstream", "health_port", "health_interval", "health_passes", "health_fails", "health_timeout", "health_status", "health_method", "health_request_body", "health_body", "health_follow_redirects", "health_headers", "fail_duration", "max_fails", "unhealthy_status", "unhealthy_latency", "unhealthy_request_count":
			return d.Errf("tunnel %s: %s is not for a tunnel, which its agents serve: it is as well as they say", name, option)
		default:
			rest = append(rest, d.NextSegment()...)
		}
	}
	if len(t.Tokens) == 0 {
		return d.Errf("tunnel %s: expected a secret that agents know, such as `token {env.TUNNEL_TOKEN}`", name)
	}
	if len(rest) > 1 {
		raw, err := proxyOptions(h, rest)
		if err != nil {
			return err
		}
		t.Proxy = raw
	}
	if handler.Tunnels == nil {
		handler.Tunnels = map[string]*Tunnel{}
	}
	handler.Tunnels[name] = t
	return nil
}

// proxyOptions reads options as those of reverse_proxy.
func proxyOptions(h httpcaddyfile.Helper, options caddyfile.Segment) (json.RawMessage, error) {
	first, last := options[0], options[len(options)-1]
	first.Text, last.Text = "{", "}"
	last.Line++
	block := append(caddyfile.Segment{options[0], first}, options[1:]...)
	mod, err := parseProxy(h.WithDispenser(caddyfile.NewDispenser(append(block, last))))
	if err != nil {
		return nil, err
	}
	var warnings []caddyconfig.Warning
	raw := caddyconfig.JSON(mod, &warnings)
	if len(warnings) > 0 {
		return nil, h.Errf("%s", warnings[0])
	}
	return raw, nil
}
