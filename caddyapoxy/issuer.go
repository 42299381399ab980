package caddyapoxy

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyevents"
	"github.com/caddyserver/caddy/v2/modules/caddytls"
	"github.com/caddyserver/certmagic"
	acmez "github.com/mholt/acmez/v3/acme"
	"go.uber.org/zap"

	"github.com/apoxy-dev/caddy-apoxy/issuance"
	"github.com/apoxy-dev/caddy-apoxy/issuance/acme"
	"github.com/apoxy-dev/caddy-apoxy/issuance/certfiles"
	"github.com/apoxy-dev/caddy-apoxy/ownership"
)

func init() { caddy.RegisterModule(new(Issuer)) }

// issuanceApp is what an Issuer needs of the app `apoxy`.
type issuanceApp interface {
	// Issuance is the running scheduler; nil before the first configuration
	// has started. It is called after Provision only.
	Issuance() *issuance.Scheduler
	// Shows says whose certificate a handshake for a hostname is shown.
	Shows(ctx context.Context, hostname string) certfiles.Shown
	// UploadFor is the hostname of the record whose uploaded certificate a handshake for
	// a hostname is shown, empty for none.
	UploadFor(ctx context.Context, hostname string) string
	// ServedBy names the site of the configuration that answers for a hostname by
	// itself, if one does and no record has the hostname.
	ServedBy(hostname string) (site string, yes bool)
}

// issuerGroup gathers the issuers of one configuration. The scheduler gets
// them when Caddy says that the configuration has started, so that one that
// fails to load never takes over, and gives them up when the configuration is
// cleaned up.
type issuerGroup struct {
	issuance.Issuers
	app   issuanceApp
	users int
	// scheduler has the group; nil before the start.
	scheduler *issuance.Scheduler
}

// issuerGroups holds the group of each live configuration by its app.
var issuerGroups = struct {
	sync.Mutex
	of map[issuanceApp]*issuerGroup
}{of: map[issuanceApp]*issuerGroup{}}

// joinIssuerGroup takes a share in the configuration's group.
func joinIssuerGroup(app issuanceApp, events *caddyevents.App) (*issuerGroup, error) {
	issuerGroups.Lock()
	defer issuerGroups.Unlock()
	g := issuerGroups.of[app]
	if g == nil {
		g = &issuerGroup{app: app}
		g.Shows, g.Uploads = app.Shows, app.UploadFor
		if err := events.On("started", g); err != nil {
			return nil, fmt.Errorf("waiting for the start: %w", err)
		}
		issuerGroups.of[app] = g
	}
	g.users++
	return g, nil
}

// Handle is called once the configuration has started.
func (g *issuerGroup) Handle(context.Context, caddy.Event) error {
	s := g.app.Issuance()
	issuerGroups.Lock()
	defer issuerGroups.Unlock()
	if s != nil && g.users > 0 {
		g.scheduler = s
		s.SetIssuers(&g.Issuers)
		if a, ok := g.app.(interface {
			warnOfCAA(issuers []ownership.Issuer)
		}); ok {
			a.warnOfCAA(s.CAAIssuers())
		}
	}
	return nil
}

// leave gives a share back, and with the last one the group.
func (g *issuerGroup) leave() {
	issuerGroups.Lock()
	defer issuerGroups.Unlock()
	if g.users--; g.users > 0 {
		return
	}
	delete(issuerGroups.of, g.app)
	if g.scheduler != nil {
		g.scheduler.DropIssuers(&g.Issuers)
	}
}

