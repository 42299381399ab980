package resolver

import (
	"context"
	"crypto/rand"
	"net/netip"
	"slices"
	"strings"

	"github.com/miekg/dns"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
	"github.com/apoxy-dev/caddy-apoxy/ownership"
)

// lookBeside notes what a wildcard makes up beside a name that has addresses of
// the edge and no others, unless it is the top of its zone, which none makes up.
func (r *Resolver) lookBeside(ctx context.Context, of subject, obs *ownership.DNSObservation, edge []netip.Addr) {
	if of.kind != KindTraffic || obs.Outcome != ownership.Seen || len(obs.Chain) > 0 || len(obs.Addresses) == 0 || obs.Apex || v1alpha3.IsWildcard(of.name) {
		return
	}
	for _, a := range obs.Addresses {
		if !slices.ContainsFunc(edge, func(e netip.Addr) bool { return e.Unmap() == a.Unmap() }) {
			return
		}
	}
	obs.Sibling = r.sibling(ctx, of.name)
}

// sibling looks at a name beside another one. Its label is drawn anew each time, so
// that no cache and nobody's record answers for it; and it looks like a host's,
// because some servers' wildcards leave out labels with an underscore. A wildcard
// (RFC 4592) answers for both or for neither.
func (r *Resolver) sibling(ctx context.Context, name string) ownership.Sibling {
	beside := "nobody-made-" + strings.ToLower(rand.Text()[:16]) + "." + parentOf(name)
	if len(beside) > maxName {
		return ownership.Sibling{}
	}
	a := r.consult(ctx, beside, dns.TypeA, dns.TypeAAAA)
	return ownership.Sibling{Told: a.affirmed, Addresses: a.addrs}
}
