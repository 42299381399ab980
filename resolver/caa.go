package resolver

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/miekg/dns"
	"go.uber.org/zap"
	"golang.org/x/net/publicsuffix"

	"github.com/apoxy-dev/caddy-apoxy/ownership"
)

// Delegated reports whether _acme-challenge of hostname is a CNAME, direct or
// through others, to exactly the name in the operator's zone that belongs to
// hostname. ownership.ErrBogus: it is, but DNSSEC validation fails; another error:
// could not tell.
func (r *Resolver) Delegated(ctx context.Context, hostname string) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, r.cfg.Timeout)
	defer cancel()
	l := look{strings.ToLower(hostname), KindACMEChallenge, KindACMEChallenge.name(hostname)}
	obs := r.follow(ctx, l)
	switch {
	case obs.Outcome == ownership.CouldNotTell:
		return false, fmt.Errorf("looking for the delegation of %s: %s", hostname, obs.Err)
	case obs.Outcome == ownership.Absent || len(obs.Chain) == 0:
		return false, nil
	}
	if !r.expected(l, obs.Chain[len(obs.Chain)-1]) {
		return false, nil
	}
	if obs.Problem == ownership.ZoneBogus {
		return false, fmt.Errorf("looking for the delegation of %s: %w", hostname, ownership.ErrBogus)
	}
	if said, ok := r.probe(ctx, l.name, dns.TypeTXT); ok && len(said.texts) > 0 {
		return false, nil // CAs would see these in its place
	}
	return true, nil
}

// Arrives reports whether hostname leads to the edge of the operator's zone and
// nowhere else, as ownership.Arrives means it. ownership.ErrBogus: DNSSEC
// validation fails; another error: could not tell.
func (r *Resolver) Arrives(ctx context.Context, hostname string, zone ownership.Zone) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, r.cfg.Timeout)
	defer cancel()
	hostname = strings.ToLower(hostname)
	obs := r.follow(ctx, look{hostname, KindTraffic, KindTraffic.name(hostname)})
	switch {
	case obs.Outcome == ownership.CouldNotTell:
		return false, fmt.Errorf("looking where %s leads: %s", hostname, obs.Err)
	case obs.Problem == ownership.ZoneBogus:
		return false, fmt.Errorf("looking where %s leads: %w", hostname, ownership.ErrBogus)
	}
	r.lookBeside(ctx, look{hostname, KindTraffic, KindTraffic.name(hostname)}, &obs, zone.EdgeAddresses)
	return ownership.Arrives(hostname, obs, zone), nil
}

// Addresses returns the A and AAAA records of host, CNAMEs followed. An error:
// could not tell, or there are none.
func (r *Resolver) Addresses(ctx context.Context, host string) ([]netip.Addr, error) {
	ctx, cancel := context.WithTimeout(ctx, r.cfg.Timeout)
	defer cancel()
	obs := r.follow(ctx, look{host, KindTraffic, absolute(host)})
	switch {
	case obs.Outcome == ownership.CouldNotTell:
		return nil, fmt.Errorf("looking for the addresses of %s: %s", host, obs.Err)
	case len(obs.Addresses) == 0:
		return nil, fmt.Errorf("looking for the addresses of %s: it has none", host)
	}
	return obs.Addresses, nil
}

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

// CaaAt returns the CAA record set at one name or at the end of its CNAMEs.
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
		case len(visited) > r.cfg.MaxChain:
			return set, fmt.Errorf("more than %d CNAMEs follow from %s", r.cfg.MaxChain, name)
		}
		at = a.alias
		visited = append(visited, at)
	}
}
