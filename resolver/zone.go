package resolver

import (
	"context"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"github.com/miekg/dns"

	"github.com/apoxy-dev/caddy-apoxy/ownership"
)

// zone is a zone of somebody's and the servers that are authoritative for it.
// It is never modified, but for silence.
type zone struct {
	apex    string // absolute
	servers []server
	names   []string              // of the servers in order, those without an address too
	barred  []barredServer        // those that may not be contacted
	problem ownership.ZoneProblem // learnt while the zone was searched for
	// silence is what came of asking when no server answered, by the types that
	// were asked for: some servers fail for one type only. For silentFor it is not
	// tried again, so that a dead zone costs one wait and not one for each of its
	// names.
	silence sync.Map // of asked to *silence
}

// asked is the types of one question, in their order; an array, so that it can be
// a key. Nothing asks for more.
type asked [3]uint16

func askedFor(types []uint16) (a asked) {
	copy(a[:], types)
	return a
}

type silence struct {
	answer answer
	until  time.Time
}

const silentFor = 5 * time.Second

// silent returns what came of asking for these types a moment ago, if nothing did.
func (z *zone) silent(types ...uint16) *silence {
	if s, ok := z.silence.Load(askedFor(types)); ok && time.Now().Before(s.(*silence).until) {
		return s.(*silence)
	}
	return nil
}

// locate finds the zone to begin at for name: that of its registered domain, as
// the recursive resolvers know it. Referrals lead on from there.
func (r *Resolver) locate(ctx context.Context, name string) (*zone, error) {
	start := absolute(RegisteredDomain(name))
	if z, ok := r.cuts.Get(start); ok {
		return z, nil
	}
	// The flight outlives the caller that happened to start it.
	done := r.flights.DoChan(start, func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), r.cfg.Timeout*3/5)
		defer cancel()
		z, err := r.search(ctx, start)
		if err == nil {
			r.cuts.Put(start, z, r.cfg.CacheTTL)
		}
		return z, err
	})
	select {
	case res := <-done:
		if res.Err != nil {
			return nil, res.Err
		}
		return res.Val.(*zone), nil
	case <-ctx.Done():
		return nil, errTimeout
	}
}

// search climbs from start until the recursive resolvers name a zone's servers.
// Where they fail for the zone itself (its servers are dead, its signatures
// bogus) it goes on above, and the referral from there tells its servers.
func (r *Resolver) search(ctx context.Context, start string) (*zone, error) {
	gate := RegisteredDomain(start)
	z := &zone{}
	for n, steps := start, 0; steps < 8; steps++ {
		in, _, err := r.recurse(ctx, gate, n, dns.TypeNS)
		if err == nil && in.Rcode == dns.RcodeServerFailure {
			if unchecked, _, err := r.recurseUnchecked(ctx, gate, n, dns.TypeNS); err == nil && decided(unchecked) {
				in, z.problem = unchecked, ownership.ZoneBogus
			}
		}
		if err != nil && n == "." {
			return nil, err
		}
		if err == nil && decided(in) {
			if ns := nameServers(in.Answer, n); len(ns) > 0 {
				z.apex, z.names = n, namesInOrder(ns)
				z.servers, z.barred = r.resolveServers(ctx, gate, ns, nil)
				if len(z.servers) == 0 && len(z.barred) == 0 && n != "." {
					z.problem = ownership.ZoneLame
					n = parentOf(n)
					continue
				}
				return z, nil
			}
			if apex := soaOwner(in.Ns); apex != "" && apex != n && dns.IsSubDomain(apex, n) {
				n = apex
				continue
			}
		}
		if n == "." {
			break
		}
		n = parentOf(n)
	}
	return nil, fmt.Errorf("no name servers are known for %s", start)
}

// descend turns a referral into the zone that it leads to.
func (r *Resolver) descend(ctx context.Context, from *zone, ref *referral) *zone {
	if z, ok := r.deeper.Get(ref.apex); ok {
		return z
	}
	z := &zone{apex: ref.apex, names: namesInOrder(ref.names), problem: from.problem}
	// Glue is believed only for names inside the referring zone: its servers
	// have no say about others.
	glue := make(map[string][]netip.Addr)
	for name, addrs := range ref.glue {
		if dns.IsSubDomain(from.apex, name) {
			glue[name] = addrs
		}
	}
	z.servers, z.barred = r.resolveServers(ctx, RegisteredDomain(ref.apex), ref.names, glue)
	if len(z.servers)+len(z.barred) > 0 && ctx.Err() == nil {
		r.deeper.Put(ref.apex, z, r.cfg.CacheTTL)
	}
	return z
}