// Issuer obtains certificates for the hostnames of DomainRecords: by DNS-01
// through the embedded zone where the customer has delegated _acme-challenge,
// else by HTTP-01 or TLS-ALPN-01. It takes everything that the issuer `acme`
// takes and needs the app `apoxy`; a DNS provider is taken but not used.
// Further issuers of this kind are tried in their order.
type Issuer struct {
	caddytls.ACMEIssuer

	// How many new orders to place with this certificate authority in
	// order_budget_per, at most. Renewals that the authority exempts from its
	// limits are not counted. Default: what the authority is known to allow
	// (Let's Encrypt: 300 in 3 hours), no bound for others.
	OrderBudget int `json:"order_budget,omitempty"`
	// The span of time that order_budget is for. Default: 3h.
	OrderBudgetPer caddy.Duration `json:"order_budget_per,omitempty"`
	// The ID of a certificate authority of Caddy's pki app, such as local,
	// whose root is trusted for the ACME endpoint, beside trusted_roots. For an
	// acme_server of Caddy's own. Default: none.
	TrustedRootsPKI string `json:"trusted_roots_pki,omitempty"`

	group     *issuerGroup // nil before Provision has come that far
	authority acme.Authority
	log       *zap.Logger
}

// CaddyModule returns the Caddy module information.
func (*Issuer) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "tls.issuance.apoxy", New: func() caddy.Module { return new(Issuer) }}
}

// Provision checks the options and finds the app.
func (iss *Issuer) Provision(ctx caddy.Context) error {
	iss.log = ctx.Logger()
	if c := iss.Challenges; c != nil && c.DNS != nil {
		// The global option acme_dns arrives here too. A DNS provider would
		// turn the answers to HTTP-01 and TLS-ALPN-01 off, and cannot write
		// where customers delegate to.
		c.DNS = nil
		iss.log.Warn("the DNS provider is not used: DNS-01 goes through the zone of the app apoxy")
	}
	if c := iss.Challenges; c != nil && c.Distributed != nil && !*c.Distributed {
		return errors.New("issuer apoxy: remove `distributed false`: challenges are handed to Caddy's servers through storage")
	}
	if iss.OrderBudget < 0 || iss.OrderBudgetPer < 0 {
		return fmt.Errorf("issuer apoxy: order_budget %d %s must not be negative", iss.OrderBudget, time.Duration(iss.OrderBudgetPer))
	}
	if err := iss.expand(caddy.NewReplacer()); err != nil {
		return err
	}
	proxy, err := iss.networkProxy(ctx)
	if err != nil {
		return err
	}
	if err := iss.ACMEIssuer.Provision(ctx); err != nil {
		return err
	}
	if iss.authority, err = iss.makeAuthority(); err != nil {
		return err
	}
	iss.authority.Proxy = proxy
	if iss.TrustedRootsPKI != "" {
		if iss.authority.TrustedRoots, err = withPKIRoot(ctx, iss.authority.TrustedRoots, iss.TrustedRootsPKI); err != nil {
			return fmt.Errorf("issuer apoxy: trusted_roots_pki %s: %w", iss.TrustedRootsPKI, err)
		}
	}
	app, err := appFrom(ctx, "issuer apoxy")
	if err != nil {
		return err
	}
	events, err := ctx.App("events")
	if err != nil {
		return fmt.Errorf("issuer apoxy: getting the events app: %w", err)
	}
	if iss.group, err = joinIssuerGroup(app, events.(*caddyevents.App)); err != nil {
		return fmt.Errorf("issuer apoxy: %w", err)
	}
	return nil
}

// expand replaces placeholders where the embedded issuer does not.
func (iss *Issuer) expand(repl *caddy.Replacer) (err error) {
	if iss.Profile, err = expand(repl, "issuer apoxy: profile", iss.Profile); err != nil {
		return err
	}
	if iss.TrustedRootsPKI, err = expand(repl, "issuer apoxy: trusted_roots_pki", iss.TrustedRootsPKI); err != nil {
		return err
	}
	if p := iss.PreferredChains; p != nil {
		err = errors.Join(expandAll(repl, "issuer apoxy: root_common_name", p.RootCommonName),
			expandAll(repl, "issuer apoxy: any_common_name", p.AnyCommonName))
	}
	return errors.Join(err, expandAll(repl, "issuer apoxy: trusted_roots", iss.TrustedRootsPEMFiles))
}

