package dnstest

import (
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/miekg/dns"
)

// Zone is the content of one zone. It may be edited while it is served.
type Zone struct {
	// Origin is the zone's name, absolute.
	Origin string

	world *World
	auto  bool // made for the servers' own names, on the infrastructure
	mu    sync.RWMutex
	bogus bool
	sets  map[string]map[uint16][]dns.RR // by owner, then type
}

func newZone(w *World, origin string) *Zone {
	return &Zone{Origin: origin, world: w, sets: make(map[string]map[uint16][]dns.RR)}
}

// Set replaces the record sets of the given records, in presentation form with
// owners relative to the origin ("@ 300 IN A 192.0.2.1").
func (z *Zone) Set(records ...string) {
	z.world.tb.Helper()
	fresh := make(map[string]map[uint16]bool)
	z.mu.Lock()
	defer z.mu.Unlock()
	for _, text := range records {
		parser := dns.NewZoneParser(strings.NewReader(text), z.Origin, "")
		parser.SetDefaultTTL(60)
		rr, ok := parser.Next()
		if !ok {
			z.world.tb.Fatalf("parsing record %q: %v", text, parser.Err())
		}
		h := rr.Header()
		h.Name = strings.ToLower(h.Name)
		if z.sets[h.Name] == nil {
			z.sets[h.Name] = make(map[uint16][]dns.RR)
		}
		if fresh[h.Name] == nil {
			fresh[h.Name] = make(map[uint16]bool)
		}
		if !fresh[h.Name][h.Rrtype] {
			fresh[h.Name][h.Rrtype] = true
			z.sets[h.Name][h.Rrtype] = nil
		}
		z.sets[h.Name][h.Rrtype] = append(z.sets[h.Name][h.Rrtype], rr)
	}
}

// Remove drops record sets of an owner, relative to the origin; without types
// all of them.
func (z *Zone) Remove(owner string, types ...uint16) {
	name := z.owner(owner)
	z.mu.Lock()
	defer z.mu.Unlock()
	for _, t := range types {
		delete(z.sets[name], t)
	}
	if len(types) == 0 || len(z.sets[name]) == 0 {
		delete(z.sets, name)
	}
}

// SetBogus makes the zone fail DNSSEC validation at the recursive resolver.
func (z *Zone) SetBogus(bogus bool) {
	z.mu.Lock()
	z.bogus = bogus
	z.mu.Unlock()
}

func (z *Zone) isBogus() bool {
	z.mu.RLock()
	defer z.mu.RUnlock()
	return z.bogus
}

func (z *Zone) owner(owner string) string {
	owner = strings.ToLower(owner)
	switch {
	case owner == "@":
		return z.Origin
	case strings.HasSuffix(owner, "."):
		return owner
	}
	return owner + "." + strings.TrimPrefix(z.Origin, ".")
}

func (z *Zone) clone() *Zone {
	c := newZone(z.world, z.Origin)
	z.mu.RLock()
	defer z.mu.RUnlock()
	c.bogus = z.bogus
	for owner, sets := range z.sets {
		c.sets[owner] = maps.Clone(sets)
	}
	return c
}

// adopt takes over the addresses of another zone.
func (z *Zone) adopt(other *Zone) {
	z.mu.Lock()
	defer z.mu.Unlock()
	for owner, sets := range other.sets {
		for _, t := range []uint16{dns.TypeA, dns.TypeAAAA} {
			if len(sets[t]) > 0 {
				if z.sets[owner] == nil {
					z.sets[owner] = make(map[uint16][]dns.RR)
				}
				z.sets[owner][t] = sets[t]
			}
		}
	}
}

// answer fills in what the zone answers for name and type (RFC 1034 section
// 4.3.2), CNAMEs followed inside the zone.
func (z *Zone) answer(m *dns.Msg, name string, qtype uint16) {
	z.mu.RLock()
	defer z.mu.RUnlock()
	for range 12 {
		if cut := z.cut(name); cut != "" {
			if len(m.Answer) == 0 {
				z.refer(m, cut)
			}
			return
		}
		m.Authoritative = true
		sets, ok := z.sets[name]
		if !ok {
			sets, ok = z.wildcard(name)
		}
		if !ok {
			if !z.hasBelow(name) {
				m.Rcode = dns.RcodeNameError
			}
			z.negative(m)
			return
		}
		if rrs := sets[qtype]; len(rrs) > 0 { // even beside a CNAME, as some do
			m.Answer = append(m.Answer, renamed(rrs, name)...)
			return
		}
		alias := sets[dns.TypeCNAME]
		if len(alias) == 0 {
			z.negative(m)
			return
		}
		m.Answer = append(m.Answer, renamed(alias, name)...)
		name = strings.ToLower(alias[0].(*dns.CNAME).Target)
		if !dns.IsSubDomain(z.Origin, name) {
			return
		}
	}
}

// cut returns the highest delegation at or above name, below the origin.
func (z *Zone) cut(name string) string {
	found := ""
	for n := name; n != z.Origin && n != "."; n = parentOf(n) {
		if len(z.sets[n][dns.TypeNS]) > 0 {
			found = n
		}
	}
	return found
}

func (z *Zone) refer(m *dns.Msg, cut string) {
	m.Ns = append(m.Ns, renamed(z.sets[cut][dns.TypeNS], cut)...)
	for _, rr := range z.sets[cut][dns.TypeNS] {
		target := strings.ToLower(rr.(*dns.NS).Ns)
		if dns.IsSubDomain(z.Origin, target) {
			m.Extra = append(m.Extra, z.sets[target][dns.TypeA]...)
			m.Extra = append(m.Extra, z.sets[target][dns.TypeAAAA]...)
		}
	}
}

func (z *Zone) wildcard(name string) (map[uint16][]dns.RR, bool) {
	for n := parentOf(name); ; n = parentOf(n) {
		if sets, ok := z.sets["*."+strings.TrimPrefix(n, ".")]; ok {
			return sets, true
		}
		if _, exists := z.sets[n]; exists || z.hasBelow(n) || n == "." {
			return nil, false
		}
	}
}

func (z *Zone) hasBelow(name string) bool {
	for owner := range z.sets {
		if owner != name && dns.IsSubDomain(name, owner) {
			return true
		}
	}
	return false
}

func (z *Zone) negative(m *dns.Msg) {
	for _, rr := range z.sets[z.Origin][dns.TypeSOA] {
		soa := dns.Copy(rr).(*dns.SOA)
		soa.Hdr.Ttl = min(soa.Hdr.Ttl, soa.Minttl)
		m.Ns = append(m.Ns, soa)
	}
}

func renamed(rrs []dns.RR, name string) []dns.RR {
	out := slices.Clone(rrs)
	for i, rr := range out {
		out[i] = dns.Copy(rr)
		out[i].Header().Name = name
	}
	return out
}
