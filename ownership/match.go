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
	matchNone    match = iota
	matchCNAME         // the CNAME leads to the value, directly or through other names
	matchAddress       // an apex has the edge's addresses and no others
)

// fulfils compares what was seen with what is wanted. A chain counts once it
// passes through exactly the wanted value: what follows is the zone's own.
func fulfils(want v1alpha3.DNSRecord, o DNSObservation, z Zone) match {
	if o.Outcome != Seen {
		return matchNone
	}
	if through(o.Chain, want.Value) {
		return matchCNAME
	}
	if want.Purpose == v1alpha3.PurposeTraffic && isApex(want.Name, o) && len(o.Chain) == 0 {
		ours, foreign := split(o.Addresses, z)
		if len(ours) > 0 && len(foreign) == 0 {
			return matchAddress
		}
	}
	return matchNone
}

// through reports whether a chain passes through a name.
func through(chain []string, name string) bool {
	name = absolute(name)
	return slices.ContainsFunc(chain, func(c string) bool { return absolute(c) == name })
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
	other := slices.Clone(o.Other)
	slices.Sort(other)
	for _, s := range other {
		add(s)
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
