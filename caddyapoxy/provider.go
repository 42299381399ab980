package caddyapoxy

import (
	"context"
	"errors"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/libdns/libdns"

	"github.com/apoxy-dev/caddy-apoxy/dnsprovider"
)

func init() {
	caddy.RegisterModule(DNSProvider{})
}

// DNSProvider edits the operator's zone wherever Caddy takes a DNS provider,
// such as for ACME's DNS-01 challenge of the operator's own names or for ECH.
type DNSProvider struct {
	app *App
}

// CaddyModule returns the Caddy module information.
func (DNSProvider) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "dns.providers.apoxy", New: func() caddy.Module { return new(DNSProvider) }}
}

// Provision finds the app.
func (p *DNSProvider) Provision(ctx caddy.Context) (err error) {
	p.app, err = appFrom(ctx, "dns.providers.apoxy")
	return err
}

func (p *DNSProvider) provider(ctx context.Context) (*dnsprovider.Provider, error) {
	if p.app == nil {
		return nil, errors.New("dns.providers.apoxy was not provisioned")
	}
	if _, err := p.app.runtime(ctx); err != nil {
		return nil, err
	}
	return dnsprovider.NewProvider(p.app.ownZone)
}

// GetRecords implements libdns.RecordGetter.
func (p *DNSProvider) GetRecords(ctx context.Context, zone string) ([]libdns.Record, error) {
	d, err := p.provider(ctx)
	if err != nil {
		return nil, err
	}
	return d.GetRecords(ctx, zone)
}

// AppendRecords implements libdns.RecordAppender.
func (p *DNSProvider) AppendRecords(ctx context.Context, zone string, recs []libdns.Record) ([]libdns.Record, error) {
	d, err := p.provider(ctx)
	if err != nil {
		return nil, err
	}
	return d.AppendRecords(ctx, zone, recs)
}

// SetRecords implements libdns.RecordSetter.
func (p *DNSProvider) SetRecords(ctx context.Context, zone string, recs []libdns.Record) ([]libdns.Record, error) {
	d, err := p.provider(ctx)
	if err != nil {
		return nil, err
	}
	return d.SetRecords(ctx, zone, recs)
}

// DeleteRecords implements libdns.RecordDeleter.
func (p *DNSProvider) DeleteRecords(ctx context.Context, zone string, recs []libdns.Record) ([]libdns.Record, error) {
	d, err := p.provider(ctx)
	if err != nil {
		return nil, err
	}
	return d.DeleteRecords(ctx, zone, recs)
}

// UnmarshalCaddyfile sets up the provider. It has no options. Syntax:
//
//	dns apoxy
func (p *DNSProvider) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // consume the provider's name
	if d.NextArg() {
		return d.Errf("dns apoxy takes no arguments, got %q", d.Val())
	}
	for d.NextBlock(d.Nesting()) {
		return d.Errf("dns apoxy has no options, got %q", d.Val())
	}
	return nil
}

// Interface guards
var (
	_ caddy.Provisioner     = (*DNSProvider)(nil)
	_ caddyfile.Unmarshaler = (*DNSProvider)(nil)
	_ libdns.RecordGetter   = (*DNSProvider)(nil)
	_ libdns.RecordAppender = (*DNSProvider)(nil)
	_ libdns.RecordSetter   = (*DNSProvider)(nil)
	_ libdns.RecordDeleter  = (*DNSProvider)(nil)
)
