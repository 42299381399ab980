package dnsprovider

import (
	"fmt"
	"strings"

	"github.com/libdns/libdns"
)

// owners gives the names in Z, relative to it, that a name of the given zone
// stands for: one, or for a challenge that a hostname and its wildcard share, two.
func (p *Provider) owners(name, zone string) ([]string, error) {
	zone = strings.TrimSuffix(strings.ToLower(zone), ".")
	name = strings.ToLower(name)
	fqdn := strings.TrimSuffix(libdns.AbsoluteName(name, zone+"."), ".")
	if _, err := hostName(fqdn); err != nil {
		return nil, err
	}
	z := p.zone
	if fqdn == z.name {
		return []string{"@"}, nil
	}
	if rel, ok := strings.CutSuffix(fqdn, "."+z.name); ok {
		return []string{rel}, z.reserved(rel)
	}
	host, ok := strings.CutPrefix(fqdn, challengePrefix)
	if !ok {
		return nil, fmt.Errorf("%s lies outside zone %s; of other zones only %sHOSTNAME is taken, where HOSTNAME has a DomainRecord",
			fqdn, z.name, challengePrefix)
	}
	var out []string
	for _, form := range [][2]string{{host, host}, {"*." + host, wildcardPrefix + host}} {
		if rec, ok := z.names.Lookup([]byte(form[0])); ok && rec.TLS {
			out = append(out, challengePrefix+form[1])
		}
	}
	if out == nil {
		return nil, fmt.Errorf("%s: there is no DomainRecord with tls for %s", fqdn, host)
	}
	return out, nil
}

// outer is what a name in Z is called in the given zone; false: it has no place
// there.
func (p *Provider) outer(owner, zone string) (string, bool) {
	zone = strings.TrimSuffix(strings.ToLower(zone), ".")
	if zone == p.zone.name {
		return owner, true
	}
	if sub, ok := strings.CutSuffix(zone, "."+p.zone.name); ok {
		rel, below := strings.CutSuffix(owner, "."+sub)
		if owner == sub {
			return "@", true
		}
		return rel, below
	}
	host, ok := strings.CutPrefix(owner, challengePrefix)
	if !ok {
		return "", false
	}
	host = strings.TrimPrefix(host, wildcardPrefix)
	if host == zone {
		return strings.TrimSuffix(challengePrefix, "."), true
	}
	rel, below := strings.CutSuffix(host, "."+zone)
	return challengePrefix + rel, below
}

// reserved reports why nothing can be put at a name below the zone.
func (z *Zone) reserved(rel string) error {
	fqdn := rel + "." + z.name
	if n := z.static[rel]; n != nil && len(n.sets) > 0 || strings.HasSuffix(rel, "."+verifyLabel) {
		return fmt.Errorf("%s is answered by the configuration and cannot be changed here", fqdn)
	}
	host, challenge := strings.CutPrefix(rel, challengePrefix)
	if base, ok := strings.CutPrefix(host, wildcardPrefix); ok {
		host = "*." + base
	}
	rec, ok := z.names.Lookup([]byte(host))
	switch {
	case ok && !challenge:
		return fmt.Errorf("%s is answered for the DomainRecord of %s and cannot be changed here", fqdn, host)
	case ok && !rec.TLS:
		return fmt.Errorf("%s: the DomainRecord of %s has no tls, so no challenge is answered for it", fqdn, host)
	}
	return nil
}
