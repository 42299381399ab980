package resolver

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"time"

	"github.com/miekg/dns"
	"go.uber.org/zap"

	"github.com/apoxy-dev/caddy-apoxy/ownership"
)

// consult asks the authoritative servers about one name, or, where none can be
// reached, the recursive resolvers. The first type that yields a CNAME ends the
// questions to a server.
func (r *Resolver) consult(ctx context.Context, name string, types ...uint16) answer {
	var a answer
	if r.mute.now() {
		a = answer{unheard: true, err: "authoritative name servers are out of reach from here"}
	} else if a = r.authoritative(ctx, name, types...); a.spent {
		return a // resolvers would tell, but what is old by then would count as found
	} else if !a.unheard {
		r.mute.heard()
		return a
	}
	b := r.viaResolvers(ctx, name, types...)
	if !b.affirmed {
		if a.problem == "" {
			a.problem = b.problem
		}
		if b.unheard && b.problem == "" {
			b.err = "the recursive resolvers do not know either"
		}
		a.err = joined(a.err, b.err)
		return a
	}
	if ctx.Err() == nil && !a.barred && types[0] != dns.TypeCAA { // there are servers that drop these alone
		r.mute.unheard(RegisteredDomain(name))
	}
	b.barred, b.in = a.barred, a.in
	if b.viaResolvers {
		b.err = joined(a.err, b.err)
	}
	if a.problem == ownership.ZoneBogus {
		b.problem = a.problem
	}
	return b
}

// authoritative asks every server of the zone that name lies in, following
// referrals down to it. It leaves time for the resolvers to be asked after it.
func (r *Resolver) authoritative(ctx context.Context, name string, types ...uint16) answer {
	ctx, cancel := context.WithTimeout(ctx, r.cfg.Timeout*7/10)
	defer cancel()
	z, err := r.locate(ctx, name)
	if err != nil {
		return answer{unheard: true, err: "finding the name servers of " + RegisteredDomain(name) + ": " + err.Error()}
	}
	var a answer
	for range maxReferrals {
		if s := z.silent(types...); s != nil {
			return s.answer
		}
		if len(z.servers) == 0 && len(z.barred) > 0 {
			return answer{unheard: true, zone: z.apex, in: z, barred: true, err: barredSentence(z.barred)}
		}
		if len(z.servers) == 0 {
			return answer{unheard: true, problem: ownership.ZoneLame, zone: z.apex,
				err: strings.TrimSuffix(z.apex, ".") + ": " + errNoServers.Error()}
		}
		said := r.askAll(ctx, z, name, types)
		a = agree(z.apex, partyServers, said)
		a.in = z
		ref := pointed(said)
		if !a.unheard || ref == nil {
			break
		}
		z = r.descend(ctx, z, ref)
	}
	if a.unheard && a.problem == ownership.ZoneResolver && r.intercepted(ctx) {
		a.problem, a.err = ownership.ZoneIntercepted, joined(interceptedSentence, a.err)
	}
	// A look that was called off has not heard whether the zone is silent.
	if a.unheard && !errors.Is(ctx.Err(), context.Canceled) {
		z.silence.Store(askedFor(types), &silence{a, time.Now().Add(silentFor)})
	}
	if z.problem == ownership.ZoneBogus {
		a.problem = z.problem
	}
	if len(z.barred) > 0 {
		a.err = joined(barredSentence(z.barred), a.err)
	}
	if a.affirmed && a.nx && dns.IsSubDomain(z.apex, name) && unregistered(z.apex, name) {
		a.problem = ownership.ZoneNotRegistered
	}
	if c := r.cfg.Logger.Check(zap.DebugLevel, "asked authoritative name servers"); c != nil {
		c.Write(zap.String("name", cut(name)), zap.String("zone", cut(z.apex)), zap.Int("servers", len(z.servers)),
			zap.Bool("affirmed", a.affirmed), zap.String("alias", cut(a.alias)), zap.String("err", cut(a.err)))
	}
	return a
}

func pointed(said []saying) *referral {
	for _, s := range said {
		if s.referral != nil {
			return s.referral
		}
	}
	return nil
}

// probe asks about a name for a diagnosis only: the first server that answers
// will do, and two are tried. False: could not tell.
func (r *Resolver) probe(ctx context.Context, name string, qtype uint16) (said saying, ok bool) {
	if r.mute.now() {
		return said, false
	}
	z, err := r.locate(ctx, name)
	if err != nil {
		return said, false
	}
	for range maxReferrals {
		if z.silent(qtype) != nil {
			return said, false
		}
		if len(z.servers) == 0 && len(z.barred) > 0 && qtype == dns.TypeCNAME {
			a := r.viaResolvers(ctx, name, qtype)
			return saying{alias: a.alias, nx: a.nx}, a.affirmed
		}
		var ref *referral
		for _, s := range z.servers[:min(len(z.servers), 2)] {
			said = r.hear(ctx, z, s, name, []uint16{qtype})
			if ref = said.referral; ref != nil {
				break
			}
			if said.err == nil {
				return said, true
			}
		}
		if ref == nil {
			return said, false
		}
		z = r.descend(ctx, z, ref)
	}
	return said, false
}

// askAll asks all servers of a zone at once. Once one has answered, the others
// have the grace time left.
func (r *Resolver) askAll(ctx context.Context, z *zone, name string, types []uint16) []saying {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type numbered struct {
		i int
		s saying
	}
	results := make(chan numbered, len(z.servers))
	for i, s := range z.servers {
		go func() { results <- numbered{i, r.hear(ctx, z, s, name, types)} }()
	}
	said := make([]saying, len(z.servers))
	var grace <-chan time.Time
	for range z.servers {
		select {
		case n := <-results:
			said[n.i] = n.s
			if grace == nil && n.s.err == nil {
				t := time.NewTimer(r.cfg.Grace)
				defer t.Stop()
				grace = t.C
			}
		case <-grace:
			cancel()
			grace = nil
			n := <-results
			said[n.i] = n.s
		}
	}
	return said
}

// hear asks one server, type after type.
func (r *Resolver) hear(ctx context.Context, z *zone, s server, name string, types []uint16) saying {
	out := saying{from: s}
	leave, err := r.gates.enter(ctx, RegisteredDomain(name))
	if err != nil {
		out.err = errTimeout
		return out
	}
	defer leave()
	to := netip.AddrPortFrom(s.addr, r.cfg.Port)
	for _, t := range types {
		in, err := r.exchange(ctx, to, dns.Question{Name: name, Qtype: t, Qclass: dns.ClassINET}, queryFlags{}, true)
		if err != nil {
			out.err = err
			return out
		}
		out.err = understand(&out, z.apex, name, in)
		if out.referral == nil { // one from above says nothing of the zone's own servers
			noteHeard(ctx)
		}
		if out.err != nil || out.referral != nil || out.alias != "" || out.nx {
			return out
		}
	}
	return out
}
