package caddyapoxy

import (
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// reservedHosts returns the hostnames that the HTTP servers of a configuration
// serve by themselves, each with the server that does. No record may take one.
func reservedHosts(app *caddyhttp.App) map[string]string {
	reserved := map[string]string{}
	if app == nil {
		return reserved
	}
	for name, server := range app.Servers {
		for _, route := range server.Routes {
			for _, set := range route.MatcherSets {
				for _, m := range set {
					for _, host := range matchedHosts(m) {
						reserved[canonical(host)] = "HTTP server " + name
					}
				}
			}
		}
	}
	return reserved
}

func matchedHosts(m any) []string {
	switch hosts := m.(type) {
	case caddyhttp.MatchHost:
		return hosts
	case *caddyhttp.MatchHost:
		return *hosts
	}
	return nil
}
