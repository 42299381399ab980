package resolver

import (
	"context"
	"strings"

	"github.com/miekg/dns"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
)

// elsewhere tries the names that registrars' forms make of the right one, for
// the value that is expected there.
func (r *Resolver) elsewhere(ctx context.Context, of subject) []string {
	apex := RegisteredDomain(of.name) + "."
	if r.cfg.OwnZone() == "" || apex == "." || v1alpha3.IsWildcard(of.name) {
		return nil
	}
	candidates := []string{of.name + apex}
	if label, rest, ok := strings.Cut(of.name, "."); ok && of.kind != KindTraffic && rest != apex {
		candidates = append(candidates, label+"."+apex)
	}
	var found []string
	for _, c := range candidates {
		if len(c) > maxName {
			continue
		}
		if said, ok := r.probe(ctx, c, dns.TypeCNAME); ok && said.alias != "" && r.expected(of, said.alias) {
			found = append(found, c)
		}
	}
	return found
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
