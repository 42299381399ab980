package caddyapoxy

import (
	"encoding/json"
	"strings"

	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
)

// backendsOf takes out of a proxy's segment what reverse_proxy does not know: the
// option `upstreams`, and upstreams with placeholders of records, whose keys may hold
// what reverse_proxy takes for a network (example.com/backend). It returns the segment
// that is left.
func backendsOf(h httpcaddyfile.Helper, name string, segment caddyfile.Segment) (rest caddyfile.Segment, allowed, dials []string, err error) {
	d := caddyfile.NewDispenser(segment)
	d.Next() // consume `proxy`
	rest = caddyfile.Segment{segment[0]}
	for d.NextArg() {
		if dial := d.Val(); strings.Contains(dial, recordPlaceholder) {
			dials = append(dials, dial)
		} else {
			rest = append(rest, d.Token())
		}
	}
	open := false
	for d.NextBlock(0) {
		if !open {
			rest, open = append(rest, brace("{", segment[0], 0)), true
		}
		option := d.NextSegment()
		switch {
		case option[0].Text == "upstreams":
			entries := texts(option[1:])
			if len(entries) == 0 {
				return nil, nil, nil, h.Errf("proxy %s: upstreams: expected networks and names that records' backends may be, such as `upstreams 10.0.0.0/8 *.svc.internal`", name)
			}
			allowed = append(allowed, entries...)
		case option[0].Text == "to" && strings.Contains(strings.Join(texts(option), " "), recordPlaceholder):
			kept := caddyfile.Segment{option[0]}
			for _, t := range option[1:] {
				if strings.Contains(t.Text, recordPlaceholder) {
					dials = append(dials, t.Text)
				} else {
					kept = append(kept, t)
				}
			}
			if len(kept) > 1 {
				rest = append(rest, kept...)
			}
		default:
			rest = append(rest, option...)
		}
	}
	if open {
		rest = append(rest, brace("}", segment[len(segment)-1], 1))
	}
	return rest, allowed, dials, nil
}

func brace(text string, near caddyfile.Token, below int) caddyfile.Token {
	near.Text, near.Line = text, near.Line+below
	return near
}

func texts(tokens []caddyfile.Token) (all []string) {
	for _, t := range tokens {
		all = append(all, t.Text)
	}
	return all
}

// addProxy takes in a proxy, with what backendsOf took out.
func addProxy(h httpcaddyfile.Helper, handler *Handler, name string, segment caddyfile.Segment) error {
	rest, allowed, dials, err := backendsOf(h, name, segment)
	if err != nil {
		return err
	}
	if err := addTarget(h, &handler.Proxies, name, h.WithDispenser(caddyfile.NewDispenser(rest)), parseProxy); err != nil {
		return err
	}
	if len(allowed) == 0 && len(dials) == 0 {
		return nil
	}
	if len(allowed) == 0 {
		return h.Errf("proxy %s: to %s: expected a list of what records may lead to, such as `upstreams 10.0.0.0/8 *.svc.internal`: without one whoever writes a record reaches all that this machine does", name, dials[0])
	}
	fields := map[string]json.RawMessage{}
	if err := json.Unmarshal(handler.Proxies[name], &fields); err != nil {
		return err
	}
	var upstreams reverseproxy.UpstreamPool
	if raw, ok := fields["upstreams"]; ok {
		if err := json.Unmarshal(raw, &upstreams); err != nil {
			return err
		}
	}
	for _, dial := range dials {
		upstreams = append(upstreams, &reverseproxy.Upstream{Dial: dial})
	}
	if len(upstreams) > 0 {
		fields["upstreams"] = caddyconfig.JSON(upstreams, nil)
	}
	fields[allowedUpstreams] = caddyconfig.JSON(allowed, nil)
	handler.Proxies[name] = caddyconfig.JSON(fields, nil)
	return nil
}
