package resolver

import (
	"strings"

	"github.com/miekg/dns"
	"golang.org/x/net/publicsuffix"
)

// maxName is the longest name in presentation form, with the final dot.
const maxName = 254

func absolute(name string) string { return dns.Fqdn(strings.ToLower(name)) }

// unregistered reports whether a zone that says a name does not exist is above
// the name's registered domain, so that the domain itself does not exist.
func unregistered(apex, name string) bool {
	return dns.CountLabel(apex) < dns.CountLabel(absolute(RegisteredDomain(name)))
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

func parentOf(name string) string {
	i, end := dns.NextLabel(name, 0)
	if end || name == "." {
		return "."
	}
	return name[i:]
}
