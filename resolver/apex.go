package resolver

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/miekg/dns"
)

// top reports whether a name is known to be the top of its zone: it owns the zone's
// SOA record (RFC 1034 section 4.2.1, RFC 9499 section 7). A referral that led to
// the zone tells that; where the zone above is on the same servers none comes, and
// the SOA beside an answer that there is nothing tells it.
func (a answer) top(name string) bool {
	return !a.viaResolvers && a.zone == name || a.soa == name
}

// askTop asks whether a name with addresses is the top of its zone, where the
// answer did not tell: an affirmed answer of two addresses has no SOA beside it. The
// registered domain is taken for one in any case and not asked about. It returns the
// answer as it was, or, where nothing was heard, one that is not affirmed: what the
// edge's addresses mean depends on it. Of others nothing does but a hint. The answer
// has the zone that the name is in, as far as the servers told.
func (r *Resolver) askTop(ctx context.Context, name string, a answer) (bool, answer) {
	if RegisteredDomain(name)+"." == name || strings.HasPrefix(name, "*.") {
		return false, a
	}
	var said saying
	var err error
	if a.viaResolvers || a.zone == "" { // or a resolver serves the zone itself
		var in *dns.Msg
		if in, _, err = r.recurse(ctx, RegisteredDomain(name), name, dns.TypeSOA); err == nil && decided(in) {
			collect(&said, name, in)
		}
	} else {
		said, err = r.askOne(ctx, name, dns.TypeSOA)
	}
	ours := func(addr netip.Addr) bool { return slices.Contains(r.cfg.EdgeAddresses(), addr.Unmap()) }
	if (unheard(err) || errors.Is(err, errSpent)) && slices.ContainsFunc(a.addrs, ours) {
		a.affirmed, a.spent = false, errors.Is(err, errSpent)
		a.err = joined(a.err, fmt.Sprintf("whether %s is the top of its zone could not be asked: %v", strings.TrimSuffix(name, "."), err))
	}
	a.soa = said.soa
	return said.soa == name, a
}

// askOne asks the servers of a name's zone for one type until one answers, two at
// most, and returns what the last one said.
func (r *Resolver) askOne(ctx context.Context, name string, qtype uint16) (saying, error) {
	z, err := r.locate(ctx, name)
	for range maxReferrals {
		if err != nil || len(z.servers) == 0 {
			return saying{}, errTimeout
		}
		var said saying
		for _, s := range z.servers[:min(len(z.servers), 2)] {
			if said = r.hear(ctx, z, s, name, []uint16{qtype}); said.err == nil || said.referral != nil {
				break
			}
		}
		if said.referral == nil {
			return said, said.err
		}
		z = r.descend(ctx, z, said.referral)
	}
	return saying{}, errTimeout
}
