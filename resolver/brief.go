package resolver

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/miekg/dns"

	"github.com/apoxy-dev/caddy-apoxy/ownership"
)

type beforeKey struct{}

// WithBefore returns a context in which Observe may ask less, by what was found before.
// Whatever else one server says than what was there, that it fails, or that anything is
// wrong with the zone, has every server asked as in a look in full.
func WithBefore(ctx context.Context, b ownership.Before) context.Context {
	return context.WithValue(ctx, beforeKey{}, b)
}

func beforeOf(ctx context.Context) ownership.Before {
	b, _ := ctx.Value(beforeKey{}).(ownership.Before)
	return b
}

// brief asks one server of the zone, each time another one, whether what was there
// before is there still. False: it takes a look in full to tell.
func (r *Resolver) brief(ctx context.Context, of subject, before ownership.Before) (ownership.DNSObservation, bool) {
	unseen := ownership.DNSObservation{}
	if r.mute.now() {
		return unseen, false
	}
	types := []uint16{dns.TypeCNAME}
	switch {
	case of.kind == KindTraffic:
		types = []uint16{dns.TypeA, dns.TypeAAAA}
	case of.kind == KindACMEChallenge && before == ownership.BeforeRight:
		types = []uint16{dns.TypeTXT} // the CNAME is told with it, and what CAs would see beside it
	}
	z, said, ok := r.hearOne(ctx, of.name, types)
	if !ok {
		return unseen, false
	}
	obs := ownership.DNSObservation{TTL: said.ttl, At: time.Now(), Brief: true}
	noteZone(&obs, of.name, z, said.soa)
	for _, s := range z.servers {
		obs.Servers = append(obs.Servers, s.observed())
	}
	switch {
	case before == ownership.BeforeNothing && said.view() == nothing && (said.nx || of.kind == KindTraffic):
		if said.nx && unregistered(z.apex, of.name) {
			return unseen, false
		}
		obs.Outcome, obs.NXDomain = ownership.Absent, said.nx
		obs.Apex = z.apex == of.name || said.soa == of.name
		obs.Elsewhere = r.elsewhere(ctx, of)
		return obs, true
	case before == ownership.BeforeRight && said.alias != "" && len(said.texts) == 0 && r.expected(of, said.alias):
		obs.Outcome, obs.Chain = ownership.Seen, []string{said.alias}
		return obs, true
	}
	return unseen, false
}

// hearOne asks any one server of the zone that a name is in. False: it did not answer,
// or something is wrong with the zone.
func (r *Resolver) hearOne(ctx context.Context, name string, types []uint16) (*zone, saying, bool) {
	z, err := r.locate(ctx, name)
	for range maxReferrals {
		if err != nil || len(z.servers) == 0 || len(z.barred) > 0 || z.problem != "" || z.silent(types...) != nil {
			return nil, saying{}, false
		}
		said := r.hear(ctx, z, z.servers[rand.IntN(len(z.servers))], name, types)
		if said.referral != nil {
			z = r.descend(ctx, z, said.referral)
			continue
		}
		if said.err == nil {
			r.mute.heard()
		}
		return z, said, said.err == nil
	}
	return nil, saying{}, false
}
