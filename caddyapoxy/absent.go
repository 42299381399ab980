package caddyapoxy

import (
	"errors"
	"net/http"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/apoxy-dev/caddy-apoxy/store"
)

func init() {
	caddy.RegisterModule(PostgresStore{})
	for name, m := range map[string]func() caddy.Module{
		"apoxy_dashboard": func() caddy.Module { return new(Dashboard) },
	} {
		caddy.RegisterModule(m())
		httpcaddyfile.RegisterHandlerDirective(name, func(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
			h.Next() // consume the directive's name
			return nil, h.WrapErr(errAbsent(name))
		})
		httpcaddyfile.RegisterDirectiveOrder(name, httpcaddyfile.Before, "reverse_proxy")
	}
}

// What is named here is not part of this version: a configuration that names it is refused
// with a sentence that says so, where Caddy would call it unknown.
type (
	// PostgresStore would keep records in PostgreSQL.
	PostgresStore struct{}
	// Dashboard would be the operator's dashboard.
	Dashboard struct{ absentHandler }
)

func errAbsent(what string) error {
	if what == "store postgres" {
		return errors.New("store postgres is not part of this version: use `store bolt` on one machine and `store etcd` on several")
	}
	return errors.New(what + " is not part of this version: take it out of the configuration")
}

// CaddyModule returns the Caddy module information.
func (PostgresStore) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "apoxy.stores.postgres", New: func() caddy.Module { return new(PostgresStore) }}
}

// Provision refuses the configuration.
func (*PostgresStore) Provision(caddy.Context) error { return errAbsent("store postgres") }

// UnmarshalCaddyfile refuses the option, with its line.
func (*PostgresStore) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // consume the engine's name
	return d.WrapErr(errAbsent("store postgres"))
}

// Key and Open are never called.
func (*PostgresStore) Key() string                           { return "postgres" }
func (*PostgresStore) Open(*zap.Logger) (store.Store, error) { return nil, errAbsent("store postgres") }

// CaddyModule returns the Caddy module information.
func (*Dashboard) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.apoxy_dashboard", New: func() caddy.Module { return new(Dashboard) }}
}

// Provision refuses the configuration.
func (*Dashboard) Provision(caddy.Context) error { return errAbsent("apoxy_dashboard") }

// absentHandler is never asked: its configuration is refused.
type absentHandler struct{}

// ServeHTTP passes the request on.
func (absentHandler) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	return next.ServeHTTP(w, r)
}

// Interface guards
var (
	_ StoreModule                 = (*PostgresStore)(nil)
	_ caddy.Provisioner           = (*PostgresStore)(nil)
	_ caddyfile.Unmarshaler       = (*PostgresStore)(nil)
	_ caddyhttp.MiddlewareHandler = (*Dashboard)(nil)
	_ caddy.Provisioner           = (*Dashboard)(nil)
)
