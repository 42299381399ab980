package caddyapoxy

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"sync/atomic"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyevents"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddytls"
	"go.uber.org/zap"

	"github.com/apoxy-dev/caddy-apoxy/dnsprovider"
	"github.com/apoxy-dev/caddy-apoxy/domainconnect"
	"github.com/apoxy-dev/caddy-apoxy/hosts"
	"github.com/apoxy-dev/caddy-apoxy/issuance"
	"github.com/apoxy-dev/caddy-apoxy/ownership"
	"github.com/apoxy-dev/caddy-apoxy/resolver"
	"github.com/apoxy-dev/caddy-apoxy/target"
	"github.com/apoxy-dev/caddy-apoxy/webhook"
)

func init() {
	caddy.RegisterModule(new(App))
}

// App attaches customers' domains: it keeps DomainRecords, serves the
// operator's zone, verifies ownership and obtains certificates.
type App struct {
	// The operator's zone. Required.
	Zone *Zone `json:"zone,omitempty"`

	// Further zones, served from files.
	ZoneFiles []ZoneFile `json:"zone_files,omitempty"`

	// The addresses on which DNS is answered, UDP and TCP. Default: ":53".
	DNS []string `json:"dns,omitempty"`

	// How many answers of each kind (answer, NXDOMAIN, error) a network, an IPv4
	// /24 or IPv6 /56, gets over UDP in a second; of what is over it, every second
	// answer is truncated and the rest dropped. Clients with a DNS cookie (RFC
	// 7873), TCP and loopback are not limited. 1 to 1000000; -1: no limit.
	// Default: 500.
	DNSRateLimit int `json:"dns_rate_limit,omitempty"`

	// The recursive resolvers to ask, with or without a port.
	// Default: the system's.
	Resolvers []string `json:"resolvers,omitempty"`

	// Special-purpose networks (loopback, private, link-local and the like) in
	// which customers' name servers may be contacted, in CIDR notation; an address
	// stands for itself alone. What the configuration itself names is always
	// contacted, and what the resolvers answer counts either way. Default: none.
	PrivateNetworks []string `json:"private_networks,omitempty"`

	// How often a record that is not settled is looked at, at least 10ms; a
	// bare number is nanoseconds, as everywhere in Caddy's JSON. Default: 30s.
	CheckInterval caddy.Duration `json:"check_interval,omitempty"`

	// How long every proof must be affirmatively gone before a record's
	// ownership falls, at least 100ms. Default: 10m.
	DetachAfter caddy.Duration `json:"detach_after,omitempty"`

	// How long the fleet brake may hold, at least 100ms: it keeps all records
	// verified when more than a tenth of them, at least ten and of more than one
	// owner, would lose ownership together. Then those fall that have no proof
	// left. Default: 1h.
	FleetBrakeHold caddy.Duration `json:"fleet_brake_hold,omitempty"`

	// What proves a record that is not verified yet: "cname", the fixed records
	// of the guide, and its token only where another owner has or had a claim; or
	// "token", its own token always. Default: cname.
	Proof string `json:"proof,omitempty"`

	// How long after its creation a record that was never verified is deleted.
	// A production example is 7d. Default: 0, never.
	UnprovenTTL caddy.Duration `json:"unproven_ttl,omitempty"`

	// Who is told of events over HTTP. Default: nobody.
	Webhooks []Webhook `json:"webhooks,omitempty"`

	// One click in place of DNS records, at providers that support Domain Connect.
	// Default: none.
	DomainConnect *DomainConnect `json:"domain_connect,omitempty"`

	// Where records live. Default: bolt in Caddy's data directory.
	StoreRaw json.RawMessage `json:"store,omitempty" caddy:"namespace=apoxy.stores inline_key=module"`

	// This node's name, where several share the store, unique among them: letters,
	// digits, dots and hyphens. Default: the host's name.
	Node string `json:"node,omitempty"`

	ctx       caddy.Context
	logger    *zap.Logger
	events    *caddyevents.App
	http      atomic.Pointer[caddyhttp.App]
	tls       atomic.Pointer[caddytls.TLS]
	store     StoreModule
	zone      dnsprovider.Config
	settings  ownership.Settings
	targets   target.Registry
	reserved  atomic.Pointer[reservations]
	resolver  *resolver.Resolver
	zonefiles []*dnsprovider.ZoneFile
	ownZone   *dnsprovider.Zone
	authority *dnsprovider.Authority

	// privateNetworks are PrivateNetworks, read.
	privateNetworks []netip.Prefix

	// webhooks are Webhooks, read.
	webhooks []webhook.Endpoint

	// setup is where set-up pages are.
	setup setupSite

	// connect is DomainConnect, read.
	connect domainconnect.Service

	// edgeCheck is what Zone.EdgeCheck says.
	edgeCheck edgeCheck

	// counted are the servers whose connections are counted, by Provision.
	counted map[*caddyhttp.Server]bool

	// permits: this app's permission is asked about on-demand certificates.
	permits atomic.Bool

	// caaWarned: of the zone's caa lines, once.
	caaWarned atomic.Bool

	// held is what outlives this configuration, from joining it to Cleanup.
	held *runtime
	// rt is held once it may be used; joined is closed then.
	rt     atomic.Pointer[runtime]
	joined chan struct{}
	dns    []*dnsListener
}

