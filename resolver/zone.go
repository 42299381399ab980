package resolver

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/net/publicsuffix"

	"github.com/apoxy-dev/caddy-apoxy/ownership"
)

// Zone is a zone of somebody's and the servers that are authoritative for it.
// It is never modified, but for silence.
type zone struct {
	apex    string // absolute
	servers []server
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

// Server is one address of one name server.
type server struct {
	name string // absolute
	addr netip.Addr
}

func (s server) String() string {
	return fmt.Sprintf("%s (%s)", s.addr, strings.TrimSuffix(s.name, "."))
}

// Named is the server's name, cut, and its address.
func (s server) named() string {
	name := strings.TrimSuffix(s.name, ".")
	return fmt.Sprintf("%s (%s)", name[:min(len(name), 60)], s.addr)
}

// RegisteredDomain returns the registered domain of an absolute name, without
// the final dot; the name itself if it is a public suffix; "" for the root.
func RegisteredDomain(name string) string {
	name = strings.TrimPrefix(strings.TrimSuffix(strings.ToLower(name), "."), "*.")
	if d, err := publicsuffix.EffectiveTLDPlusOne(name); err == nil {
		return d
	}
	return name
}

// Locate finds the zone to begin at for name: that of its registered domain, as
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

// Search climbs from start until the recursive resolvers name a zone's servers.
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
				z.apex = n
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

// Descend turns a referral into the zone that it leads to.
func (r *Resolver) descend(ctx context.Context, from *zone, ref *referral) *zone {
	if z, ok := r.deeper.Get(ref.apex); ok {
		return z
	}
	z := &zone{apex: ref.apex, problem: from.problem}
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

// ResolveServers looks up the addresses of name servers and picks at most
// MaxServers of those that may be contacted: the first IPv4 of each, then the
// first IPv6, then the rest. It returns those that may not beside them.
func (r *Resolver) resolveServers(ctx context.Context, gate string, names []string, glue map[string][]netip.Addr) ([]server, []barredServer) {
	slices.Sort(names)
	names = slices.Compact(names)
	if len(names) > r.cfg.MaxServers {
		names = names[:r.cfg.MaxServers]
	}
	// The zone's own servers may be dead; what is left must suffice to ask them.
	ctx, cancel := context.WithTimeout(ctx, r.cfg.QueryTimeout*3/2)
	defer cancel()
	found := make([][]netip.Addr, len(names))
	var wg sync.WaitGroup
	for i, name := range names {
		wg.Go(func() {
			if found[i] = r.serverAddresses(ctx, gate, name); len(found[i]) == 0 {
				found[i] = unmapped(glue[name])
			}
		})
	}
	wg.Wait()
	barred := r.bar(names, found)
	var out []server
	take := func(i int, fits func(netip.Addr) bool, all bool) {
		for k, a := range found[i] {
			if a.IsValid() && fits(a) {
				out = append(out, server{names[i], a})
				found[i][k] = netip.Addr{}
				if !all {
					return
				}
			}
		}
	}
	for i := range found {
		take(i, netip.Addr.Is4, false)
	}
	for i := range found {
		take(i, netip.Addr.Is6, false)
	}
	for i := range found {
		take(i, netip.Addr.IsValid, true)
	}
	return out[:min(len(out), r.cfg.MaxServers)], barred
}

// ServerAddresses returns a copy of its own of a name server's addresses.
func (r *Resolver) serverAddresses(ctx context.Context, gate, name string) []netip.Addr {
	if addrs, ok := r.addresses.Get(name); ok {
		return slices.Clone(addrs)
	}
	types := []uint16{dns.TypeA}
	if routeToIPv6() { // which this machine may get, or lose, at any time
		types = append(types, dns.TypeAAAA)
	}
	found := make([][]netip.Addr, len(types))
	var wg sync.WaitGroup
	for i, t := range types {
		wg.Go(func() {
			if in, _, err := r.recurse(ctx, gate, name, t); err == nil {
				found[i] = unmapped(addressesIn(in.Answer))
			}
		})
	}
	wg.Wait()
	addrs := slices.Concat(found...)
	if len(addrs) > 0 {
		r.addresses.Put(name, addrs, r.cfg.CacheTTL*2)
	}
	return slices.Clone(addrs)
}

func decided(in *dns.Msg) bool {
	return in.Rcode == dns.RcodeSuccess || in.Rcode == dns.RcodeNameError
}

func nameServers(rrs []dns.RR, owner string) []string {
	var names []string
	for _, rr := range rrs {
		if ns, ok := rr.(*dns.NS); ok && strings.EqualFold(ns.Hdr.Name, owner) && ns.Ns != "." {
			names = append(names, strings.ToLower(ns.Ns))
		}
	}
	return names
}

func soaOwner(rrs []dns.RR) string {
	for _, rr := range rrs {
		if soa, ok := rr.(*dns.SOA); ok {
			return strings.ToLower(soa.Hdr.Name)
		}
	}
	return ""
}

// MaxAddresses bounds how many addresses of one answer are looked at.
const maxAddresses = 32

func addressesIn(rrs []dns.RR) []netip.Addr {
	var addrs []netip.Addr
	for _, rr := range rrs {
		if len(addrs) == maxAddresses {
			break
		}
		switch rr := rr.(type) {
		case *dns.A:
			if a, ok := netip.AddrFromSlice(rr.A.To4()); ok {
				addrs = append(addrs, a)
			}
		case *dns.AAAA:
			if a, ok := netip.AddrFromSlice(rr.AAAA.To16()); ok {
				addrs = append(addrs, a)
			}
		}
	}
	return addrs
}

func parentOf(name string) string {
	i, end := dns.NextLabel(name, 0)
	if end || name == "." {
		return "."
	}
	return name[i:]
}

var errNoServers = errors.New("none of its name servers has an address")
