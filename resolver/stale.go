package resolver

import (
	"context"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/miekg/dns"

	"github.com/apoxy-dev/caddy-apoxy/ownership"
)

// compareResolvers notes which recursive resolvers still hold something else
// than was seen at the source, and for how long, and which say that DNSSEC
// validation fails. It is for what is right at the source: asked before, a resolver
// would hold the wrong answer for its TTL, when that has been mended. The CNAME is
// asked for first, because a resolver does not follow it then, and the addresses
// only of one that has it: they may be older, and are what CAs ask for.
func (r *Resolver) compareResolvers(ctx context.Context, of subject, obs *ownership.DNSObservation) {
	if len(obs.Chain) == 0 && of.kind != KindTraffic {
		return
	}
	t, want := dns.TypeA, nothing
	if len(obs.Chain) > 0 {
		t, want = dns.TypeCNAME, view{dns.TypeCNAME, obs.Chain[0]}
	}
	recursors := r.compared()
	said := make([]saying, len(recursors))
	bogus := make([]bool, len(recursors))
	ctx, cancel := context.WithTimeout(ctx, r.cfg.QueryTimeout)
	defer cancel()
	var wg sync.WaitGroup
	for i, to := range recursors {
		wg.Go(func() {
			said[i], bogus[i] = r.hearRecursor(ctx, to, of.name, []uint16{t})
			if of.kind != KindTraffic || t != dns.TypeCNAME || said[i].err != nil || said[i].view() != want {
				return
			}
			if a, _ := r.hearRecursor(ctx, to, of.name, []uint16{dns.TypeA}); a.err == nil && a.alias == "" && len(a.addrs) > 0 {
				said[i] = a
			}
		})
	}
	wg.Wait()
	now := time.Now()
	for i, s := range said {
		if bogus[i] {
			obs.Problem = ownership.ZoneBogus
		}
		if s.err != nil {
			continue
		}
		s.ttl = max(s.ttl, time.Second) // what has 0 left is given out for the rest of the second
		value := s.view()
		other := func(a netip.Addr) bool { return !slices.Contains(obs.Addresses, a) }
		if (want != nothing && value != want) || (want == nothing && (value == nothing || s.alias != "" || slices.ContainsFunc(s.addrs, other))) {
			obs.Stale = append(obs.Stale, ownership.StaleAnswer{
				Resolver: s.from.addr.String(), Value: value.String(), Until: now.Add(s.ttl), Addresses: s.addrs,
			})
		}
	}
}
