package resolver

import (
	"slices"

	"github.com/miekg/dns"

	"github.com/apoxy-dev/caddy-apoxy/ownership"
)

// maxNames bounds the names of a zone's servers that are told of. Only that a zone has
// more matters then: nobody's that we know has.
const maxNames = 33

// namesInOrder returns names of servers each once and always in the same order, as
// servers rotate them.
func namesInOrder(names []string) []string {
	names = slices.Clone(names)
	slices.Sort(names)
	names = slices.Compact(names)
	return slices.Clip(names[:min(len(names), maxNames)])
}

// noteZone tells an observation in whose zone its name lies, as far as an answer about
// the name tells: in is the zone that was asked, nil if none was, and soa the owner of
// the SOA record that came with the answer, "" if none did. It costs no question.
//
// The zone that delegations lead to holds the name, unless a zone below it is on the
// same servers: an SOA record tells which it is (RFC 1034 section 4.2.1), and is
// believed within the zone that was asked. A zone above the registered domain is not
// the customer's.
func noteZone(obs *ownership.DNSObservation, name string, in *zone, soa string) {
	if in != nil && unregistered(in.apex, name) {
		return
	}
	if in != nil {
		obs.Zone, obs.ZoneServers = in.apex, in.names
		obs.ZoneSure = in.apex == name
	}
	if soa != "" && !unregistered(soa, name) && dns.IsSubDomain(soa, name) && (in == nil || dns.IsSubDomain(in.apex, soa)) {
		obs.Zone, obs.ZoneSure = soa, true
	}
}
