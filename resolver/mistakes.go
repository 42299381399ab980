package resolver

import (
	"context"
	"strings"

	"github.com/miekg/dns"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
)

// elsewhere tries the names that registrars' forms make of the right one, for
// the value that is expected there.
func (r *Resolver) elsewhere(ctx context.Context, l look) []string {
	apex := RegisteredDomain(l.name) + "."
	if r.cfg.OwnZone() == "" || apex == "." || v1alpha3.IsWildcard(l.name) {
		return nil
	}
	candidates := []string{l.name + apex}
	if label, rest, ok := strings.Cut(l.name, "."); ok && l.kind != KindTraffic && rest != apex {
		candidates = append(candidates, label+"."+apex)
	}
	var found []string
	for _, c := range candidates {
		if len(c) > maxName {
			continue
		}
		if said, ok := r.probe(ctx, c, dns.TypeCNAME); ok && said.alias != "" && r.expected(l, said.alias) {
			found = append(found, c)
		}
	}
	return found
}

// wildcard reports whether a sibling that nobody created has the same CNAME, so
// that it is a wildcard's.
func (r *Resolver) wildcard(ctx context.Context, l look, alias string) bool {
	if v1alpha3.IsWildcard(l.name) {
		return false
	}
	sibling := "_apoxy-nobody-created-this." + parentOf(l.name)
	if len(sibling) > maxName {
		return false
	}
	said, ok := r.probe(ctx, sibling, dns.TypeCNAME)
	return ok && said.alias == alias
}
