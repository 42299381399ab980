package caddyapoxy

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"

	"github.com/apoxy-dev/caddy-apoxy/target"
)

// allowedUpstreams is the field of a proxy that lists what backends records may name.
const allowedUpstreams = "allowed_upstreams"

// recordPlaceholder begins what a record can have filled in.
const recordPlaceholder = "{apoxy.record."

// provisionProxy loads a proxy. One with an allow list sends each record's requests to
// where placeholders in its upstreams lead; one without must have none of records.
func provisionProxy(ctx caddy.Context, raw json.RawMessage) (target.Target, error) {
	fields := map[string]json.RawMessage{}
	if err := json.Unmarshal(raw, &fields); err != nil {
		return nil, fmt.Errorf("reading it: %w", err)
	}
	list, listed := fields[allowedUpstreams]
	if !listed {
		if err := refuseUnlisted(fields); err != nil {
			return nil, err
		}
		mod, err := ctx.LoadModuleByID("http.handlers.reverse_proxy", raw)
		if err != nil {
			return nil, err
		}
		return target.Proxy{Handler: mod.(*reverseproxy.Handler)}, nil
	}
	allow, err := readAllowList(list)
	if err != nil {
		return nil, err
	}
	upstreams, err := readUpstreams(fields)
	if err != nil {
		return nil, err
	}
	if err := checkGuardable(fields); err != nil {
		return nil, err
	}
	delete(fields, allowedUpstreams)
	delete(fields, "upstreams")
	rest, err := json.Marshal(fields)
	if err != nil {
		return nil, err
	}
	mod, err := ctx.LoadModuleByID("http.handlers.reverse_proxy", rest)
	if err != nil {
		return nil, err
	}
	return target.NewBackends(mod.(*reverseproxy.Handler), upstreams, allow)
}

func readAllowList(raw json.RawMessage) (*target.AllowList, error) {
	var entries []string
	if err := json.Unmarshal(raw, &entries); err != nil {
		return nil, fmt.Errorf("%s: expected a list such as [\"10.0.0.0/8\", \"*.svc.internal\"]: %w", allowedUpstreams, err)
	}
	repl := caddy.NewReplacer()
	for i, e := range entries {
		var err error
		if entries[i], err = expand(repl, allowedUpstreams, e); err != nil {
			return nil, err
		}
	}
	allow, err := target.ParseAllowList(entries)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", allowedUpstreams, err)
	}
	return allow, nil
}

// readUpstreams are the upstreams of a proxy that has an allow list.
func readUpstreams(fields map[string]json.RawMessage) (reverseproxy.UpstreamPool, error) {
	var upstreams reverseproxy.UpstreamPool
	if raw, ok := fields["upstreams"]; ok {
		if err := caddy.StrictUnmarshalJSON(raw, &upstreams); err != nil {
			return nil, fmt.Errorf("reading upstreams: %w", err)
		}
	}
	if len(upstreams) == 0 {
		return nil, fmt.Errorf("%s: expected upstreams that records fill in beside it, such as `to {apoxy.record.annotations.backend}`", allowedUpstreams)
	}
	for _, u := range upstreams {
		switch {
		case u == nil || !strings.Contains(u.Dial, "{"):
			return nil, fmt.Errorf("upstream %q: expected a placeholder, such as {apoxy.record.annotations.backend}: with %s all upstreams have one; give what is fixed a proxy of its own", dialOf(u), allowedUpstreams)
		case strings.Contains(u.Dial, "://"):
			return nil, fmt.Errorf("upstream %q: expected no scheme: for https add `transport http { tls }`", u.Dial)
		}
	}
	return upstreams, nil
}

func dialOf(u *reverseproxy.Upstream) string {
	if u == nil {
		return ""
	}
	return u.Dial
}

// checkGuardable refuses what would pass the allow list by, or has no meaning where
// each record has backends of its own.
func checkGuardable(fields map[string]json.RawMessage) error {
	var health struct{ Active json.RawMessage }
	if raw, ok := fields["health_checks"]; ok {
		if err := json.Unmarshal(raw, &health); err != nil {
			return fmt.Errorf("reading health_checks: %w", err)
		}
	}
	var transport struct {
		Protocol        string
		Versions        []string
		ForwardProxyURL string          `json:"forward_proxy_url"`
		NetworkProxy    json.RawMessage `json:"network_proxy"`
	}
	if raw, ok := fields["transport"]; ok {
		if err := json.Unmarshal(raw, &transport); err != nil {
			return fmt.Errorf("reading transport: %w", err)
		}
	}
	_, dynamic := fields["dynamic_upstreams"]
	switch {
	case dynamic:
		return fmt.Errorf("dynamic_upstreams: expected none beside %s: they would not go by it", allowedUpstreams)
	case len(health.Active) > 0:
		return errors.New("health_checks: active ones (health_uri …) cannot look at backends that records name: use passive ones, such as fail_duration")
	case transport.Protocol != "" && transport.Protocol != "http":
		return fmt.Errorf("transport %s: expected http beside %s: another does not tell what it connects to", transport.Protocol, allowedUpstreams)
	case transport.ForwardProxyURL != "" || len(transport.NetworkProxy) > 0:
		return fmt.Errorf("transport http: a forward proxy would look names up itself, past %s: expected none", allowedUpstreams)
	}
	for _, v := range transport.Versions {
		if v == "3" {
			return fmt.Errorf("transport http: version 3 dials past %s: expected 1.1, 2 or h2c", allowedUpstreams)
		}
	}
	return nil
}

// refuseUnlisted refuses a proxy without an allow list whose upstreams a record fills in.
func refuseUnlisted(fields map[string]json.RawMessage) error {
	for _, field := range []string{"upstreams", "dynamic_upstreams"} {
		if strings.Contains(string(fields[field]), recordPlaceholder) {
			return fmt.Errorf("%s has placeholders of records and no list of what they may lead to, so that whoever writes a record reaches all that this machine does: add %s, such as `upstreams 10.0.0.0/8 *.svc.internal`", field, allowedUpstreams)
		}
	}
	return nil
}

// refuseUnlistedInside looks for such proxies among the handlers of a gateway.
func refuseUnlistedInside(raw json.RawMessage) error {
	var v any
	if err := json.Unmarshal(raw, &v); err != nil {
		return err
	}
	return walkProxies(v)
}

func walkProxies(v any) error {
	switch v := v.(type) {
	case []any:
		for _, e := range v {
			if err := walkProxies(e); err != nil {
				return err
			}
		}
	case map[string]any:
		if v["handler"] == "reverse_proxy" {
			for _, field := range []string{"upstreams", "dynamic_upstreams"} {
				// The encoder would write { as it is, but for < > &, which no placeholder of ours holds.
				if strings.Contains(string(caddyconfig.JSON(v[field], nil)), recordPlaceholder) {
					return fmt.Errorf("a reverse_proxy in it has placeholders of records in its %s: write `proxy NAME { to …; upstreams 10.0.0.0/8 *.svc.internal }` in place of the gateway, whose list says what they may lead to", field)
				}
			}
		}
		for _, e := range v {
			if err := walkProxies(e); err != nil {
				return err
			}
		}
	}
	return nil
}
