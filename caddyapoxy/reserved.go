package caddyapoxy

import (
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// reservations are the sites of a configuration that answer for hostnames by
// themselves: no record may take one of these. A site's own hostname is always
// reserved: Caddy manages its certificate. A wildcard site that has the apoxy
// handler serves records, and so it reserves nothing; one without a host, such
// as `https://`, does not either.
type reservations struct {
	sites []site // the most specific first; of equals, those that reserve nothing
}

// site is one host of a site: a hostname, or a pattern as Caddy's host matcher
// takes it, in which * stands for one label.
type site struct {
	host     string
	stars    int
	reserves bool
}

// reservedHosts finds the sites of the HTTP servers.
func reservedHosts(app *caddyhttp.App) reservations {
	var r reservations
	if app == nil {
		return r
	}
	for _, server := range app.Servers {
		for _, route := range server.Routes {
			serves := servesRecords(route.Handlers)
			for _, host := range matchedHosts(route.MatcherSets) {
				stars := strings.Count(host, "*")
				r.sites = append(r.sites, site{host, stars, stars == 0 || !serves})
			}
		}
	}
	slices.SortFunc(r.sites, func(a, b site) int {
		switch {
		case a.stars != b.stars:
			return a.stars - b.stars
		case a.reserves != b.reserves && b.reserves:
			return -1
		case a.reserves != b.reserves:
			return 1
		}
		return strings.Compare(a.host, b.host)
	})
	return r
}

// by returns the site that answers for a hostname by itself, in words.
func (r reservations) by(hostname string) (string, bool) {
	for _, s := range r.sites {
		if s.covers(hostname) {
			return "the site " + s.host, s.reserves
		}
	}
	return "", false
}

// reservedBy is by of this configuration's sites; nothing before its Start.
func (a *App) reservedBy(hostname string) (site string, yes bool) {
	if r := a.reserved.Load(); r != nil {
		site, yes = r.by(hostname)
	}
	return site, yes
}

// ServedBy names the site of this configuration that answers for a hostname by
// itself, in words, unless a record has the hostname from before.
func (a *App) ServedBy(hostname string) (site string, yes bool) {
	if rt := a.rt.Load(); rt != nil {
		if h, _ := rt.table.Match(hostname); h != nil {
			return "", false
		}
	}
	return a.reservedBy(hostname)
}

// covers is what Caddy's host matcher makes of a pattern.
func (s site) covers(hostname string) bool {
	if s.stars == 0 {
		return s.host == hostname
	}
	pattern, rest, more := s.host, hostname, true
	for more {
		var want, got string
		var left bool
		want, pattern, more = strings.Cut(pattern, ".")
		got, rest, left = strings.Cut(rest, ".")
		if more != left || want != "*" && want != got {
			return false
		}
	}
	return true
}

// servesRecords tells whether the apoxy handler is among the handlers or in
// their routes.
func servesRecords(handlers []caddyhttp.MiddlewareHandler) bool {
	return len(apoxyHandlers(handlers)) > 0
}

// apoxyHandlers are those of ours among the handlers and in their routes.
func apoxyHandlers(handlers []caddyhttp.MiddlewareHandler) (found []*Handler) {
	for _, h := range handlers {
		switch h := h.(type) {
		case *Handler:
			found = append(found, h)
		case *caddyhttp.Subroute:
			for _, route := range h.Routes {
				found = append(found, apoxyHandlers(route.Handlers)...)
			}
		}
	}
	return found
}

// withoutRecords are the apoxy handlers of sites that have a hostname of their
// own, all of which is reserved: no record can lead there.
func withoutRecords(app *caddyhttp.App) (found []*Handler) {
	if app == nil {
		return nil
	}
	for _, server := range app.Servers {
		for _, route := range server.Routes {
			if ownRoute(route) {
				found = append(found, apoxyHandlers(route.Handlers)...)
			}
		}
	}
	return found
}

// matchedHosts returns the hosts that a route names, placeholders replaced.
func matchedHosts(sets caddyhttp.MatcherSets) (hosts []string) {
	repl := caddy.NewReplacer()
	for _, set := range sets {
		for _, m := range set {
			var named caddyhttp.MatchHost
			switch m := m.(type) {
			case caddyhttp.MatchHost:
				named = m
			case *caddyhttp.MatchHost:
				named = *m
			}
			for _, host := range named {
				if host = canonical(repl.ReplaceAll(host, "")); host != "" {
					hosts = append(hosts, host)
				}
			}
		}
	}
	return hosts
}
