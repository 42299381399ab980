package caddyapoxy

import (
	"errors"
	"fmt"
	"net/mail"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/apoxy-dev/caddy-apoxy/dnsprovider"
	"github.com/apoxy-dev/caddy-apoxy/ownership"
)

// Zone configures the operator's zone, of which Caddy is the authoritative
// name server. Placeholders such as {env.EDGE} may stand for whole values.
type Zone struct {
	// The name of the zone, such as cname.example.net. Required.
	Name string `json:"name,omitempty"`

	// The zone's name servers. At least one is required.
	Nameservers []Nameserver `json:"nameservers,omitempty"`

	// What the name of each record in the zone answers with: IP addresses, or
	// one hostname. Required.
	Edge []string `json:"edge,omitempty"`

	// Whether, and where, it is asked before an order that certificate authorities
	// reach this server on ports 80 and 443: the one word off, or the IP addresses
	// to ask in place of the edge's own, where this machine cannot reach those (NAT
	// without hairpin, a balancer, PROXY protocol). At addresses given here http_port
	// and https_port count, too. Default: the edge's own addresses are asked.
	EdgeCheck []string `json:"edge_check,omitempty"`

	// The mail address of who runs the zone, for its SOA record.
	// Default: hostmaster@ the zone.
	Hostmaster string `json:"hostmaster,omitempty"`

	// How long resolvers may remember that a name does not exist (the SOA
	// MINIMUM of RFC 2308). Default: 300s.
	NegativeTTL caddy.Duration `json:"negative_ttl,omitempty"`

	// CAA records (RFC 8659) of the zone in presentation form, such as
	// `0 issue "letsencrypt.org"`. Default: none.
	CAA []string `json:"caa,omitempty"`
}

// Nameserver is one name server of the zone.
type Nameserver struct {
	// The host name.
	Name string `json:"name"`
	// Its IP addresses; served as glue where the name lies inside the zone.
	Addresses []string `json:"addresses,omitempty"`
}

// ZoneFile serves a further zone from a file.
type ZoneFile struct {
	// The name of the zone.
	Zone string `json:"zone"`
	// The RFC 1035 file; it is read again when it changes.
	File string `json:"file"`
}

// config replaces placeholders and turns the configuration into what the zone
// is built from. Errors name the option and the value.
func (z Zone) config(repl *caddy.Replacer) (dnsprovider.Config, error) {
	z, err := z.expanded(repl)
	if err != nil {
		return dnsprovider.Config{}, err
	}
	c := dnsprovider.Config{
		Name:        canonical(z.Name),
		Hostmaster:  z.Hostmaster,
		NegativeTTL: time.Duration(z.NegativeTTL),
		CAA:         z.CAA,
	}
	if c.Name == "" {
		return c, fmt.Errorf("zone: a name is required, such as cname.example.net")
	}
	if c.Hostmaster == "" {
		c.Hostmaster = "hostmaster@" + c.Name
	} else if _, err := mail.ParseAddress(c.Hostmaster); err != nil {
		return c, fmt.Errorf("zone %s: hostmaster %q: expected a mail address such as hostmaster@example.net", c.Name, c.Hostmaster)
	}
	if c.NegativeTTL == 0 {
		c.NegativeTTL = 300 * time.Second
	}
	for _, n := range z.Nameservers {
		ns := dnsprovider.Nameserver{Name: canonical(n.Name)}
		for _, s := range n.Addresses {
			a, err := netip.ParseAddr(s)
			if err != nil {
				return c, fmt.Errorf("zone %s: nameserver %s: %q: expected an IP address", c.Name, n.Name, s)
			}
			ns.Addrs = append(ns.Addrs, a)
		}
		c.Nameservers = append(c.Nameservers, ns)
	}
	if len(c.Nameservers) == 0 {
		return c, fmt.Errorf("zone %s: at least one nameserver is required, such as `nameserver ns1.example.net 203.0.113.10`", c.Name)
	}
	for _, s := range z.Edge {
		if a, err := netip.ParseAddr(s); err == nil {
			c.EdgeAddrs = append(c.EdgeAddrs, a)
		} else {
			c.EdgeHost = canonical(s)
		}
	}
	switch {
	case len(z.Edge) == 0:
		return c, fmt.Errorf("zone %s: edge is required: the IP addresses, or the one hostname, that customers' names lead to", c.Name)
	case c.EdgeHost != "" && len(z.Edge) > 1:
		return c, fmt.Errorf("zone %s: edge %q: expected either IP addresses or one single hostname", c.Name, strings.Join(z.Edge, " "))
	case c.EdgeHost != c.Name && inside(c.EdgeHost, c.Name) && !answersFor(c.Nameservers, c.EdgeHost):
		return c, fmt.Errorf("zone %s: edge %q: %w: give IP addresses, a hostname elsewhere, or that of a nameserver inside the zone", c.Name, c.EdgeHost, errEdgeNowhere)
	}
	return c, nil
}

