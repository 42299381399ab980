package resolver

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/miekg/dns"

	"github.com/apoxy-dev/caddy-apoxy/ownership"
)

// glanceFewest is how many name servers must agree in a glance where a zone has
// more than its ration reaches. A single one may be anybody's, such as the new
// owner of a domain that was given up.
const glanceFewest = 3

// glance looks at a name for few questions: whether a CNAME that leads to our
// zone, or addresses, stand there now. One address of each name server is asked
// once, and all must answer the same; anything else is "could not tell", because
// it is no finding. Zone cuts and servers are asked of the recursive resolvers, and
// so is all else where the servers may not or cannot be contacted.
func (r *Resolver) glance(ctx context.Context, of subject) ownership.DNSObservation {
	unseen := ownership.DNSObservation{At: time.Now()}
	qtype := dns.TypeCNAME
	if of.kind == KindTraffic {
		qtype = dns.TypeA
	}
	var obs ownership.DNSObservation
	for at := of.name; len(obs.Chain) < maxChain; {
		a, ok := r.unanimous(ctx, at, qtype)
		if !ok {
			return unseen
		}
		obs.Outcome, obs.At = ownership.Seen, time.Now()
		if at == of.name {
			obs.Servers, obs.TTL, obs.Apex = a.servers, a.ttl, a.top(at)
			noteZone(&obs, at, a.in, a.soa)
		}
		noteCached(&obs, a)
		obs.Err = joined(obs.Err, a.err)
		if a.problem == ownership.ZoneBogus {
			obs.Problem = a.problem
		}
		switch {
		case a.alias != "" && r.own(a.alias):
			obs.Chain = append(obs.Chain, a.alias)
			if !obs.Cached && r.expected(of, a.alias) {
				r.compareResolvers(ctx, of, &obs) // what an order must wait for
			}
			return obs
		case a.alias != "" && !slices.Contains(obs.Chain, a.alias) && a.alias != of.name:
			obs.Chain = append(obs.Chain, a.alias)
			at = a.alias
		case a.alias == "" && len(obs.Chain) == 0 && of.kind == KindTraffic:
			six, ok := r.unanimous(ctx, at, dns.TypeAAAA)
			if !ok && !six.affirmed { // that there is none of these is an answer, too
				return unseen
			}
			obs.Addresses = union(a.addrs, six.addrs)
			if obs.Apex = obs.Apex || six.top(at); !obs.Apex && a.soa == "" && six.soa == "" {
				if obs.Apex, a = r.askTop(ctx, at, a); !a.affirmed {
					return unseen
				}
			}
			return obs
		default:
			return unseen
		}
	}
	return unseen
}

// unanimous asks one address of each of a zone's name servers for one type, the
// first of them alone: it may refer on or have nothing, and then the others need
// not be asked. False: not all answered the same, or there is nothing.
func (r *Resolver) unanimous(ctx context.Context, name string, qtype uint16) (answer, bool) {
	if r.mute.now() {
		a := r.viaResolvers(ctx, name, qtype)
		return a, a.affirmed && !a.empty()
	}
	z, err := r.locate(ctx, name)
	for range maxReferrals {
		if err != nil || z.silent(qtype) != nil {
			return answer{}, false
		}
		ask := oneOfEach(z.servers)
		if len(ask) == 0 {
			return r.insteadOfBarred(ctx, z, name, qtype)
		}
		if left := RationOf(ctx).left.Load(); int(left) < min(len(ask), glanceFewest) {
			return answer{}, false
		}
		first := r.hear(ctx, z, ask[0], name, []uint16{qtype})
		if first.referral != nil {
			z = r.descend(ctx, z, first.referral)
			continue
		}
		if first.err != nil {
			return r.unlessHeard(ctx, z, ask[1:], name, qtype)
		}
		if first.view() == nothing && qtype != dns.TypeAAAA {
			return answer{}, false
		}
		return r.seconded(ctx, z, first, ask[1:], name, qtype)
	}
	return answer{}, false
}

// seconded asks the others whether they say what the first said.
func (r *Resolver) seconded(ctx context.Context, z *zone, first saying, others []server, name string, qtype uint16) (answer, bool) {
	left := max(int(RationOf(ctx).left.Load()), 0)
	if left < min(len(others), glanceFewest-1) {
		return answer{}, false
	}
	others = others[:min(len(others), left)]
	said := append([]saying{first}, r.askAll(ctx, &zone{apex: z.apex, servers: others}, name, []uint16{qtype})...)
	for _, s := range said {
		if s.err != nil || s.referral != nil {
			return answer{}, false
		}
	}
	a := agree(z.apex, partyServers, said)
	a.in = z
	if z.problem == ownership.ZoneBogus {
		a.problem = z.problem
	}
	if len(z.barred) > 0 {
		a.err = joined(barredSentence(z.barred), a.err)
	}
	return a, a.affirmed && !a.empty()
}

// unlessHeard asks the recursive resolvers if the other servers do not answer
// either, as a look does.
func (r *Resolver) unlessHeard(ctx context.Context, z *zone, others []server, name string, qtype uint16) (answer, bool) {
	if left := int(RationOf(ctx).left.Load()); left < len(others) {
		return answer{}, false
	}
	for _, s := range r.askAll(ctx, &zone{apex: z.apex, servers: others}, name, []uint16{qtype}) {
		if s.err == nil || errors.Is(s.err, errSpent) {
			return answer{}, false
		}
	}
	a := r.viaResolvers(ctx, name, qtype)
	return a, a.affirmed && !a.empty()
}

// insteadOfBarred asks the recursive resolvers where no server of a zone may be
// contacted.
func (r *Resolver) insteadOfBarred(ctx context.Context, z *zone, name string, qtype uint16) (answer, bool) {
	if len(z.barred) == 0 {
		return answer{}, false
	}
	a := r.viaResolvers(ctx, name, qtype)
	a.barred = true
	if a.viaResolvers {
		a.err = joined(barredSentence(z.barred), a.err)
	}
	return a, a.affirmed && !a.empty()
}

// oneOfEach is the first address of each name server.
func oneOfEach(servers []server) []server {
	var out []server
	for _, s := range servers {
		if !slices.ContainsFunc(out, func(o server) bool { return o.name == s.name }) {
			out = append(out, s)
		}
	}
	return out
}
