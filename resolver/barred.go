package resolver

import (
	"fmt"
	"net/netip"

	"github.com/apoxy-dev/caddy-apoxy/internal/specialpurpose"
	"github.com/apoxy-dev/caddy-apoxy/ownership"
)

// barredServer is a name server that a customer's DNS names and that may not be
// contacted.
type barredServer struct {
	server
	block specialpurpose.Block
}

// barred reports whether an address that a customer's DNS names may not be
// contacted, and the block that it lies in. What the configuration itself names,
// such as resolvers, is not asked about.
func (r *Resolver) barred(addr netip.Addr) (specialpurpose.Block, bool) {
	block, special := specialpurpose.Of(addr)
	return block, special && !specialpurpose.Allowed(r.cfg.PrivateNetworks, addr)
}

// bar takes the addresses that may not be contacted out of those found of each
// of the named servers, and returns them.
func (r *Resolver) bar(names []string, found [][]netip.Addr) []barredServer {
	var out []barredServer
	for i, addrs := range found {
		may := addrs[:0]
		for _, a := range addrs {
			if block, barred := r.barred(a); barred {
				out = append(out, barredServer{server{names[i], a}, block})
			} else {
				may = append(may, a)
			}
		}
		found[i] = may
	}
	return out
}

// barredSentence names the first of those that were passed over, why, and what
// the operator can do; without a final full stop.
func barredSentence(barred []barredServer) string {
	first := barred[0]
	others := ""
	if n := len(barred) - 1; n == 1 {
		others = " (and 1 other)"
	} else if n > 1 {
		others = fmt.Sprintf(" (and %d others)", n)
	}
	return fmt.Sprintf("name server %s%s is not asked: %s, is not in `private_networks`, where the operator lists it if the customer's servers really are there",
		first.named(), others, first.block)
}

// noteCached adds to an observation who gave one of its answers. It counts as
// barred only if all that resolvers gave do.
func noteCached(obs *ownership.DNSObservation, a answer) {
	if a.viaResolvers {
		obs.Barred = a.barred && (obs.Barred || !obs.Cached)
		obs.Cached = true
	}
}

func unmapped(addrs []netip.Addr) []netip.Addr {
	out := make([]netip.Addr, len(addrs))
	for i, a := range addrs {
		out[i] = a.Unmap()
	}
	return out
}
