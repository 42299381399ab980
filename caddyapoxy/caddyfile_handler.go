package caddyapoxy

import (
	"encoding/json"
	"fmt"
	"path/filepath"

	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
)

func init() {
	httpcaddyfile.RegisterHandlerDirective("apoxy", parseHandler)
	httpcaddyfile.RegisterDirectiveOrder("apoxy", httpcaddyfile.Before, "reverse_proxy")
}

// parseHandler sets up the handler. Syntax:
//
//	apoxy [<matcher>] {
//		gateway <name> {
//			<any HTTP handler directives>
//		}
//		proxy <name> [<upstreams...>] {
//			<the options of reverse_proxy>
//			upstreams <networks and names that placeholders may lead to>...
//		}
//		tunnel <name> {
//			token <secret>...
//			...
//		}
//		edgefunction <name> <file> {
//			timeout <duration>
//			...
//		}
//		refusal_page <file>
//	}
func parseHandler(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
	h.Next() // consume the directive's name
	if h.NextArg() {
		return nil, h.Errf("apoxy takes a block, got %q", h.Val())
	}
	handler := &Handler{}
	for nesting := h.Nesting(); h.NextBlock(nesting); {
		kind := h.Val()
		switch kind {
		case "gateway", "proxy", "tunnel", "edgefunction":
		case "refusal_page":
			if err := parseRefusalPage(h, handler); err != nil {
				return nil, err
			}
			continue
		default:
			return nil, h.Errf("apoxy has no target kind %q: expected gateway, proxy, tunnel or edgefunction, or the option refusal_page", kind)
		}
		segment := h.NextSegment()
		if len(segment) < 2 || segment[1].Line != segment[0].Line || segment[1].Text == "{" {
			return nil, h.Errf("%s: expected a name, such as `%s default { … }`", kind, kind)
		}
		name := segment[1].Text
		// What follows is parsed as the directive it stands for, which knows no name.
		rest := append(caddyfile.Segment{segment[0]}, segment[2:]...)
		sub := h.WithDispenser(caddyfile.NewDispenser(rest))
		var err error
		switch kind {
		case "tunnel":
			err = parseTunnel(h, handler, name, rest)
		case "edgefunction":
			err = parseEdgeFunction(h, handler, name, rest)
		case "gateway":
			err = addTarget(h, &handler.Gateways, name, sub, httpcaddyfile.ParseSegmentAsSubroute)
		default:
			err = addProxy(h, handler, name, rest)
		}
		if err != nil {
			return nil, err
		}
	}
	return handler, nil
}

// parseRefusalPage takes the file of the page; that it is one of HTML or text is seen here
// already, so that the line is named.
func parseRefusalPage(h httpcaddyfile.Helper, handler *Handler) error {
	if handler.RefusalPage != "" {
		return h.Err("refusal_page stands there twice: one page is for 421 and 503, which {apoxy.refusal.status} tells apart")
	}
	if !h.AllArgs(&handler.RefusalPage) {
		return h.Err("refusal_page: expected one file, such as `refusal_page ./not-ready.html`")
	}
	switch ext := filepath.Ext(handler.RefusalPage); ext {
	case ".html", ".htm", ".txt":
	default:
		if !hasPlaceholder(handler.RefusalPage) {
			return h.Errf("refusal_page %s: expected a file of HTML (.html) or plain text (.txt)", handler.RefusalPage)
		}
	}
	return nil
}

func addTarget(h httpcaddyfile.Helper, to *map[string]json.RawMessage, name string, sub httpcaddyfile.Helper,
	parse func(httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error),
) error {
	if _, twice := (*to)[name]; twice {
		return h.Errf("there are two targets of one kind named %q", name)
	}
	mod, err := parse(sub)
	if err != nil {
		return fmt.Errorf("target %s: %w", name, err)
	}
	if *to == nil {
		*to = map[string]json.RawMessage{}
	}
	var warnings []caddyconfig.Warning
	(*to)[name] = caddyconfig.JSON(mod, &warnings)
	if len(warnings) > 0 {
		return h.Errf("target %s: %s", name, warnings[0])
	}
	return nil
}

func parseProxy(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
	proxy := new(reverseproxy.Handler)
	if err := proxy.UnmarshalCaddyfile(h.Dispenser); err != nil {
		return nil, err
	}
	if err := proxy.FinalizeUnmarshalCaddyfile(h); err != nil {
		return nil, err
	}
	return proxy, nil
}