// edgeCheckOff is the value of edge_check that asks nowhere.
const edgeCheckOff = "off"

// edgeCheck is what Zone.EdgeCheck says.
type edgeCheck struct {
	off   bool
	addrs []netip.Addr // none: those of the edge
}

// edgeChecked reads EdgeCheck. Errors name the value and what was expected.
func (z Zone) edgeChecked(repl *caddy.Replacer) (edgeCheck, error) {
	var c edgeCheck
	z.EdgeCheck = slices.Clone(z.EdgeCheck)
	if err := expandAll(repl, "edge_check", z.EdgeCheck); err != nil {
		return c, err
	}
	for _, s := range z.EdgeCheck {
		a, err := netip.ParseAddr(s)
		switch {
		case s == edgeCheckOff && len(z.EdgeCheck) > 1:
			return c, fmt.Errorf("zone %s: edge_check %q: expected either off or IP addresses", z.Name, strings.Join(z.EdgeCheck, " "))
		case s == edgeCheckOff:
			c.off = true
		case err != nil:
			return c, fmt.Errorf("zone %s: edge_check: expected off or IP addresses, got %q", z.Name, s)
		default:
			c.addrs = append(c.addrs, a)
		}
	}
	return c, nil
}

// errEdgeNowhere refuses an edge that would be NXDOMAIN, and every record's
// name with it.
var errEdgeNowhere = errors.New("lies inside the zone, where nothing answers for it")

// answersFor tells whether host is a name server whose addresses the zone has.
func answersFor(servers []dnsprovider.Nameserver, host string) bool {
	return slices.ContainsFunc(servers, func(n dnsprovider.Nameserver) bool { return n.Name == host && len(n.Addrs) > 0 })
}

// inside tells whether a name is the zone's or lies below it. Both are canonical.
func inside(name, zone string) bool { return name == zone || strings.HasSuffix(name, "."+zone) }

// provisionZones replaces the placeholders in the names of zones and files.
func (a *App) provisionZones(repl *caddy.Replacer) error {
	a.Zone.Name = a.zone.Name
	for i, z := range a.ZoneFiles {
		var err error
		if z.Zone, err = expand(repl, "zonefile", z.Zone); err != nil {
			return err
		}
		if z.File, err = expand(repl, "zonefile "+z.Zone, z.File); err != nil {
			return err
		}
		a.ZoneFiles[i] = z
	}
	return a.checkZones()
}

// checkZones refuses a zone that is configured more than once, and one that
// would hide records. What has placeholders left is looked at once they are gone.
func (a *App) checkZones() error {
	own, seen := "", map[string]bool{}
	if a.Zone != nil && !hasPlaceholder(a.Zone.Name) {
		own = canonical(a.Zone.Name)
		seen[own] = true
	}
	for _, z := range a.ZoneFiles {
		name := canonical(z.Zone)
		switch {
		case hasPlaceholder(name):
			continue
		case seen[name]:
			return fmt.Errorf("zonefile %s: this zone is configured already: each is served once", name)
		case own != "" && inside(name, own):
			return fmt.Errorf("zonefile %s: expected a zone outside %s, whose records it would hide: give it another name", name, own)
		}
		seen[name] = true
	}
	return nil
}

// observed is what the pure core must know of the zone.
func observed(c dnsprovider.Config) ownership.Zone {
	return ownership.Zone{Name: c.Name, EdgeAddresses: c.EdgeAddrs, EdgeHost: c.EdgeHost}
}

// canonical is the form in which this build keeps domain names: lower case,
// no final dot.
func canonical(name string) string {
	return strings.ToLower(strings.TrimSuffix(name, "."))
}
