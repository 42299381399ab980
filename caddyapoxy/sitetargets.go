package caddyapoxy

import (
	"cmp"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/apoxy-dev/caddy-apoxy/target"
)

// warnOfTargets names apoxy blocks that are never asked, and the targets that the sites of records have on the HTTPS port
// and not on the HTTP port, or the other way: records without TLS are served on the
// one and those with TLS on the other, and would get 503 there.
func (a *App) warnOfTargets() {
	app := a.http.Load()
	if app == nil {
		return
	}
	for _, server := range app.Servers {
		for _, route := range server.Routes {
			for _, h := range neverAsked(route.Handlers) {
				a.logger.Warn("an apoxy block is never asked: one before it in the same site answers every request, with 503 for what it does not define itself",
					zap.Strings("targets", h.names()), zap.String("mend", "make one block of the two, or give them matchers"))
			}
		}
	}
	plain, secure := recordTargets(app, cmp.Or(app.HTTPPort, 80), false), recordTargets(app, cmp.Or(app.HTTPSPort, 443), true)
	if plain == nil || secure == nil {
		return // TLS is ended elsewhere, or Caddy redirects all that is plain
	}
	a.warnOfMissing(secure, plain, "http://", "records without TLS")
	a.warnOfMissing(plain, secure, "https://", "records with TLS")
}

func (a *App) warnOfMissing(there, here map[target.Ref]bool, site, whose string) {
	for ref := range there {
		if !here[ref] {
			a.logger.Warn("a target is missing in an apoxy block: "+whose+" that name it get 503, though TargetReady tells of the site that has it",
				zap.String("target", ref.Kind+" "+ref.Name), zap.String("missing", site),
				zap.String("mend", "define it in the apoxy blocks of the http:// and the https:// site, as by a snippet that both import"))
		}
	}
}

// recordTargets are the targets that records are served from on a port, over TLS or
// not; nil if no site there serves records.
func recordTargets(app *caddyhttp.App, port int, tls bool) map[target.Ref]bool {
	var found map[target.Ref]bool
	for _, server := range app.Servers {
		if len(server.TLSConnPolicies) > 0 != tls || !listensOn(server, port) {
			continue
		}
		for _, route := range server.Routes {
			if ownRoute(route) {
				continue
			}
			for _, h := range apoxyHandlers(route.Handlers) {
				if found == nil {
					found = map[target.Ref]bool{}
				}
				for ref := range h.targets {
					found[ref] = true
				}
			}
		}
	}
	return found
}

// neverAsked are the apoxy handlers that stand behind another one.
func neverAsked(handlers []caddyhttp.MiddlewareHandler) (found []*Handler) {
	first := true
	for _, h := range handlers {
		switch h := h.(type) {
		case *Handler:
			if !first {
				found = append(found, h)
			}
			first = false
		case *caddyhttp.Subroute:
			for _, route := range h.Routes {
				found = append(found, neverAsked(route.Handlers)...)
			}
		}
	}
	return found
}

// names are the handler's targets, in order.
func (h *Handler) names() (names []string) {
	for ref := range h.targets {
		names = append(names, ref.Kind+" "+ref.Name)
	}
	slices.Sort(names)
	return names
}

func listensOn(server *caddyhttp.Server, port int) bool {
	return slices.ContainsFunc(server.Listen, func(address string) bool {
		a, err := caddy.ParseNetworkAddress(address)
		return err == nil && a.StartPort <= uint(port) && uint(port) <= a.EndPort
	})
}

// ownRoute tells whether all that a route matches are hostnames of its own.
func ownRoute(route caddyhttp.Route) bool {
	return len(route.MatcherSets) > 0 && !slices.ContainsFunc(route.MatcherSets, func(set caddyhttp.MatcherSet) bool {
		hosts := matchedHosts(caddyhttp.MatcherSets{set})
		return len(hosts) == 0 || slices.ContainsFunc(hosts, func(h string) bool { return strings.Contains(h, "*") })
	})
}
