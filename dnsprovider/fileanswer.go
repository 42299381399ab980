package dnsprovider

import "github.com/miekg/dns"

// fileZone is a zone file as queries read it. It is immutable.
type fileZone struct {
	labels int
	// nodes by name in wire form, lower case; empty non-terminals included.
	nodes    map[string]*fileNode
	negative *rrset
	// duplicates are records that the file has twice, the first of them.
	duplicates []duplicate
}

type fileNode struct {
	node
	// cut: the name is delegated. glue are the addresses of its name servers.
	cut  bool
	glue []glue
}

// find is the algorithm of RFC 1034 section 4.3.2 with RFC 4592's wildcards:
// down from the zone's name, label by label, until a delegation, the name or
// nothing is found.
func (z *fileZone) find(s *scratch, qtype uint16) {
	r := &s.result
	r.soa = z.negative
	for l := z.labels; l <= s.name.labels; l++ {
		n := z.nodes[string(s.name.suffix(l))]
		switch {
		case n == nil:
			z.findWildcard(s, l-1, qtype)
			return
		case n.cut && !(qtype == dns.TypeDS && l == s.name.labels):
			r.kind, r.cut, r.ns, r.glue = referral, l, n.set(dns.TypeNS), n.glue
			return
		case l == s.name.labels:
			s.pick(&n.node, qtype)
			if r.kind == found && qtype == dns.TypeNS {
				r.glue = n.glue
			}
			return
		}
	}
}

// findWildcard answers from the wildcard below the closest encloser, the last
// labels labels of the name.
func (z *fileZone) findWildcard(s *scratch, labels int, qtype uint16) {
	name := append(append(s.alt[:0], 1, '*'), s.name.suffix(labels)...)
	if n := z.nodes[string(name)]; n != nil {
		s.pick(&n.node, qtype)
	}
}