// CaddyModule returns the Caddy module information.
func (*App) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "apoxy", New: func() caddy.Module { return new(App) }}
}

// Provision checks the configuration. It opens nothing that another process
// may hold, so that `caddy validate` works beside a running server; in a reload
// it joins what is running.
func (a *App) Provision(ctx caddy.Context) error {
	a.ctx, a.logger, a.joined = ctx, ctx.Logger(), make(chan struct{})
	if a.Zone == nil {
		return errors.New("a zone is required, such as `zone cname.example.net { … }`")
	}
	repl := caddy.NewReplacer()
	zone, err := a.Zone.config(repl)
	if err != nil {
		return err
	}
	a.zone = zone
	if a.edgeCheck, err = a.Zone.edgeChecked(repl); err != nil {
		return err
	}
	if _, err := dnsprovider.NewZone(zone, zoneNames{hosts.New()}, nil); err != nil {
		return err // names the zone
	}
	if err := a.provisionZones(repl); err != nil {
		return err
	}
	if err := a.provisionSettings(repl); err != nil {
		return err
	}
	if err := a.provisionWebhooks(repl); err != nil {
		return err
	}
	if a.DomainConnect != nil {
		if a.connect, err = a.DomainConnect.service(repl); err != nil {
			return err
		}
	}
	if err := a.provisionStore(ctx); err != nil {
		return err
	}
	if st, ok := ctx.Storage().(*Storage); ok && st.own == nil {
		st.liesIn(a.store)
	}
	for _, z := range a.ZoneFiles {
		zf, err := dnsprovider.OpenZoneFile(canonical(z.Zone), z.File, a.logger.Named("zonefile"))
		if err != nil {
			return fmt.Errorf("zonefile %s: %w", z.Zone, err)
		}
		a.zonefiles = append(a.zonefiles, zf)
	}
	events, err := ctx.App("events")
	if err != nil {
		return fmt.Errorf("getting the events app: %w", err)
	}
	a.events = events.(*caddyevents.App)
	a.resolver = resolver.New(resolver.Config{
		Resolvers:       a.Resolvers,
		PrivateNetworks: a.privateNetworks,
		OwnZone:         func() string { return zone.Name },
		EdgeAddresses:   a.edgeAddresses,
		Logger:          a.logger.Named("resolver"),
	})
	if err := registerMetrics(ctx); err != nil {
		return err
	}
	return a.joinRunning()
}

