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

	"github.com/apoxy-dev/caddy-apoxy/ownership"
)

// server is one address of one name server.
type server struct {
	name string // absolute
	addr netip.Addr
}

func (s server) String() string {
	return fmt.Sprintf("%s (%s)", s.addr, strings.TrimSuffix(s.name, "."))
}

// observed is the server in the words of ownership.
func (s server) observed() ownership.NameServer {
	return ownership.NameServer{Name: s.name, Addr: s.addr}
}

// named is the server's name, cut, and its address.
func (s server) named() string {
	name := strings.TrimSuffix(s.name, ".")
	return fmt.Sprintf("%s (%s)", name[:min(len(name), 60)], s.addr)
}

// resolveServers looks up the addresses of name servers and picks at most
// maxServers of those that may be contacted: the first IPv4 of each, then the
// first IPv6, then the rest. It returns those that may not beside them.
func (r *Resolver) resolveServers(ctx context.Context, gate string, names []string, glue map[string][]netip.Addr) ([]server, []barredServer) {
	slices.Sort(names)
	names = slices.Compact(names)
	if len(names) > maxServers {
		names = names[:maxServers]
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
	return out[:min(len(out), maxServers)], barred
}

// serverAddresses returns a copy of its own of a name server's addresses.
func (r *Resolver) serverAddresses(ctx context.Context, gate, name string) []netip.Addr {
	if addrs, ok := r.addresses.Get(name); ok {
		return slices.Clone(addrs)
	}
	types := []uint16{dns.TypeA}
	if routeToIPv6() { // which this machine may get, or lose, at any time
		types = append(types, dns.TypeAAAA)
	}
	found := make([][]netip.Addr, len(types))
	ttls := make([]time.Duration, len(types))
	var wg sync.WaitGroup
	for i, t := range types {
		ttls[i] = addressesMost * r.cfg.CacheTTL
		wg.Go(func() {
			if in, _, err := r.recurse(ctx, gate, name, t); err == nil {
				found[i] = unmapped(addressesIn(in.Answer))
				for _, rr := range in.Answer {
					ttls[i] = min(ttls[i], time.Duration(rr.Header().Ttl)*time.Second)
				}
			} else {
				ttls[i] = 0 // what is missing is asked for again soon
			}
		})
	}
	wg.Wait()
	addrs := slices.Concat(found...)
	if len(addrs) > 0 {
		r.addresses.Put(name, addrs, max(slices.Min(ttls), addressesLeast*r.cfg.CacheTTL))
	}
	return slices.Clone(addrs)
}

// How long a name server's addresses are remembered whatever their TTL says, in
// multiples of Config.CacheTTL: 30 s at least, so that a domain's names share them, and
// five minutes at most.
const (
	addressesLeast = 2
	addressesMost  = 20
)

var errNoServers = errors.New("none of its name servers has an address")
