package dnsprovider

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/miekg/dns"
)

// lineReader counts the lines that were read through it.
type lineReader struct {
	r     *bufio.Reader
	lines int
	last  byte
}

func (l *lineReader) ReadByte() (byte, error) {
	b, err := l.r.ReadByte()
	if err == nil {
		if l.last == '\n' || l.lines == 0 {
			l.lines++
		}
		l.last = b
	}
	return b, err
}

// Read makes lineReader the io.Reader that the parser asks for; it reads octet
// by octet because lineReader offers it.
func (l *lineReader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	b, err := l.ReadByte()
	if err != nil {
		return 0, err
	}
	p[0] = b
	return 1, nil
}

// zoneBuilder collects the records of a file.
type zoneBuilder struct {
	origin string
	file   string
	labels int
	nodes  map[string]*fileNode
	// lines says where the last record of a name and type stands.
	lines map[string]int
	// duplicates are the first maxDuplicates records that stand there twice.
	duplicates []duplicate
}

// duplicate is a record that stands in a file twice.
type duplicate struct {
	line       int
	owner, typ string
}

// maxDuplicates bounds how many duplicates are told.
const maxDuplicates = 10

// afterMark passes over the byte order mark that some editors begin a file with.
func afterMark(r *bufio.Reader) error {
	switch head, _ := r.Peek(3); { // what cannot be read is told by whoever reads on
	case bytes.HasPrefix(head, []byte("\xef\xbb\xbf")):
		_, err := r.Discard(3)
		return err
	case bytes.HasPrefix(head, []byte("\xff\xfe")), bytes.HasPrefix(head, []byte("\xfe\xff")):
		return errors.New("the file is in UTF-16: save it as UTF-8 or ASCII")
	}
	return nil
}

// parseZone reads a master file (RFC 1035 section 5, RFC 2308 section 4). An
// error names the file and the line.
func parseZone(r io.Reader, origin, file string) (*fileZone, error) {
	lines := &lineReader{r: bufio.NewReader(r)}
	if err := afterMark(lines.r); err != nil {
		return nil, fmt.Errorf("%s:1: %w", file, err)
	}
	p := dns.NewZoneParser(lines, origin+".", file)
	p.SetDefaultTTL(3600)
	b := &zoneBuilder{origin: origin, file: file, labels: dns.CountLabel(origin), nodes: map[string]*fileNode{},
		lines: map[string]int{}}
	for rr, ok := p.Next(); ok; rr, ok = p.Next() {
		if err := b.add(rr, lines.lines); err != nil {
			return nil, fmt.Errorf("%s:%d: %w", file, lines.lines, err)
		}
	}
	if err := p.Err(); err != nil {
		var at *dns.ParseError
		if errors.As(err, &at) {
			if strings.Contains(err.Error(), "$INCLUDE") {
				err = fmt.Errorf("%w (write the records of that file here in its place, or let `named-compilezone` make one file of them)", err)
			}
			return nil, err
		}
		return nil, fmt.Errorf("%s:%d: %w", file, lines.lines, err)
	}
	return b.finish()
}

func (b *zoneBuilder) add(rr dns.RR, line int) error {
	h := rr.Header()
	typ := dns.TypeToString[h.Rrtype]
	if h.Class != dns.ClassINET {
		return fmt.Errorf("class %s: want IN", dns.ClassToString[h.Class])
	}
	switch h.Rrtype {
	case dns.TypeDNAME:
		return errors.New("DNAME is not served: write a CNAME for each name")
	case dns.TypeRRSIG, dns.TypeNSEC, dns.TypeNSEC3, dns.TypeNSEC3PARAM, dns.TypeDNSKEY:
		return fmt.Errorf("%s: signed zones are not served: give the unsigned file", typ)
	}
	if h.Rrtype >= 128 && h.Rrtype < 256 || h.Rrtype == dns.TypeOPT || h.Rrtype == dns.TypeNone {
		return fmt.Errorf("type %d stands in no zone", h.Rrtype)
	}
	owner := strings.ToLower(h.Name)
	if !dns.IsSubDomain(b.origin+".", owner) {
		return fmt.Errorf("owner %s lies outside the zone %s", h.Name, b.origin)
	}
	wire, err := packName(owner)
	if err != nil {
		return err
	}
	data, err := packRR(rr)
	if err != nil {
		return err
	}
	n := b.nodes[string(wire)]
	if n == nil {
		n = &fileNode{}
		b.nodes[string(wire)] = n
	}
	set := n.set(h.Rrtype)
	if set.has(data) {
		b.dropped(h, line)
		set.ttl = min(set.ttl, h.Ttl)
		return nil
	}
	if err := n.allows(h.Rrtype, h.Name); err != nil {
		return err
	}
	b.lines[string(wire)+typ] = line
	if set == nil {
		set = &rrset{typ: h.Rrtype, ttl: h.Ttl}
		n.sets = append(n.sets, set)
	}
	set.rdata = append(set.rdata, data)
	// The records of one set share a TTL (RFC 2181 section 5.2).
	set.ttl = min(set.ttl, h.Ttl)
	return nil
}

