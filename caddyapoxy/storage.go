package caddyapoxy

import (
	"errors"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

func init() {
	caddy.RegisterModule(Storage{})
}

// errNoStorage refuses a module that the contract names and this version lacks.
var errNoStorage = errors.New("storage apoxy is not part of this version: use another storage of Caddy's, such as file_system, its default")

// Storage is not part of this version: a configuration that names it is refused
// with a sentence that says so, where Caddy would call it unknown.
type Storage struct{}

// CaddyModule returns the Caddy module information.
func (Storage) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "caddy.storage.apoxy", New: func() caddy.Module { return new(Storage) }}
}

// Provision refuses the configuration.
func (*Storage) Provision(caddy.Context) error { return errNoStorage }

// UnmarshalCaddyfile refuses the option, with its line.
func (*Storage) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // consume the module's name
	return d.WrapErr(errNoStorage)
}

// Interface guards
var (
	_ caddy.Provisioner     = (*Storage)(nil)
	_ caddyfile.Unmarshaler = (*Storage)(nil)
)
