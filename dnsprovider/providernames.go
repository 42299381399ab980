package dnsprovider

import (
	"fmt"
	"strings"

	"github.com/libdns/libdns"
)

// owner gives the name in Z, relative to it, that a name of the given zone
// stands for.
func (p *Provider) owner(name, zone string) (string, error) {
	zone = strings.TrimSuffix(strings.ToLower(zone), ".")
	name = strings.ToLower(name)
	fqdn := strings.TrimSuffix(libdns.AbsoluteName(name, zone+"."), ".")
	if _, err := hostName(fqdn); err != nil {
		return "", err
	}
	z := p.zone
	if fqdn == z.name {
		return "@", nil
	}
	if rel, ok := strings.CutSuffix(fqdn, "."+z.name); ok {
		return rel, z.reserved(rel)
	}
	host, ok := strings.CutPrefix(fqdn, challengePrefix)
	if !ok {
		return "", fmt.Errorf("%s lies outside zone %s; of other zones only %sHOSTNAME is taken, where HOSTNAME has a DomainRecord",
			fqdn, z.name, challengePrefix)
	}
	if _, tls := z.challenged(host); !tls {
		return "", fmt.Errorf("%s: there is no DomainRecord with tls for %s", fqdn, host)
	}
	return challengePrefix + host, nil
}

// challenged reports whether there is a record for the hostname or for the
// wildcard below it, which share one challenge name, and whether one of them
// has tls.
func (z *Zone) challenged(host string) (exists, tls bool) {
	own, ok := z.names.Lookup([]byte(host))
	below, both := z.names.Lookup([]byte("*." + host))
	return ok || both, own.TLS || below.TLS
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
	if host == zone {
		return strings.TrimSuffix(challengePrefix, "."), true
	}
	rel, below := strings.CutSuffix(host, "."+zone)
	return challengePrefix + rel, below
}

// reserved reports why nothing can be put at a name below the zone.
func (z *Zone) reserved(rel string) error {
	fqdn := rel + "." + z.name
	if n := z.static[rel]; n != nil && len(n.sets) > 0 || z.texts != nil && rel == z.texts.label || strings.HasSuffix(rel, "."+verifyLabel) {
		return fmt.Errorf("%s is answered by the configuration and cannot be changed here", fqdn)
	}
	if host, ok := strings.CutPrefix(rel, challengePrefix); ok {
		if exists, tls := z.challenged(host); exists && !tls {
			return fmt.Errorf("%s: the DomainRecord of %s has no tls, so no challenge is answered for it", fqdn, host)
		}
		return nil
	}
	host := rel
	if base, ok := strings.CutPrefix(rel, wildcardPrefix); ok {
		host = "*." + base
	}
	if _, ok := z.names.Lookup([]byte(host)); ok {
		return fmt.Errorf("%s is answered for the DomainRecord of %s and cannot be changed here", fqdn, host)
	}
	return nil
}
