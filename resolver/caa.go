package resolver

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/miekg/dns"
	"go.uber.org/zap"
	"golang.org/x/net/publicsuffix"

	"github.com/apoxy-dev/caddy-apoxy/ownership"
)

// CAA returns the relevant CAA record set of hostname (RFC 8659 section 3): that
// of the first name with one on the way from hostname up to, but not including,
// the root, CNAMEs followed at each. An error: could not tell, which a CA takes
// for a no. A top-level domain, or another that registries sell names below, that
// cannot be looked up counts as one without: that is our own resolver's trouble,
// and no customer could mend it.
func (r *Resolver) CAA(ctx context.Context, hostname string) (ownership.CAAObservation, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*r.cfg.Timeout)
	defer cancel()
	for name := absolute(strings.TrimPrefix(hostname, "*.")); name != "."; name = parentOf(name) {
		set, err := r.caaAt(ctx, name)
		if err != nil && isRegistry(strings.TrimSuffix(name, ".")) {
			r.cfg.Logger.Debug("a registry's CAA records could not be looked up", zap.String("domain", name), zap.Error(err))
			continue
		}
		if err != nil {
			return ownership.CAAObservation{}, fmt.Errorf("looking for CAA records of %s at %s: %w", hostname, strings.TrimSuffix(name, "."), err)
		}
		if set.Outcome == ownership.Seen {
			return set, nil
		}
	}
	return ownership.CAAObservation{Outcome: ownership.Absent}, nil
}

// isRegistry reports whether names below a domain are for sale.
func isRegistry(domain string) bool {
	suffix, icann := publicsuffix.PublicSuffix(domain)
	return suffix == domain && (icann || !strings.Contains(domain, "."))
}

// caaAt returns the CAA record set at one name or at the end of its CNAMEs.
func (r *Resolver) caaAt(ctx context.Context, name string) (set ownership.CAAObservation, err error) {
	visited := []string{name}
	for at := name; ; {
		var a answer
		if r.own(at) || RegisteredDomain(at)+"." == at && !strings.Contains(RegisteredDomain(at), ".") {
			// The operator's own zone, and a top-level domain's, are asked for
			// as everyone asks.
			a = r.viaResolvers(ctx, at, dns.TypeCAA)
		} else {
			a = r.consult(ctx, at, dns.TypeCAA)
		}
		switch {
		case !a.affirmed:
			return set, errors.New(a.err)
		case a.problem == ownership.ZoneBogus:
			return set, ownership.ErrBogus
		case a.alias == "" && len(a.caa) == 0:
			return ownership.CAAObservation{Outcome: ownership.Absent}, nil
		case a.alias == "":
			return ownership.CAAObservation{Outcome: ownership.Seen, Domain: strings.TrimSuffix(at, "."), Own: r.own(at), Records: a.caa}, nil
		case slices.Contains(visited, a.alias):
			return set, fmt.Errorf("the CNAMEs from %s form a loop at %s", name, a.alias)
		case len(visited) > maxChain:
			return set, fmt.Errorf("more than %d CNAMEs follow from %s", maxChain, name)
		}
		at = a.alias
		visited = append(visited, at)
	}
}
