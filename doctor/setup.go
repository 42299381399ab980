package doctor

import (
	"crypto/x509"
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// Setup is what the running server is configured to be.
type Setup struct {
	// Zone is Z: lower case, no final dot.
	Zone        string
	Nameservers []Nameserver
	// EdgeAddresses or EdgeHost is what N.Z leads to.
	EdgeAddresses []netip.Addr
	EdgeHost      string
	// EdgeUnchecked: the option edge_check is off. EdgeCheck are the addresses that
	// it gives to ask in place of the edge's own, if any.
	EdgeUnchecked bool
	EdgeCheck     []netip.Addr
	// CAA holds the zone's records in presentation form.
	CAA []string
	// DNS holds the addresses that DNS is answered on.
	DNS []string
	// Resolvers are addresses with or without a port; none: the system's.
	Resolvers []string
	// HTTPPort and HTTPSPort are where Caddy itself listens.
	HTTPPort, HTTPSPort int
	Authorities         []Authority
	// Hostnames are some of those that have records, as samples.
	Hostnames []string
}

// Nameserver is a name server of Z: lower case, no final dot.
type Nameserver struct {
	Name      string
	Addresses []netip.Addr
}

// Authority is a configured certificate authority.
type Authority struct {
	// Directory is the URL of its ACME directory.
	Directory string
	// RootFiles and RootPKI say where the roots are that its endpoint is trusted
	// by in place of the system's: PEM files at the server, and the ID of one of
	// Caddy's own authorities.
	RootFiles []string
	RootPKI   string
	// Roots, if not nil, take the place of both.
	Roots *x509.CertPool
}

// defaultDirectory is where Caddy's ACME issuers go when told nothing.
const defaultDirectory = "https://acme-v02.api.letsencrypt.org/directory"

// appConfig is as much of apps.apoxy as matters here.
type appConfig struct {
	Zone *struct {
		Name        string `json:"name"`
		Nameservers []struct {
			Name      string   `json:"name"`
			Addresses []string `json:"addresses"`
		} `json:"nameservers"`
		Edge      []string `json:"edge"`
		EdgeCheck []string `json:"edge_check"`
		CAA       []string `json:"caa"`
	} `json:"zone"`
	DNS       []string `json:"dns"`
	Resolvers []string `json:"resolvers"`
}

// automationConfig is as much of apps.tls.automation as matters here.
type automationConfig struct {
	Policies []policyConfig `json:"policies"`
}

type policyConfig struct {
	Issuers []issuerConfig `json:"issuers"`
	// Managers are the certificate managers: `get_certificate apoxy` is an issuer
	// that takes the place of the policy's.
	Managers []managerConfig `json:"get_certificate"`
}

// managerConfig is a certificate manager. bare: it has no options.
type managerConfig struct {
	issuerConfig
	bare bool
}

// UnmarshalJSON counts the options, too.
func (m *managerConfig) UnmarshalJSON(raw []byte) error {
	var options map[string]json.RawMessage
	if err := json.Unmarshal(raw, &options); err != nil {
		return err
	}
	m.bare = len(options) <= 1
	return json.Unmarshal(raw, &m.issuerConfig)
}

type issuerConfig struct {
	Module    string   `json:"module"` // of an issuer
	Via       string   `json:"via"`    // of a manager
	CA        string   `json:"ca"`
	RootFiles []string `json:"trusted_roots_pem_files"`
	RootPKI   string   `json:"trusted_roots_pki"`
}

// ours are the policy's issuers of the kind apoxy. What a manager leaves out, the
// policy's first ACME issuer says, which is as Caddy makes it of the global options;
// one alone and without options stands for the issuers that are there.
func (p policyConfig) ours() (issuers []issuerConfig) {
	managers := slices.DeleteFunc(slices.Clone(p.Managers), func(m managerConfig) bool { return m.Via != "apoxy" })
	var global issuerConfig
	if i := slices.IndexFunc(p.Issuers, func(i issuerConfig) bool { return i.Module == "acme" || i.Module == "apoxy" }); i >= 0 {
		global = p.Issuers[i]
	}
	if len(managers) == 0 || len(managers) == 1 && managers[0].bare && global.Module == "apoxy" {
		return slices.DeleteFunc(slices.Clone(p.Issuers), func(i issuerConfig) bool { return i.Module != "apoxy" })
	}
	for _, m := range managers {
		if m.CA == "" {
			m.CA = global.CA
		}
		if m.RootPKI == "" {
			m.RootPKI = global.RootPKI
		}
		m.RootFiles = append(slices.Clone(m.RootFiles), global.RootFiles...)
		issuers = append(issuers, m.issuerConfig)
	}
	return issuers
}

// parseSetup reads the configuration of the apps, each in JSON or null.
func parseSetup(app, automation []byte) (Setup, error) {
	var a appConfig
	if err := json.Unmarshal(app, &a); err != nil {
		return Setup{}, fmt.Errorf("reading the configuration of apoxy: %w; --address names another endpoint", err)
	}
	if a.Zone == nil {
		return Setup{}, fmt.Errorf("the running Caddy has no app apoxy: give its Caddyfile the global option apoxy, or name another endpoint with --address")
	}
	s := Setup{Zone: canonical(a.Zone.Name), CAA: a.Zone.CAA, DNS: a.DNS, Resolvers: a.Resolvers, HTTPPort: 80, HTTPSPort: 443}
	if s.Zone == "" || strings.Contains(s.Zone, "{") {
		return Setup{}, fmt.Errorf("the zone is configured as %.200q: the doctor cannot resolve placeholders of another process; write its name out", a.Zone.Name)
	}
	if len(s.DNS) == 0 {
		s.DNS = []string{":53"}
	}
	if err := s.addServers(a); err != nil {
		return Setup{}, err
	}
	if err := s.addEdge(a); err != nil {
		return Setup{}, err
	}
	return s, s.addAuthorities(automation)
}

func (s *Setup) addServers(a appConfig) error {
	for _, n := range a.Zone.Nameservers {
		ns := Nameserver{Name: canonical(n.Name)}
		for _, text := range n.Addresses {
			addr, err := netip.ParseAddr(text)
			if err != nil {
				return fmt.Errorf("the address of name server %.200s is configured as %.200q: write it out", n.Name, text)
			}
			ns.Addresses = append(ns.Addresses, addr)
		}
		s.Nameservers = append(s.Nameservers, ns)
	}
	return nil
}

func (s *Setup) addEdge(a appConfig) error {
	for _, text := range a.Zone.Edge {
		if addr, err := netip.ParseAddr(text); err == nil {
			s.EdgeAddresses = append(s.EdgeAddresses, addr)
		} else {
			s.EdgeHost = canonical(text)
		}
	}
	for _, text := range a.Zone.EdgeCheck {
		addr, err := netip.ParseAddr(text)
		switch {
		case text == "off":
			s.EdgeUnchecked = true
		case err != nil:
			return fmt.Errorf("an address of edge_check is configured as %.200q: write it out", text)
		default:
			s.EdgeCheck = append(s.EdgeCheck, addr)
		}
	}
	return nil
}

// addAuthorities adds the authorities of the TLS policies, each directory once.
func (s *Setup) addAuthorities(automation []byte) error {
	var t automationConfig
	if err := json.Unmarshal(automation, &t); err != nil {
		return fmt.Errorf("reading the configuration of TLS: %w; --address names another endpoint", err)
	}
	for _, p := range t.Policies {
		for _, i := range p.ours() {
			ca := Authority{Directory: i.CA, RootFiles: i.RootFiles, RootPKI: i.RootPKI}
			if ca.Directory == "" {
				ca.Directory = defaultDirectory
			}
			if !slices.ContainsFunc(s.Authorities, func(b Authority) bool { return b.Directory == ca.Directory }) {
				s.Authorities = append(s.Authorities, ca)
			}
		}
	}
	return nil
}

func canonical(name string) string { return strings.ToLower(strings.TrimSuffix(name, ".")) }