func (a *App) provisionStore(ctx caddy.Context) error {
	if a.StoreRaw == nil {
		b := new(BoltStore)
		a.store = b
		return b.Provision(ctx)
	}
	mod, err := ctx.LoadModule(a, "StoreRaw")
	if err != nil {
		return fmt.Errorf("loading the store: %w", err)
	}
	s, ok := mod.(StoreModule)
	if !ok {
		return fmt.Errorf("loading the store: %T is not a store", mod)
	}
	a.store = s
	return nil
}

// Start joins, or starts, what outlives configurations, and answers DNS.
func (a *App) Start() error {
	if a.held == nil {
		if err := a.join(); err != nil {
			return err
		}
	}
	if st, ok := a.ctx.Storage().(*Storage); ok {
		if err := st.start(); err != nil {
			return err
		}
	}
	// Not in Provision: loading the http app there, while the tls app that asks
	// for this one is half loaded, would fail.
	if httpApp, err := a.ctx.AppIfConfigured("http"); err == nil {
		a.http.Store(httpApp.(*caddyhttp.App))
	}
	if tlsApp, err := a.ctx.AppIfConfigured("tls"); err == nil {
		a.tls.Store(tlsApp.(*caddytls.TLS))
	}
	reserved := reservedHosts(a.http.Load())
	a.reserved.Store(&reserved)
	for _, h := range withoutRecords(a.http.Load()) {
		for ref, t := range h.targets {
			a.targets.Remove(ref, t)
		}
		a.targets.RemoveSite()
	}
	a.held.apps.Push(a)
	if err := a.held.start(); err != nil {
		return err
	}
	a.publish()
	a.warnOfSweep()
	a.warnOfNoAPI()
	a.warnOfOwnSites()
	a.warnOfTargets()
	for _, zf := range a.zonefiles {
		go zf.Run(a.ctx)
	}
	return a.listenDNS()
}

// Stop hands over to the configuration that stays, if any.
func (a *App) Stop() error {
	a.closeDNS()
	if a.held != nil {
		a.held.apps.Remove(a)
	}
	return nil
}

// Cleanup leaves what outlives this configuration. It is also called when the
// configuration failed to load.
func (a *App) Cleanup() error {
	a.closeDNS()
	if a.held == nil {
		return nil
	}
	a.held.apps.Remove(a)
	key := a.held.key
	a.held = nil
	_, err := runtimes.Delete(key)
	return err
}

// joinRunning joins the runtime of the store if this process already has it,
// so that a reload never has a moment without one.
func (a *App) joinRunning() error {
	if _, running := runtimes.References(a.store.Key()); !running {
		return nil
	}
	if err := a.join(); err != nil {
		return err
	}
	a.publish()
	return nil
}

// join takes hold of the runtime and opens the zones over it. Cleanup lets go
// of it, after an error, too.
func (a *App) join() error {
	rt, err := openRuntime(a.store, a.logger)
	if err != nil {
		return err
	}
	a.held = rt
	return a.openZones(rt)
}

// publish lets handshakes, requests and API calls in.
func (a *App) publish() {
	if a.rt.CompareAndSwap(nil, a.held) {
		close(a.joined)
	}
}

// Issuance returns the scheduler that obtains certificates; nil before the
// first configuration has started.
func (a *App) Issuance() *issuance.Scheduler {
	if rt := a.rt.Load(); rt != nil {
		return rt.scheduler
	}
	return nil
}

// appFrom returns the app of the configuration that is being provisioned.
func appFrom(ctx caddy.Context, who string) (*App, error) {
	v, err := ctx.AppIfConfigured("apoxy")
	switch {
	case errors.Is(err, caddy.ErrNotConfigured):
		return nil, fmt.Errorf("%s needs the apoxy app: add the global option `apoxy { zone … }`: %w", who, err)
	case err != nil:
		return nil, err // of the app, which names what is wrong in it
	}
	return v.(*App), nil
}

// Interface guards
var (
	_ caddy.App          = (*App)(nil)
	_ caddy.Provisioner  = (*App)(nil)
	_ caddy.CleanerUpper = (*App)(nil)
)
