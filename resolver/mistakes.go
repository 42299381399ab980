package resolver

import (
	"context"
	"strings"

	"github.com/miekg/dns"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
	"github.com/apoxy-dev/caddy-apoxy/ownership"
)

// elsewhere tries the names that registrars' forms make of the right one, for
// the value that is expected there. A look that may ask less shares what it hears with
// those at other names of the domain.
func (r *Resolver) elsewhere(ctx context.Context, of subject) []string {
	apex := RegisteredDomain(of.name) + "."
	if r.cfg.OwnZone() == "" || apex == "." || v1alpha3.IsWildcard(of.name) {
		return nil
	}
	brief := beforeOf(ctx) != ownership.BeforeUnknown
	var candidates []string
	if !brief || !r.noneDoubled(ctx, apex) {
		candidates = append(candidates, of.name+apex)
	}
	if label, rest, ok := strings.Cut(of.name, "."); ok && of.kind != KindTraffic && rest != apex {
		candidates = append(candidates, label+"."+apex)
	}
	probe := r.probe
	if brief {
		probe = r.probeShared
	}
	var found []string
	for _, c := range candidates {
		if len(c) > maxName {
			continue
		}
		if said, ok := probe(ctx, c, dns.TypeCNAME); ok && said.alias != "" && r.expected(of, said.alias) {
			found = append(found, c)
		}
	}
	return found
}

// noneDoubled reports whether nothing stands where a registrar puts a name to which it
// appends the zone that was in it already. All such names of a domain end alike, and
// below a name that does not exist there is none (RFC 8020).
func (r *Resolver) noneDoubled(ctx context.Context, apex string) bool {
	labels := dns.SplitDomainName(apex)
	said, ok := r.probeShared(ctx, labels[len(labels)-1]+"."+apex, dns.TypeCNAME)
	return ok && said.nx
}

// probeShared is probe, but what was heard of the name a moment ago will do.
func (r *Resolver) probeShared(ctx context.Context, name string, qtype uint16) (saying, bool) {
	if said, ok := r.probed.Get(name); ok {
		return said, true
	}
	said, ok := r.probe(ctx, name, qtype)
	if ok {
		r.probed.Put(name, said, r.cfg.CacheTTL)
	}
	return said, ok
}

// wildcard reports whether a sibling that nobody created has the same CNAME, so
// that it is a wildcard's.
func (r *Resolver) wildcard(ctx context.Context, of subject, alias string) bool {
	if v1alpha3.IsWildcard(of.name) {
		return false
	}
	sibling := "_apoxy-nobody-created-this." + parentOf(of.name)
	if len(sibling) > maxName {
		return false
	}
	said, ok := r.probe(ctx, sibling, dns.TypeCNAME)
	return ok && said.alias == alias
}
