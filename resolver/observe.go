package resolver

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
	"github.com/apoxy-dev/caddy-apoxy/ownership"
)

// name is where records of this kind of hostname stand, absolute.
func (k Kind) name(hostname string) string {
	hostname = strings.ToLower(strings.TrimSuffix(hostname, "."))
	switch k {
	case KindACMEChallenge:
		return v1alpha3.OwnerACMEChallengeName(hostname)
	case KindOwnership:
		return v1alpha3.OwnerApoxyChallengeName(hostname)
	}
	return v1alpha3.OwnerTrafficName(hostname)
}

// subject is what one observation is of.
type subject struct {
	hostname string
	kind     Kind
	name     string // where the records stand, absolute
}

// Observe looks at the name that kind means for hostname (spec.name of a
// record) and follows the CNAMEs found there up to the operator's zone or the end
// of the chain. It never takes longer than the configured Timeout. In a context of
// Unproven it only glances; see WithRation. It may ask less in one of WithBefore.
func (r *Resolver) Observe(ctx context.Context, hostname string, kind Kind) ownership.DNSObservation {
	ctx, cancel := context.WithTimeout(ctx, r.cfg.Timeout)
	defer cancel()
	of := subject{hostname, kind, kind.name(hostname)}
	if RationOf(ctx).few() {
		return r.glance(ctx, of)
	}
	if before := beforeOf(ctx); before != ownership.BeforeUnknown {
		if obs, ok := r.brief(ctx, of, before); ok {
			return obs
		}
	}
	obs := r.follow(ctx, of)
	edge := r.cfg.EdgeAddresses()
	r.lookBeside(ctx, of, &obs, edge)
	right := len(obs.Chain) > 0 && r.expected(of, obs.Chain[len(obs.Chain)-1])
	switch {
	case obs.Outcome == ownership.CouldNotTell:
	case obs.Cached && !obs.Barred:
	case right && kind == KindACMEChallenge:
		// Some servers allow TXT records beside the CNAME. The CA would see these.
		if said, ok := r.probe(ctx, of.name, dns.TypeTXT); ok && len(said.texts) > 0 {
			obs.Other = said.texts
		}
	case right:
	case len(obs.Chain) > 0:
		obs.Wildcard = r.wildcard(ctx, of, obs.Chain[0])
	default:
		obs.Elsewhere = r.elsewhere(ctx, of)
	}
	if obs.Outcome == ownership.Seen && !obs.Cached && (right || len(obs.Chain) == 0 && slices.ContainsFunc(obs.Addresses, func(a netip.Addr) bool { return slices.Contains(edge, a.Unmap()) })) {
		r.compareResolvers(ctx, of, &obs)
	}
	obs.At = time.Now()
	return obs
}

// follow looks at the name and at each CNAME's target in turn.
func (r *Resolver) follow(ctx context.Context, of subject) ownership.DNSObservation {
	types := []uint16{dns.TypeCNAME}
	if of.kind == KindTraffic {
		types = []uint16{dns.TypeA, dns.TypeAAAA}
	}
	var obs ownership.DNSObservation
	visited := map[string]bool{of.name: true}
	for at := of.name; ; {
		a := r.consult(ctx, at, types...)
		if at == of.name {
			obs.Servers, obs.TTL = a.servers, a.ttl
			if obs.Apex = a.top(at); of.kind == KindTraffic && !obs.Apex && a.soa == "" && len(a.addrs) > 0 {
				obs.Apex, a = r.askTop(ctx, at, a)
			}
			if !a.unheard {
				noteZone(&obs, at, a.in, a.soa)
			}
		}
		if obs.Problem == "" {
			obs.Problem = a.problem
		}
		noteCached(&obs, a)
		if !a.affirmed {
			obs.Outcome = ownership.CouldNotTell
			obs.Err = joined(obs.Err, a.err)
			if at != of.name {
				obs.Err = fmt.Sprintf("%s is an alias of %s, which could not be looked up: %s", of.name, at, a.err)
			}
			return obs
		}
		obs.Err = joined(obs.Err, a.err)
		if a.alias == "" {
			r.finish(ctx, &obs, at, a, of.kind)
			return obs
		}
		obs.Outcome = ownership.Seen
		obs.Chain = append(obs.Chain, a.alias)
		switch {
		case r.own(a.alias):
			return obs
		case visited[a.alias]:
			obs.Err = joined(obs.Err, fmt.Sprintf("the CNAMEs from %s form a loop at %s", of.name, a.alias))
			obs.Dangling = true
			return obs
		case len(obs.Chain) >= maxChain:
			obs.Err = joined(obs.Err, fmt.Sprintf("more than %d CNAMEs follow from %s", maxChain, of.name))
			obs.Dangling = true
			return obs
		}
		visited[a.alias] = true
		at = a.alias
	}
}

// finish records the end of a chain, or a name that has no CNAME at all.
func (r *Resolver) finish(ctx context.Context, obs *ownership.DNSObservation, at string, a answer, kind Kind) {
	first := len(obs.Chain) == 0
	switch {
	case !first:
		obs.Dangling, obs.Addresses = a.nx, a.addrs
	case a.empty() && (kind == KindTraffic || a.nx || a.viaResolvers):
		obs.Outcome, obs.NXDomain = ownership.Absent, a.nx
	case kind == KindTraffic:
		obs.Outcome, obs.Addresses = ownership.Seen, a.addrs
	default:
		// The name exists without a CNAME: what stands there instead? Only the
		// authoritative servers are asked, because a recursive resolver would
		// remember that there is no TXT record, to the CA's later detriment.
		obs.Outcome = ownership.Absent
		if r.mute.now() {
			return
		}
		if in := r.authoritative(ctx, at, dns.TypeTXT, dns.TypeA, dns.TypeAAAA); in.affirmed && !in.empty() {
			obs.Outcome, obs.Other = ownership.Seen, in.presentation()
		}
	}
}

// expected reports whether an absolute CNAME target is what belongs there.
func (r *Resolver) expected(of subject, target string) bool {
	zone := strings.ToLower(r.cfg.OwnZone())
	switch of.kind {
	case KindACMEChallenge:
		return target == v1alpha3.ChallengeName(of.hostname, zone)
	case KindOwnership:
		verify := v1alpha3.VerifyName(zone)
		return target == verify || strings.HasSuffix(target, "."+verify)
	}
	return target == v1alpha3.TrafficName(of.hostname, zone)
}

// own reports whether an absolute name lies in the operator's zone.
func (r *Resolver) own(name string) bool {
	zone := r.cfg.OwnZone()
	return zone != "" && dns.IsSubDomain(absolute(zone), name)
}

func joined(a, b string) string {
	switch {
	case a == "" || a == b:
		return b
	case b == "":
		return a
	}
	return a + "; " + b
}
