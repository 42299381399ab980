package caddyapoxy

import (
	"errors"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"go.uber.org/zap"

	"github.com/apoxy-dev/caddy-apoxy/store"
)

func init() {
	caddy.RegisterModule(PostgresStore{})
}

// PostgresStore would keep records in PostgreSQL. It is not part of this version: a
// configuration that names it is refused with a sentence that says so, where Caddy would
// call it unknown.
type PostgresStore struct{}

var errNoPostgres = errors.New("store postgres is not part of this version: use `store bolt` on one machine and `store etcd` on several")

// CaddyModule returns the Caddy module information.
func (PostgresStore) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "apoxy.stores.postgres", New: func() caddy.Module { return new(PostgresStore) }}
}

// Provision refuses the configuration.
func (*PostgresStore) Provision(caddy.Context) error { return errNoPostgres }

// UnmarshalCaddyfile refuses the option, with its line.
func (*PostgresStore) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // consume the engine's name
	return d.WrapErr(errNoPostgres)
}

// Key and Open are never called.
func (*PostgresStore) Key() string                           { return "postgres" }
func (*PostgresStore) Open(*zap.Logger) (store.Store, error) { return nil, errNoPostgres }

// Interface guards
var (
	_ StoreModule           = (*PostgresStore)(nil)
	_ caddy.Provisioner     = (*PostgresStore)(nil)
	_ caddyfile.Unmarshaler = (*PostgresStore)(nil)
)
