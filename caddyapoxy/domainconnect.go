package caddyapoxy

import (
	"context"
	"fmt"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"go.uber.org/zap"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
	"github.com/apoxy-dev/caddy-apoxy/dnsprovider"
	"github.com/apoxy-dev/caddy-apoxy/domainconnect"
)

// DomainConnect has customers create their DNS records with one click where their DNS
// provider supports Domain Connect and has been given the operator's template. The key
// that signs the links is made once, kept in the store, and published in the zone.
type DomainConnect struct {
	// The operator's id at DNS providers, best a domain name of its own. Required.
	ProviderID string `json:"provider_id,omitempty"`
	// The template's id. Required.
	ServiceID string `json:"service_id,omitempty"`
}

// service replaces placeholders and checks the ids.
func (d *DomainConnect) service(repl *caddy.Replacer) (s domainconnect.Service, err error) {
	if s.ProviderID, err = expand(repl, "domain_connect: provider_id", d.ProviderID); err != nil {
		return s, err
	}
	if s.ServiceID, err = expand(repl, "domain_connect: service_id", d.ServiceID); err != nil {
		return s, err
	}
	if err := s.Check(); err != nil {
		return s, fmt.Errorf("domain_connect: %w", err)
	}
	return s, nil
}

// parseDomainConnect reads the option domain_connect. Syntax:
//
//	domain_connect {
//		provider_id <id>
//		service_id  <id>
//	}
func (a *App) parseDomainConnect(d *caddyfile.Dispenser) error {
	if a.DomainConnect != nil {
		return d.Err("domain_connect: there is one already")
	}
	if d.NextArg() {
		return d.Errf("domain_connect takes a block with provider_id and service_id, got %.100q", d.Val())
	}
	c := new(DomainConnect)
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		option, to := d.Val(), (*string)(nil)
		switch option {
		case "provider_id":
			to = &c.ProviderID
		case "service_id":
			to = &c.ServiceID
		default:
			return d.Errf("domain_connect has no option %.100q: expected provider_id or service_id", option)
		}
		if !d.AllArgs(to) {
			return d.Errf("domain_connect: expected one %s", option)
		}
		if err := domainconnect.CheckID(*to); err != nil && !hasPlaceholder(*to) {
			return d.Errf("domain_connect: %s %v", option, err)
		}
	}
	if c.ProviderID == "" || c.ServiceID == "" {
		return d.Err("domain_connect: expected provider_id and service_id, as in `provider_id example.net` and `service_id custom-domain`")
	}
	a.DomainConnect = c
	return nil
}

// connecting is what of Domain Connect outlives configurations.
type connecting struct {
	finder *domainconnect.Finder
	texts  *dnsprovider.Texts // the public key, in the zone
	key    atomic.Pointer[domainconnect.Key]
	wanted chan struct{} // a configuration with domain_connect came into force
}

func (rt *runtime) newConnecting(logger *zap.Logger) (*connecting, error) {
	texts, err := dnsprovider.NewTexts(domainconnect.KeyLabel)
	if err != nil {
		return nil, fmt.Errorf("preparing Domain Connect: %w", err)
	}
	c := &connecting{texts: texts, wanted: make(chan struct{}, 1)}
	c.finder = domainconnect.NewFinder(domainconnect.Config{
		DNS: liveResolver{rt},
		PrivateNetworks: func() []netip.Prefix {
			if a := rt.apps.Current(); a != nil {
				return a.privateNetworks
			}
			return nil
		},
		OnFound: func(hostname string) { rt.controller.ConnectChanged(hostname) },
		Logger:  logger,
	})
	return c, nil
}

// changed is told of each configuration that comes into force.
func (c *connecting) changed(a *App) {
	if a == nil || a.DomainConnect == nil {
		return
	}
	select {
	case c.wanted <- struct{}{}:
	default: // there is a sign already
	}
}

// How soon the key is asked for again that could not be read or made.
const (
	keyRetryLeast = 5 * time.Second
	keyRetryMost  = 5 * time.Minute
)

// keepKey reads the key pair, or makes it, once it is wanted, and publishes it.
func (rt *runtime) keepKey(ctx context.Context) error {
	c := rt.connecting
	select {
	case <-ctx.Done():
		return nil
	case <-c.wanted:
	}
	for wait := keyRetryLeast; ; wait = min(2*wait, keyRetryMost) {
		k, err := domainconnect.LoadKey(ctx, rt.store)
		if err == nil {
			err = c.texts.Set(k.Records())
		}
		if err == nil {
			c.key.Store(k)
			return nil
		}
		rt.logger.Error("there are no Domain Connect links without the key that signs them; it is tried again", zap.Error(err), zap.Duration("after", wait))
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
		}
	}
}

// connectOf is the link by which a customer creates what a record lacks with a status.
func (rt *runtime) connectOf(r *v1alpha3.DomainRecord, s *v1alpha3.DomainRecordStatus) *v1alpha3.DomainConnectStatus {
	a := rt.apps.Current()
	if a == nil || a.DomainConnect == nil {
		return nil
	}
	request, ok := domainconnect.Wanted(r, s)
	if !ok {
		return nil
	}
	key := rt.connecting.key.Load()
	offer, answer := rt.connecting.finder.Offer(request.Zone, r.Spec.Name, a.connect)
	switch {
	case answer == domainconnect.NotOffered:
		return nil
	case answer == domainconnect.Unknown || key == nil:
		return s.DomainConnect
	}
	url, err := a.connect.URL(offer, key, request)
	if err != nil {
		a.logger.Warn("a record has no Domain Connect link", zap.String("record", r.Name), zap.Error(err))
		return nil
	}
	return &v1alpha3.DomainConnectStatus{URL: url}
}