// networkProxy loads the forward proxy, nil for none, and leaves its
// configuration for the embedded issuer, which does not export what it loads.
func (iss *Issuer) networkProxy(ctx caddy.Context) (func(*http.Request) (*url.URL, error), error) {
	if len(iss.NetworkProxyRaw) == 0 {
		return nil, nil
	}
	raw := slices.Clone(iss.NetworkProxyRaw)
	mod, err := ctx.LoadModule(&iss.ACMEIssuer, "NetworkProxyRaw")
	if err != nil {
		return nil, fmt.Errorf("issuer apoxy: loading network_proxy: %w", err)
	}
	iss.NetworkProxyRaw = raw
	producer, ok := mod.(caddy.ProxyFuncProducer)
	if !ok {
		return nil, fmt.Errorf("issuer apoxy: network_proxy: a %T gives no proxy", mod)
	}
	return producer.ProxyFunc(), nil
}

// makeAuthority copies what the embedded issuer was told: what it makes of it
// is not exported. It runs after the embedded Provision has expanded
// placeholders.
func (iss *Issuer) makeAuthority() (acme.Authority, error) {
	a := acme.Authority{
		Directory:       iss.CA,
		Email:           iss.Email,
		AccountKeyPEM:   iss.AccountKey,
		ExternalAccount: iss.ExternalAccount,
		Profile:         iss.Profile,
		Lifetime:        time.Duration(iss.CertificateLifetime),
		Timeout:         time.Duration(iss.ACMETimeout),
		Budget:          acme.Budget{Orders: iss.OrderBudget, Per: time.Duration(iss.OrderBudgetPer)},
	}
	if u, err := url.Parse(iss.CA); err != nil || u.Scheme == "http" && !certmagic.SubjectIsInternal(u.Hostname()) {
		return a, fmt.Errorf("issuer apoxy: dir %q: expected an https URL; http is for internal hosts only", iss.CA)
	}
	if a.Budget.Orders > 0 && a.Budget.Per == 0 {
		a.Budget.Per = 3 * time.Hour
	}
	if len(iss.TrustedRootsPEMFiles) > 0 {
		a.TrustedRoots = x509.NewCertPool()
		for _, file := range iss.TrustedRootsPEMFiles {
			pem, err := os.ReadFile(file)
			if err != nil {
				return a, fmt.Errorf("reading trusted_roots: %w", err)
			}
			if !a.TrustedRoots.AppendCertsFromPEM(pem) {
				return a, fmt.Errorf("reading trusted_roots: %s holds no certificate in PEM", file)
			}
		}
	}
	if p := iss.PreferredChains; p != nil {
		a.PreferredChains = certmagic.ChainPreference{Smallest: p.Smallest, AnyCommonName: p.AnyCommonName, RootCommonName: p.RootCommonName}
	}
	if c := iss.Challenges; c != nil {
		a.DisableHTTP01 = c.HTTP != nil && c.HTTP.Disabled
		a.DisableTLSALPN01 = c.TLSALPN != nil && c.TLSALPN.Disabled
	}
	return a, nil
}

// SetConfig takes the policy's configuration. Caddy calls it several times
// per load; the last holds.
func (iss *Issuer) SetConfig(cfg *certmagic.Config) {
	iss.ACMEIssuer.SetConfig(cfg)
	iss.group.Set(iss, iss.authority, cfg, iss.log)
}

// PreCheck never asks for an email address on the terminal.
func (iss *Issuer) PreCheck(ctx context.Context, names []string, _ bool) error {
	return iss.ACMEIssuer.PreCheck(ctx, names, false)
}

// Issue hands a handshake's request to the scheduler.
func (iss *Issuer) Issue(ctx context.Context, csr *x509.CertificateRequest) (*certmagic.IssuedCertificate, error) {
	s := iss.group.app.Issuance()
	if s == nil {
		return nil, certmagic.ErrNoRetry{Err: errors.New("issuer apoxy: the app apoxy is not running")}
	}
	for _, name := range csr.DNSNames {
		if site, own := iss.group.app.ServedBy(canonical(name)); own {
			return nil, certmagic.ErrNoRetry{Err: errOwnSite(name, site)}
		}
	}
	return s.Issue(ctx, &iss.group.Issuers, iss, csr)
}

