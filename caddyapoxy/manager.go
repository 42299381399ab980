package caddyapoxy

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddytls"
	"github.com/caddyserver/certmagic"
)

func init() { caddy.RegisterModule(new(Manager)) }

// Manager is the issuer `apoxy` under a name that a site without a hostname can
// have beside any global option. Caddy takes the issuers of such a site for those
// of every site, and refuses two sets of them: its own `issuer` and what a global
// option such as acme_ca, key_type or cert_issuer says. Certificate managers it
// does not take so. The automation policy that a Manager stands in issues by it,
// and by further ones in their order, in place of the policy's issuers; what
// global options say of ACME (email, CA, its roots, external account, preferred
// chains, lifetime, ports) fills in what the Manager leaves out.
type Manager struct{ Issuer }

// CaddyModule returns the Caddy module information.
func (*Manager) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "tls.get_certificate.apoxy", New: func() caddy.Module { return new(Manager) }}
}

// Provision gives the policy its issuers. Caddy loads a policy's managers before
// its issuers, which are loaded, with what is wrong in them, from there.
func (m *Manager) Provision(ctx caddy.Context) error {
	i := slices.IndexFunc(ctx.Modules(), func(m caddy.Module) bool { _, ok := m.(*caddytls.TLS); return ok })
	if i < 0 {
		return errors.New("get_certificate apoxy: expected to stand in a policy of tls.automation, as in a site's `tls { on_demand; get_certificate apoxy }`")
	}
	automation := ctx.Modules()[i].(*caddytls.TLS).Automation
	policy := policyBeingLoaded(automation)
	switch {
	case policy == nil:
		return errors.New("get_certificate apoxy: the policy of tls.automation that it stands in was not found")
	case !policy.OnDemand:
		return errors.New("get_certificate apoxy: add `on_demand` beside it: certificates of customers' hostnames are loaded when they are asked for")
	case automation.OnDemand == nil:
		return errors.New("get_certificate apoxy: add the global option `on_demand_tls { permission apoxy }`, which says whose certificates are")
	}
	if _, again := managed.LoadOrStore(policy, struct{}{}); again {
		return nil // by a Manager before it
	}
	context.AfterFunc(ctx, func() { managed.Delete(policy) })
	issuers, err := managedIssuers(policy)
	if err != nil {
		return fmt.Errorf("get_certificate apoxy: %w", err)
	}
	policy.IssuersRaw = issuers
	return nil
}

// managed has the policies whose Managers have given them their issuers.
var managed sync.Map

// policyBeingLoaded is the first policy that is not complete and has a Manager:
// Caddy loads them in their order.
func policyBeingLoaded(automation *caddytls.AutomationConfig) *caddytls.AutomationPolicy {
	if automation == nil {
		return nil
	}
	for _, ap := range automation.Policies {
		if !ap.IsProvisioned() && slices.ContainsFunc(ap.ManagersRaw, isManager) {
			return ap
		}
	}
	return nil
}

func isManager(raw json.RawMessage) bool { return moduleIn(raw, "via") == "apoxy" }

// moduleIn is the module's name under key; empty if raw has none.
func moduleIn(raw json.RawMessage, key string) string {
	var named map[string]json.RawMessage
	var name string
	if json.Unmarshal(raw, &named) != nil || json.Unmarshal(named[key], &name) != nil {
		return ""
	}
	return name
}

// managedIssuers are the issuers, in JSON, that a policy's Managers stand for. A
// Manager alone and without options stands for the issuers apoxy that are there, as
// of the global option cert_issuer.
func managedIssuers(policy *caddytls.AutomationPolicy) ([]json.RawMessage, error) {
	var global Issuer
	for _, raw := range policy.IssuersRaw {
		module := moduleIn(raw, "module")
		if module == "apoxy" && onlyBare(policy.ManagersRaw) {
			return policy.IssuersRaw, nil
		}
		if module != "apoxy" && module != "acme" { // as Caddy makes it of the global options
			continue
		}
		if err := json.Unmarshal(raw, &global); err != nil {
			return nil, fmt.Errorf("reading the policy's issuer %s: %w", module, err)
		}
		break
	}
	var issuers []json.RawMessage
	for _, raw := range policy.ManagersRaw {
		if !isManager(raw) {
			continue
		}
		var m Manager
		if err := json.Unmarshal(raw, &m); err != nil {
			return nil, fmt.Errorf("reading its options: %w", err)
		}
		m.fillIn(&global)
		var warnings []caddyconfig.Warning
		issuers = append(issuers, caddyconfig.JSONModuleObject(&m.Issuer, "module", "apoxy", &warnings))
		if len(warnings) > 0 {
			return nil, fmt.Errorf("writing its options: %s", warnings[0])
		}
	}
	return issuers, nil
}

// onlyBare tells whether there is one Manager, and it has no options.
func onlyBare(managers []json.RawMessage) bool {
	ours := slices.DeleteFunc(slices.Clone(managers), func(raw json.RawMessage) bool { return !isManager(raw) })
	var options map[string]json.RawMessage
	return len(ours) == 1 && json.Unmarshal(ours[0], &options) == nil && len(options) == 1
}

// fillIn takes over what Caddy fills in from global options into an issuer that
// stands in a site, but for the DNS provider of acme_dns, which is not used.
func (m *Manager) fillIn(global *Issuer) {
	if m.Email == "" {
		m.Email = global.Email
	}
	if m.CA == "" {
		m.CA = global.CA
	}
	for _, file := range global.TrustedRootsPEMFiles {
		if !slices.Contains(m.TrustedRootsPEMFiles, file) {
			m.TrustedRootsPEMFiles = append(m.TrustedRootsPEMFiles, file)
		}
	}
	if m.TrustedRootsPKI == "" {
		m.TrustedRootsPKI = global.TrustedRootsPKI
	}
	if m.ExternalAccount == nil {
		m.ExternalAccount = global.ExternalAccount
	}
	if m.PreferredChains == nil {
		m.PreferredChains = global.PreferredChains
	}
	if m.CertificateLifetime == 0 {
		m.CertificateLifetime = global.CertificateLifetime
	}
	if global.Challenges == nil {
		return
	}
	if m.Challenges == nil {
		m.Challenges = new(caddytls.ChallengesConfig)
	}
	if m.Challenges.HTTP == nil {
		m.Challenges.HTTP = global.Challenges.HTTP
	}
	if m.Challenges.TLSALPN == nil {
		m.Challenges.TLSALPN = global.Challenges.TLSALPN
	}
	if m.Challenges.BindHost == "" {
		m.Challenges.BindHost = global.Challenges.BindHost
	}
}

// GetCertificate never has one: the permission, storage and the issuers are asked.
func (*Manager) GetCertificate(context.Context, *tls.ClientHelloInfo) (*tls.Certificate, error) {
	return nil, nil
}

// Cleanup has nothing to take back: the issuers are modules of their own.
func (*Manager) Cleanup() error { return nil }

// UnmarshalCaddyfile sets up the manager from Caddyfile tokens:
//
//	get_certificate apoxy [<directory_url>] {
//	    … the options of `issuer apoxy`
//	}
func (m *Manager) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	return m.Issuer.UnmarshalCaddyfile(d)
}

// Interface guards
var (
	_ certmagic.Manager     = (*Manager)(nil)
	_ caddy.Provisioner     = (*Manager)(nil)
	_ caddy.CleanerUpper    = (*Manager)(nil)
	_ caddyfile.Unmarshaler = (*Manager)(nil)
)
