package caddyapoxy

import (
	"net/netip"
	"reflect"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddytls"
	"github.com/caddyserver/certmagic"
	"go.uber.org/zap"
)

// ownSite is a hostname of a TLS site for which Caddy itself is to get the
// certificate, and what decides whether it does.
type ownSite struct {
	host string
	// wildcard is another site that covers host and gets certificates on demand,
	// so none of its own; empty: there is none.
	wildcard string
	// automated: `tls force_automate`, or listed in tls_automate_names.
	automated bool
	// onDemand: by a permission that knows the hostnames of records alone.
	onDemand bool
	// ofRecords: its issuer is apoxy, which knows no others either.
	ofRecords bool
}

// trouble says why the site gets no certificate, and what mends that; empty
// where it does.
func (s ownSite) trouble() (why, mend string) {
	switch {
	case s.ofRecords:
		return "its issuer is apoxy, which orders for the hostnames of DomainRecords alone",
			"give that site its own issuer, as with `tls { issuer acme }`"
	case s.onDemand:
		return "it gets its certificate on demand, and the permission apoxy allows the hostnames of DomainRecords alone",
			"take `on_demand` out of the site's tls block"
	case s.wildcard != "" && !s.automated:
		return "the site " + s.wildcard + " covers it, so Caddy manages no certificate for it, and that one has none of its own: it gets certificates on demand",
			"write `tls force_automate` into the site " + s.host + ", with the block and its issuer where it has one"
	}
	return "", ""
}

// warnOfOwnSites names the sites whose handshakes would fail for ever.
func (a *App) warnOfOwnSites() {
	httpApp, tlsApp := a.http.Load(), a.tls.Load()
	if httpApp == nil || tlsApp == nil {
		return
	}
	for _, s := range ownSites(httpApp, tlsApp, a.permits.Load()) {
		if why, mend := s.trouble(); why != "" {
			a.logger.Warn("a site of the configuration gets no certificate", zap.String("site", s.host), zap.String("why", why), zap.String("mend", mend))
		}
	}
}

// ownSites finds the hostnames that Caddy's automatic HTTPS is to see to. permits:
// the permission for on-demand certificates is ours.
func ownSites(httpApp *caddyhttp.App, tlsApp *caddytls.TLS, permits bool) (sites []ownSite) {
	hosts, automated := automaticHosts(httpApp, tlsApp), automatedNames(tlsApp)
	for _, host := range hosts {
		if strings.Contains(host, "*") {
			continue
		}
		s := ownSite{host: host, automated: slices.Contains(automated, host), wildcard: onDemandAbove(host, hosts, tlsApp)}
		if ap := policyOf(tlsApp, host); ap != nil {
			s.onDemand = ap.OnDemand && permits
			s.ofRecords = len(ap.Issuers) > 0 && !slices.ContainsFunc(ap.Issuers, func(i certmagic.Issuer) bool { _, ours := i.(*Issuer); return !ours })
		}
		sites = append(sites, s)
	}
	return sites
}

// automaticHosts are the hosts of TLS sites that Caddy manages certificates for,
// wildcards included, in order.
func automaticHosts(httpApp *caddyhttp.App, tlsApp *caddytls.TLS) (hosts []string) {
	for _, server := range httpApp.Servers {
		auto := server.AutoHTTPS
		if len(server.TLSConnPolicies) == 0 || auto == nil || auto.Disabled || auto.DisableCerts {
			continue
		}
		for _, route := range server.Routes {
			for _, host := range matchedHosts(route.MatcherSets) {
				loaded := !auto.IgnoreLoadedCerts && !strings.Contains(host, "*") && tlsApp.HasCertificateForSubject(host)
				if !loaded && !slices.Contains(auto.Skip, host) && !slices.Contains(auto.SkipCerts, host) && certmagic.SubjectQualifiesForCert(host) {
					hosts = append(hosts, host)
				}
			}
		}
	}
	slices.Sort(hosts)
	return slices.Compact(hosts)
}

// onDemandAbove is the wildcard among hosts for which Caddy leaves out host, if
// that wildcard's certificates come on demand; empty if none does.
func onDemandAbove(host string, hosts []string, tlsApp *caddytls.TLS) string {
	if _, err := netip.ParseAddr(host); err == nil {
		return "" // addresses have no labels
	}
	for _, wildcard := range hosts {
		if wildcard == host || !certmagic.MatchWildcard(host, wildcard) {
			continue
		}
		if ap := policyOf(tlsApp, wildcard); ap != nil && ap.OnDemand {
			return wildcard
		}
	}
	return ""
}

// automatedNames are the names that are managed whatever covers them, which Caddy
// keeps to itself.
func automatedNames(tlsApp *caddytls.TLS) (names []string) {
	kept := reflect.ValueOf(tlsApp).Elem().FieldByName("automateNames")
	if kept.Kind() != reflect.Map {
		return nil
	}
	for _, key := range kept.MapKeys() {
		names = append(names, canonical(key.String()))
	}
	return names
}

// policyOf is the automation policy that Caddy takes for a hostname; nil for its
// default, which is there where no policy is without subjects.
func policyOf(tlsApp *caddytls.TLS, hostname string) *caddytls.AutomationPolicy {
	if tlsApp.Automation == nil {
		return nil
	}
	for _, ap := range tlsApp.Automation.Policies {
		covers := func(subject string) bool { return certmagic.MatchWildcard(hostname, subject) }
		if len(ap.Subjects()) == 0 || slices.ContainsFunc(ap.Subjects(), covers) {
			return ap
		}
	}
	return nil
}