// errOwnSite refuses to order for a site's hostname, which can have no record.
func errOwnSite(name, site string) error {
	return fmt.Errorf("ordering a certificate for %.260q: %s of the configuration answers for it, and no DomainRecord can: give that site its own issuer, as with `tls { issuer acme }`", name, site)
}

// IssuerKey is where certificates and account lie in storage: the same place
// as for the issuer acme with the same directory.
func (iss *Issuer) IssuerKey() string { return iss.authority.Key() }

// GetRenewalInfo answers from the scheduler's memory, without a request.
func (iss *Issuer) GetRenewalInfo(_ context.Context, cert certmagic.Certificate) (acmez.RenewalInfo, error) {
	s := iss.group.app.Issuance()
	if s == nil || len(cert.Names) == 0 {
		return acmez.RenewalInfo{}, acmez.ErrUnsupported
	}
	return s.RenewalInfo(cert.Names[0])
}

// GetACMEIssuer lets Caddy answer HTTP challenges, find ports and fill in
// global options.
func (iss *Issuer) GetACMEIssuer() *caddytls.ACMEIssuer { return &iss.ACMEIssuer }

// Cleanup takes the issuer back.
func (iss *Issuer) Cleanup() error {
	if iss.group != nil {
		iss.group.leave() // and keep the pointer: handshakes may still be under way
	}
	return nil
}

// UnmarshalCaddyfile sets up the issuer from Caddyfile tokens:
//
//	issuer apoxy [<directory_url>] {
//	    order_budget <orders> [<duration>]
//	    trusted_roots_pki <ca_id>
//	    … everything that `issuer acme` takes
//	}
func (iss *Issuer) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	var rest []caddyfile.Token
	depth, line := 0, -1
	for d.Next() {
		opens := d.Line() != line // the token begins a line
		line = d.Line()
		switch {
		case d.Val() == "{":
			depth++
		case d.Val() == "}":
			depth--
		case depth == 1 && opens && d.Val() == "order_budget":
			orders, per, err := parseBudget(d, d.RemainingArgs())
			if err != nil {
				return err
			}
			iss.OrderBudget, iss.OrderBudgetPer = orders, caddy.Duration(per)
			continue
		case depth == 1 && opens && d.Val() == "trusted_roots_pki":
			if !d.AllArgs(&iss.TrustedRootsPKI) {
				return d.Err("trusted_roots_pki expects one ID of a CA of Caddy's pki app, such as `trusted_roots_pki local`")
			}
			continue
		}
		rest = append(rest, d.Token())
	}
	return iss.ACMEIssuer.UnmarshalCaddyfile(caddyfile.NewDispenser(rest))
}

func parseBudget(d *caddyfile.Dispenser, args []string) (orders int, per time.Duration, err error) {
	if len(args) < 1 || len(args) > 2 {
		return 0, 0, d.Err("order_budget expects a number of orders and a duration, such as `order_budget 300 3h`")
	}
	orders, err = strconv.Atoi(args[0])
	if err != nil || orders <= 0 {
		return 0, 0, d.Errf("order_budget %q: expected a number of orders above zero, such as 300", args[0])
	}
	per = 3 * time.Hour
	if len(args) == 2 {
		per, err = caddy.ParseDuration(args[1])
		if err != nil || per <= 0 {
			return 0, 0, d.Errf("order_budget %q: expected a duration above zero, such as 3h", args[1])
		}
	}
	return orders, per, nil
}

var (
	_ certmagic.Issuer            = (*Issuer)(nil)
	_ certmagic.PreChecker        = (*Issuer)(nil)
	_ certmagic.Revoker           = (*Issuer)(nil)
	_ certmagic.RenewalInfoGetter = (*Issuer)(nil)
	_ caddytls.ConfigSetter       = (*Issuer)(nil)
	_ caddy.Provisioner           = (*Issuer)(nil)
	_ caddy.CleanerUpper          = (*Issuer)(nil)
	_ caddyfile.Unmarshaler       = (*Issuer)(nil)
)
