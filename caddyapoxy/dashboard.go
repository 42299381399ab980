package caddyapoxy

import (
	"context"
	"net/http"
	"path"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/apoxy-dev/caddy-apoxy/dashboard"
)

func init() {
	caddy.RegisterModule(Dashboard{})
	httpcaddyfile.RegisterHandlerDirective("apoxy_dashboard", parseDashboard)
	httpcaddyfile.RegisterDirectiveOrder("apoxy_dashboard", httpcaddyfile.Before, "reverse_proxy")
}

// Dashboard serves the operator's dashboard: pages over all records. It asks nobody who
// they are: authentication is put before it. Where the site serves other things too, a
// handle_path block gives it its place.
type Dashboard struct {
	// Whether the pages have buttons that check and delete records and revoke
	// certificates. They are refused to other sites' pages. Default: false, it only shows.
	AllowWrites bool `json:"allow_writes,omitempty"`

	app *App
	// ending ends when the server begins to shut down, and with it what is streamed.
	ending context.Context
}

// CaddyModule returns the Caddy module information.
func (Dashboard) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.apoxy_dashboard", New: func() caddy.Module { return new(Dashboard) }}
}

// Provision finds the app.
func (d *Dashboard) Provision(ctx caddy.Context) (err error) {
	if d.app, err = appFrom(ctx, "http.handlers.apoxy_dashboard"); err != nil {
		return err
	}
	ending, end := context.WithCancel(ctx)
	d.ending = ending
	if server, ok := ctx.Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server); ok {
		server.RegisterOnShutdown(end)
	}
	context.AfterFunc(ctx, end)
	return nil
}

// ServeHTTP implements caddyhttp.MiddlewareHandler.
func (d *Dashboard) ServeHTTP(w http.ResponseWriter, r *http.Request, _ caddyhttp.Handler) error {
	rt, err := d.app.runtime(r.Context())
	if err != nil {
		w.Header().Set("Retry-After", "1")
		return caddyhttp.Error(http.StatusServiceUnavailable, err)
	}
	asked := r.URL.EscapedPath()
	if original, ok := r.Context().Value(caddyhttp.OriginalRequestCtxKey).(http.Request); ok {
		asked = original.URL.EscapedPath()
	}
	rt.serveDashboard(w, r, d.AllowWrites, asked, d.ending)
	return nil
}

// serveDashboard serves a page of the dashboard at the path of r. asked is the path that the
// client asked for, of which the place where the dashboard is mounted was cut off.
func (rt *runtime) serveDashboard(w http.ResponseWriter, r *http.Request, writes bool, asked string, ending context.Context) {
	if (r.URL.Path == "" || r.URL.Path == "/") && !strings.HasSuffix(asked, "/") {
		to := "./" + path.Base(asked) + "/" // links are relative to the mount
		if r.URL.RawQuery != "" {
			to += "?" + r.URL.RawQuery
		}
		w.Header().Set("Location", to)
		w.WriteHeader(http.StatusTemporaryRedirect)
		return
	}
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	defer context.AfterFunc(ending, cancel)()
	pages := rt.dashboard
	if writes {
		pages = rt.writableDashboard
	}
	pages.ServeHTTP(w, r.WithContext(ctx))
}

// dashboardPath is where the admin endpoint has the dashboard. What else lies below it is
// for programs, and its longer patterns are asked first.
const dashboardPath = "/apoxy"

// dashboard serves the dashboard on the admin endpoint. Who reaches that has the API
// already, so that it takes writes, and refuses those of other sites' pages as any does.
func (a *AdminAPI) dashboard(w http.ResponseWriter, r *http.Request) error {
	rt, err := runtimeInForce(r.Context())
	if err != nil {
		return unavailable(w, err.Error())
	}
	http.StripPrefix(dashboardPath, http.HandlerFunc(func(w http.ResponseWriter, below *http.Request) {
		rt.serveDashboard(w, below, true, r.URL.EscapedPath(), a.ctx)
	})).ServeHTTP(w, r)
	return nil
}

// newDashboards prepares the pages, without writes and with them.
func (rt *runtime) newDashboards() (err error) {
	cfg := dashboard.Config{API: rt.api, Facts: facts{rt}, Search: rt.search, Changes: rt.changes, Logger: rt.logger.Named("dashboard")}
	if rt.dashboard, err = dashboard.New(cfg); err != nil {
		return err
	}
	cfg.AllowWrites = true
	rt.writableDashboard, err = dashboard.New(cfg)
	return err
}

// parseDashboard sets up the handler. Syntax:
//
//	apoxy_dashboard [<matcher>] {
//		allow_writes
//	}
func parseDashboard(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
	h.Next() // consume the directive's name
	d := new(Dashboard)
	for h.NextArg() { // the block in one line; see oneLineAdapter
		if h.Val() != "allow_writes" {
			return nil, h.Errf("apoxy_dashboard takes a block, got %q", h.Val())
		}
		d.AllowWrites = true
	}
	for nesting := h.Nesting(); h.NextBlock(nesting); {
		switch h.Val() {
		case "allow_writes":
			if h.NextArg() {
				return nil, h.Errf("allow_writes stands alone, got %q", h.Val())
			}
			d.AllowWrites = true
		default:
			return nil, h.Errf("apoxy_dashboard has no option %q: expected allow_writes", h.Val())
		}
	}
	return d, nil
}

// Interface guards
var (
	_ caddyhttp.MiddlewareHandler = (*Dashboard)(nil)
	_ caddy.Provisioner           = (*Dashboard)(nil)
)
