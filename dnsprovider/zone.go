package dnsprovider

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// Zone is the operator's zone: it answers for each record what customers'
// CNAMEs lead to. It is immutable apart from the records and RRsets under it.
type Zone struct {
	name    string
	wire    []byte
	labels  int
	names   Names
	dynamic *RRSets
	onQuery func(hostname []byte, proven bool)
	current func() bool // nil: always
	serial  func() uint32

	apexNode *node
	// static are the names that do not come from records, relative to the zone: name
	// servers, the verification name, and the empty non-terminals above them.
	static map[string]*node
	verify *node
	texts  *Texts // nil: none
	// edge is what every record's name answers with.
	edge *node
	// negative is the SOA as negative answers carry it.
	negative *rrset
	// absent is negative with a shorter TTL, for challenge names: no resolver is to
	// remember for long that a value was not there yet. The smaller of the SOA's TTL
	// and MINIMUM counts (RFC 2308 section 5), so MINIMUM is the same.
	absent   *rrset
	apexGlue []glue
}

// NewZone makes the zone over the records' names and, unless nil, the RRsets
// put into it. An error names the option that is wrong.
func NewZone(c Config, names Names, dynamic *RRSets) (*Zone, error) {
	z, err := newZone(c, names, dynamic)
	if err != nil {
		return nil, fmt.Errorf("zone %s: %w", c.Name, err)
	}
	return z, nil
}

func newZone(c Config, names Names, dynamic *RRSets) (*Zone, error) {
	name, err := hostName(c.Name)
	if err != nil {
		return nil, err
	}
	if dynamic != nil && dynamic.zone != name {
		return nil, fmt.Errorf("its RRsets are those of %s", dynamic.zone)
	}
	if err := c.edge(); err != nil {
		return nil, err
	}
	caa, err := c.caa()
	if err != nil {
		return nil, err
	}
	z := &Zone{name: name, names: names, dynamic: dynamic, onQuery: c.OnQuery, current: c.Current, serial: c.Serial, texts: c.Texts,
		static: map[string]*node{}}
	if z.wire, err = packLower(name); err != nil {
		return nil, err
	}
	z.labels = dns.CountLabel(name)
	caaSet, err := newSet(apexCAATTL, caa...)
	if err != nil {
		return nil, fmt.Errorf("caa: %w", err)
	}
	a, aaaa := addressSets(c.EdgeAddrs, 0)
	z.edge = &node{sets(a, aaaa, caaSet)}
	if c.EdgeHost != "" {
		host, err := hostName(c.EdgeHost)
		if err != nil {
			return nil, fmt.Errorf("edge: %w", err)
		}
		if host == name {
			return nil, fmt.Errorf("edge: %s is the zone itself: give its addresses, or a name elsewhere", c.EdgeHost)
		}
		cname, err := newSet(0, &dns.CNAME{Hdr: dns.RR_Header{Name: ".", Rrtype: dns.TypeCNAME}, Target: host + "."})
		if err != nil {
			return nil, fmt.Errorf("edge: %w", err)
		}
		z.edge = &node{[]*rrset{cname}}
	}
	if err := z.structure(c, caaSet); err != nil {
		return nil, err
	}
	z.verify = &node{[]*rrset{textSet(verifyText, verifyTTL)}}
	z.static[verifyLabel] = z.verify
	return z, nil
}

// structure makes SOA, NS and what lies at the name servers' names.
func (z *Zone) structure(c Config, caa *rrset) error {
	if len(c.Nameservers) == 0 {
		return errors.New("nameserver: missing: name the zone's servers")
	}
	var nsRRs []dns.RR
	seen := map[string]bool{}
	for _, ns := range c.Nameservers {
		host, err := hostName(ns.Name)
		if err != nil {
			return fmt.Errorf("nameserver: %w", err)
		}
		if seen[host] {
			return fmt.Errorf("nameserver: %s is given twice", host)
		}
		seen[host] = true
		nsRRs = append(nsRRs, &dns.NS{Hdr: dns.RR_Header{Name: ".", Rrtype: dns.TypeNS}, Ns: host + "."})
		if err := z.nameserver(host, ns); err != nil {
			return err
		}
	}
	ns, err := newSet(structureTTL, nsRRs...)
	if err != nil {
		return fmt.Errorf("nameserver: %w", err)
	}
	if c.Hostmaster == "" {
		c.Hostmaster = "hostmaster@" + z.name
	}
	rname, err := mailbox(c.Hostmaster)
	if err != nil {
		return fmt.Errorf("hostmaster: %w", err)
	}
	minimum, err := c.negativeTTL()
	if err != nil {
		return err
	}
	if z.serial == nil {
		made := uint32(time.Now().Unix())
		z.serial = func() uint32 { return made }
	}
	soa, err := newSet(structureTTL, &dns.SOA{Hdr: dns.RR_Header{Name: ".", Rrtype: dns.TypeSOA},
		Ns: nsRRs[0].(*dns.NS).Ns, Mbox: rname, Refresh: 3600, Retry: 600, Expire: 604800, Minttl: minimum})
	if err != nil {
		return fmt.Errorf("hostmaster: %w", err)
	}
	z.apexNode = &node{sets(soa, ns, caa)}
	z.negative = &rrset{typ: soa.typ, ttl: min(minimum, structureTTL), rdata: soa.rdata}
	z.absent = &rrset{typ: soa.typ, ttl: min(minimum, challengeNegativeTTL), rdata: soa.rdata}
	return nil
}

