package ownership

import (
	"net/netip"
	"slices"
	"strings"

	"golang.org/x/net/publicsuffix"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
)

// match is how an observation fulfils what a DNS record wants.
type match uint8

const (
	matchNone      match = iota
	matchCNAME           // the CNAME leads to the value, directly or through other names
	matchAddress         // an apex has the edge's addresses and no others
	matchFlattened       // another name has them, and has them itself
	matchMadeUp          // another name has them, and a wildcard record makes them up
	matchUnsure          // another name has them; whether a wildcard makes them up could not be told
)

// proves reports whether only the customer of this very hostname can have made
// it so, for its sake.
func (m match) proves() bool { return m == matchCNAME || m == matchAddress }

// fulfils compares what was seen with what is wanted. A chain counts once it
// passes through exactly the wanted value: what follows is the zone's own.
func fulfils(want v1alpha3.DNSRecord, o DNSObservation, z Zone) match {
	if o.Outcome != Seen {
		return matchNone
	}
	if through(o.Chain, want.Value) {
		return matchCNAME
	}
	if want.Purpose != v1alpha3.PurposeTraffic || len(o.Chain) > 0 {
		return matchNone
	}
	ours, foreign := split(o.Addresses, z)
	made, _ := split(o.Sibling.Addresses, z)
	switch {
	case len(ours) == 0 || len(foreign) > 0:
		return matchNone
	case o.Apex || soldAsApex(want.Name):
		return matchAddress
	case !o.Sibling.Told:
		return matchUnsure
	case len(made) > 0:
		return matchMadeUp
	}
	return matchFlattened
}

// Arrives reports whether what was seen at a hostname leads to the edge of a
// zone and nowhere else, so that a certificate obtained over HTTP proves something:
// by a CNAME through the hostname's name in the zone, or by addresses of the edge
// with no others beside them, which no wildcard makes up.
func Arrives(hostname string, o DNSObservation, z Zone) bool {
	by := fulfils(v1alpha3.DNSRecord{
		Purpose: v1alpha3.PurposeTraffic,
		Name:    v1alpha3.OwnerTrafficName(hostname), Value: v1alpha3.TrafficName(hostname, z.Name),
	}, o, z)
	return by.proves() || by == matchFlattened
}

// through reports whether a chain passes through a name.
func through(chain []string, name string) bool {
	name = absolute(name)
	return slices.ContainsFunc(chain[:min(len(chain), maxChain)], func(c string) bool {
		return len(c) <= maxValue && absolute(c) == name
	})
}

// isApex reports whether no CNAME may stand at a name because it is the top of
// a zone: so it was seen, or it is a registrable domain.
func isApex(name string, o DNSObservation) bool {
	if o.Apex {
		return true
	}
	name = strings.TrimSuffix(name, ".")
	top, err := publicsuffix.EffectiveTLDPlusOne(name)
	return err == nil && top == name
}

// soldAsApex reports whether a name is the top of a zone because registries sell
// it as one. Below a suffix that somebody else has listed, which may be a zone with
// a wildcard, that is not known before an SOA was seen.
func soldAsApex(name string) bool {
	name = strings.TrimSuffix(name, ".")
	suffix, icann := publicsuffix.PublicSuffix(name)
	return isApex(name, DNSObservation{}) && (icann || !strings.Contains(suffix, "."))
}

// split parts addresses into the edge's own and foreign ones.
func split(addrs []netip.Addr, z Zone) (ours, foreign []netip.Addr) {
	for _, a := range addrs {
		a = a.Unmap()
		if slices.ContainsFunc(z.EdgeAddresses, func(e netip.Addr) bool { return e.Unmap() == a }) {
			ours = append(ours, a)
		} else {
			foreign = append(foreign, a)
		}
	}
	return ours, foreign
}

// nothing reports whether no record of any kind was seen at the name.
func nothing(o DNSObservation) bool {
	return len(o.Chain) == 0 && len(o.Addresses) == 0 && len(o.Other) == 0
}

// observed writes what was seen at a name for dnsRecords[].observed, in an order
// that does not change from look to look. Behind a CNAME addresses are left
// out: they are its target's, and often rotate.
func observed(want v1alpha3.DNSRecord, o DNSObservation) []string {
	o = bounded(o)
	out := []string{}
	add := func(s string) {
		if len(out) < maxObserved {
			out = append(out, cut(printable(s), maxValue))
		}
	}
	for _, c := range o.Chain {
		add("CNAME " + c)
		if absolute(c) == absolute(want.Value) {
			break
		}
	}
	if len(o.Chain) == 0 {
		for i, a := range addresses(o.Addresses) {
			if i == maxObserved-2 {
				break // leave room for what else is there
			}
			if strings.Contains(a, ":") {
				add("AAAA " + a)
			} else {
				add("A " + a)
			}
		}
	}
	for _, s := range o.Other {
		add(s)
	}
	return out
}

// bounded cuts an observation to what a message can make use of, in an order
// that does not change from look to look. No decision is taken on it.
func bounded(o DNSObservation) DNSObservation {
	o.Chain = firstCut(o.Chain, maxChain)
	o.Other = slices.Clone(o.Other)
	slices.Sort(o.Other)
	o.Other = firstCut(o.Other, maxOther)
	o.Elsewhere = firstCut(o.Elsewhere, maxListed)
	o.Stale = slices.Clone(o.Stale)
	slices.SortFunc(o.Stale, func(a, b StaleAnswer) int { return strings.Compare(a.Resolver, b.Resolver) })
	o.Stale = o.Stale[:min(len(o.Stale), maxOther)]
	return o
}

func firstCut(values []string, n int) []string {
	out := make([]string, 0, min(len(values), n))
	for _, v := range values[:min(len(values), n)] {
		out = append(out, cut(v, 2*maxValue))
	}
	return out
}

// printable keeps the printable ASCII of s, as DNS presentation form has it.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, s)
}
