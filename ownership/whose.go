package ownership

import (
	"strings"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
	"github.com/apoxy-dev/caddy-apoxy/dnshosting"
)

// zones is the customer's zone that each DNS record belongs in, absolute with the final
// dot; "" where it was never learnt.
type zones struct{ traffic, delegation, challenge string }

func (z *zones) of(purpose v1alpha3.DNSPurpose) string {
	switch purpose {
	case v1alpha3.PurposeTraffic:
		return z.traffic
	case v1alpha3.PurposeACMEChallenge:
		return z.delegation
	}
	return z.challenge
}

// decideZones says in which zone each DNS record belongs. They may differ: a name below
// the hostname may be delegated elsewhere.
func (e *evaluation) decideZones() zones {
	return zones{
		traffic:    e.zoneOf(&e.found.traffic, &e.found.delegation, &e.found.challenge),
		delegation: e.zoneOf(&e.found.delegation, &e.found.traffic, &e.found.challenge),
		challenge:  e.zoneOf(&e.found.challenge, &e.found.traffic, &e.found.delegation),
	}
}

// zoneOf is the zone of one record: as the servers said, or as they said of the names
// beside or above it, which lie in the same zone unless its own name is a zone's top.
// Otherwise it is the deepest that is known: the one that delegations led to, or the one
// that was told before. Where nothing was learnt, that holds.
func (e *evaluation) zoneOf(f *finding, others ...*finding) string {
	if f.record == nil {
		return ""
	}
	name, seen := f.record.Name, f.obs.Zone
	if !within(name, seen) {
		seen = ""
	}
	held := ""
	if d := e.prev.DNSRecord(f.record.Purpose); d != nil && within(name, d.Zone) && (seen == "" || !e.known.Overwritten) {
		held = d.Zone
	}
	if seen != "" && (f.obs.ZoneSure || seen == name) {
		return seen
	}
	if held == name {
		return held
	}
	for _, o := range others {
		if o.obs.ZoneSure && within(name, o.obs.Zone) {
			return o.obs.Zone
		}
	}
	if len(held) > len(seen) {
		return held
	}
	return seen
}

// within reports whether an absolute name lies in a zone, or is its top.
func within(name, zone string) bool {
	return zone != "" && (name == zone || strings.HasSuffix(name, "."+zone))
}

// hostIn is a name relative to its zone, "@" at the zone's top.
func hostIn(name, zone string) string {
	switch {
	case zone == "":
		return ""
	case name == zone:
		return "@"
	}
	return strings.TrimSuffix(name, "."+zone)
}

// decideProvider says who hosts the hostname's zone. Where its servers were not learnt,
// what was known before holds, in the words of today.
func (e *evaluation) decideProvider() *v1alpha3.DNSProviderStatus {
	var p dnshosting.Provider
	known := false
	switch servers := e.found.traffic.obs.ZoneServers; {
	case len(servers) > 0:
		p, known = dnshosting.Recognise(servers)
	case e.prev.DNSProvider != nil:
		p, known = dnshosting.ByName(e.prev.DNSProvider.Name)
	}
	if !known {
		return nil
	}
	return &v1alpha3.DNSProviderStatus{Name: p.Name, ControlPanel: p.ControlPanel}
}