// nameserver makes the addresses of a name server inside the zone.
func (z *Zone) nameserver(host string, ns Nameserver) error {
	if host == z.name {
		return fmt.Errorf("nameserver: %s is the zone itself: name the server, as in ns1.%s", host, z.name)
	}
	rel, inside := strings.CutSuffix(host, "."+z.name)
	if !inside {
		return nil
	}
	if len(ns.Addrs) == 0 {
		return fmt.Errorf("nameserver: %s lies inside the zone: give its addresses", host)
	}
	for _, addr := range ns.Addrs {
		if !addr.IsValid() || addr.Zone() != "" {
			return fmt.Errorf("nameserver: %s: %v is no address", host, addr)
		}
	}
	if rel == verifyLabel || strings.HasSuffix(rel, "."+verifyLabel) || strings.HasPrefix(rel, wildcardPrefix) {
		return fmt.Errorf("nameserver: %s is a name that the zone uses itself", host)
	}
	a, aaaa := addressSets(ns.Addrs, structureTTL)
	z.static[rel] = &node{sets(a, aaaa)}
	for {
		_, up, ok := strings.Cut(rel, ".")
		if !ok {
			break
		}
		if z.static[up] == nil {
			z.static[up] = &node{}
		}
		rel = up
	}
	wire, err := packLower(host)
	if err != nil {
		return err
	}
	z.apexGlue = append(z.apexGlue, glue{wire, sets(a, aaaa)})
	return nil
}

// Name is the zone's name: lower case, no final dot.
func (z *Zone) Name() string { return z.name }

func (z *Zone) apex() []byte { return z.wire }

func (z *Zone) find(s *scratch, qtype uint16) {
	r := &s.result
	r.soa, r.serial = z.negative, z.serial()
	rel, fine := s.name.relative(s.rel[:], z.labels)
	if !fine {
		return
	}
	if len(rel) == 0 {
		z.findApex(s, qtype)
		return
	}
	if n := z.static[string(rel)]; n != nil {
		s.pick(n, qtype)
		if len(n.sets) > 0 {
			return
		}
		// An empty non-terminal, unless something else stands there.
	}
	if n := z.texts.at(rel); n != nil {
		s.pick(n, qtype)
		return
	}
	if bytes.HasSuffix(rel, []byte("."+verifyLabel)) {
		if len(rel)-len(verifyLabel)-1 == bytes.IndexByte(rel, '.') {
			s.pick(z.verify, qtype)
		}
		return
	}
	if host, challenge := bytes.CutPrefix(rel, []byte(challengePrefix)); challenge {
		if z.current != nil && !z.current() {
			r.kind = unknown
			return
		}
		r.soa = z.absent
		z.findChallenge(s, rel, host, qtype)
		return
	}
	host := rel
	if base, ok := bytes.CutPrefix(rel, []byte(wildcardPrefix)); ok {
		host = s.wildcard(base)
	}
	name, ok := z.lookup(s, host)
	if !ok {
		z.findDynamic(s, rel, qtype)
		return
	}
	s.pick(z.edge, qtype)
	if r.set != rfc8482 {
		r.ttl = name.TTL
	}
}

// findChallenge answers for _acme-challenge above a hostname. It is there for
// the hostname's record and for that of the wildcard below it: a customer can
// have one delegation only, which serves both.
func (z *Zone) findChallenge(s *scratch, rel, host []byte, qtype uint16) {
	name, ok := z.lookup(s, host)
	below, both := z.lookup(s, s.wildcard(host))
	switch {
	case name.TLS || below.TLS:
		s.result.kind = nodata
		if z.dynamic != nil {
			if n := z.dynamic.lookup(rel); n != nil {
				s.pick(n, qtype)
			}
		}
	case !ok && !both:
		z.findDynamic(s, rel, qtype)
	}
}

// lookup finds a hostname's record and passes on that somebody asked for it.
func (z *Zone) lookup(s *scratch, host []byte) (Name, bool) {
	name, ok := z.names.Lookup(host)
	if ok && name.Unsettled && z.onQuery != nil {
		z.onQuery(host, s.proven)
	}
	return name, ok
}

// wildcard is the wildcard hostname over a name, borrowed until it is called
// again.
func (s *scratch) wildcard(base []byte) []byte {
	return append(append(s.alt[:0], '*', '.'), base...)
}

// findApex answers for the zone's own name.
func (z *Zone) findApex(s *scratch, qtype uint16) {
	s.pick(z.apexNode, qtype)
	r := &s.result
	switch {
	case r.kind == found && qtype == dns.TypeNS:
		r.glue = z.apexGlue
	case r.kind == nodata && z.dynamic != nil:
		if n := z.dynamic.lookup([]byte("@")); n != nil {
			s.pick(n, qtype)
		}
	}
}

// findDynamic answers for a name that no record has: what was put into the
// zone there, or an empty non-terminal, or nothing.
func (z *Zone) findDynamic(s *scratch, rel []byte, qtype uint16) {
	if z.dynamic != nil && !z.dynamic.empty() {
		if n := z.dynamic.lookup(rel); n != nil {
			s.pick(n, qtype)
			return
		}
		if z.dynamic.hasBelow(rel) {
			s.result.kind = nodata
			return
		}
	}
	switch {
	case z.names.HasBelow(rel):
		s.result.kind = nodata
	case !z.names.Whole():
		s.result.kind = unknown
	}
}