// has reports whether a record is in the set, which may be nil. The case of ASCII
// letters in names makes no difference (RFC 4343).
func (s *rrset) has(data []byte) bool {
	return s != nil && slices.ContainsFunc(s.rdata, func(have []byte) bool {
		switch s.typ {
		case dns.TypeCNAME, dns.TypeNS, dns.TypePTR:
			return slices.EqualFunc(have, data, func(a, b byte) bool { return lower[a] == lower[b] })
		}
		return bytes.Equal(have, data)
	})
}

// dropped notes a duplicate. A second SOA is not noted: a zone transfer, such as the
// output of `dig AXFR`, begins and ends with the SOA (RFC 5936 section 2.2).
func (b *zoneBuilder) dropped(h *dns.RR_Header, line int) {
	if h.Rrtype != dns.TypeSOA && len(b.duplicates) < maxDuplicates {
		b.duplicates = append(b.duplicates, duplicate{line, h.Name, dns.TypeToString[h.Rrtype]})
	}
}

// allows reports why a record of that type cannot stand at the node.
func (n *fileNode) allows(typ uint16, owner string) error {
	for _, set := range n.sets {
		switch {
		case set.typ == dns.TypeCNAME && typ == dns.TypeCNAME:
			return fmt.Errorf("%s has a second CNAME: one name, one CNAME (RFC 2181 section 10.1)", owner)
		case set.typ == dns.TypeCNAME || typ == dns.TypeCNAME:
			return fmt.Errorf("%s has a CNAME and other records: a CNAME stands alone (RFC 1034 section 3.6.2)", owner)
		case set.typ == dns.TypeSOA && typ == dns.TypeSOA:
			return fmt.Errorf("%s has a second SOA, which differs from the first: keep the one that holds", owner)
		}
	}
	return nil
}

// finish checks the whole and makes it ready for queries.
func (b *zoneBuilder) finish() (*fileZone, error) {
	apex, err := packName(b.origin)
	if err != nil {
		return nil, err
	}
	top := b.nodes[string(apex)]
	if top == nil || top.set(dns.TypeSOA) == nil {
		return nil, fmt.Errorf("%s:1: zone %s has no SOA record", b.file, b.origin)
	}
	if top.set(dns.TypeNS) == nil {
		return nil, fmt.Errorf("%s:%d: zone %s has no NS record", b.file, b.lines[string(apex)+"SOA"], b.origin)
	}
	for name, n := range b.nodes {
		if name != string(apex) && n.set(dns.TypeSOA) != nil {
			return nil, fmt.Errorf("%s:%d: %s has a SOA but is not the zone %s", b.file, b.lines[name+"SOA"],
				presentation([]byte(name)), b.origin)
		}
	}
	soa := top.set(dns.TypeSOA)
	z := &fileZone{labels: b.labels, nodes: b.nodes, duplicates: b.duplicates}
	data := soa.rdata[0]
	minimum := uint32(data[len(data)-4])<<24 | uint32(data[len(data)-3])<<16 | uint32(data[len(data)-2])<<8 | uint32(data[len(data)-1])
	z.negative = &rrset{typ: dns.TypeSOA, ttl: min(soa.ttl, minimum), rdata: soa.rdata}
	b.emptyNonTerminals(apex)
	for name, n := range b.nodes {
		if ns := n.set(dns.TypeNS); ns != nil {
			n.glue = b.glue(ns)
			n.cut = name != string(apex)
		}
	}
	return z, nil
}

// emptyNonTerminals adds the names between the zone's and those with records.
func (b *zoneBuilder) emptyNonTerminals(apex []byte) {
	names := make([]string, 0, len(b.nodes))
	for name := range b.nodes {
		names = append(names, name)
	}
	for _, name := range names {
		for len(name) > len(apex) {
			name = name[1+int(name[0]):]
			if b.nodes[name] == nil {
				b.nodes[name] = &fileNode{}
			}
		}
	}
}

// glue collects the addresses that the file holds of a set's name servers.
func (b *zoneBuilder) glue(ns *rrset) []glue {
	var out []glue
	for _, data := range ns.rdata {
		name := strings.ToLower(string(data))
		if n := b.nodes[name]; n != nil {
			if addrs := sets(n.set(dns.TypeA), n.set(dns.TypeAAAA)); len(addrs) > 0 {
				out = append(out, glue{data, addrs})
			}
		}
	}
	return out
}
