package dnsprovider

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/miekg/dns"
)

// packName gives the wire form of a name in presentation form, case kept.
func packName(name string) ([]byte, error) {
	buf := make([]byte, maxNameOctets+1)
	n, err := dns.PackDomainName(dns.Fqdn(name), buf, 0, nil, false)
	if err != nil {
		return nil, fmt.Errorf("reading domain name %q: %w", name, err)
	}
	return buf[:n:n], nil
}

// packLower is packName of the lower-cased name.
func packLower(name string) ([]byte, error) { return packName(strings.ToLower(name)) }

// presentation gives a wire name without its final dot; the root is ".".
func presentation(wire []byte) string {
	name, _, err := dns.UnpackDomainName(wire, 0)
	if err != nil {
		return "?"
	}
	if name == "." {
		return name
	}
	return strings.TrimSuffix(name, ".")
}

// packRR gives the data of a record in wire form, names uncompressed.
func packRR(rr dns.RR) ([]byte, error) {
	buf := make([]byte, dns.Len(rr)+1)
	n, err := dns.PackRR(rr, buf, 0, nil, false)
	if err != nil {
		return nil, fmt.Errorf("packing %s record: %w", dns.TypeToString[rr.Header().Rrtype], err)
	}
	start, ok := skipName(buf[:n], 0)
	if !ok || start+10 > n {
		return nil, fmt.Errorf("packing %s record: no owner name", dns.TypeToString[rr.Header().Rrtype])
	}
	return buf[start+10 : n : n], nil
}

// newSet packs records of one type into an RRset.
func newSet(ttl uint32, rrs ...dns.RR) (*rrset, error) {
	if len(rrs) == 0 {
		return nil, nil
	}
	s := &rrset{typ: rrs[0].Header().Rrtype, ttl: ttl}
	for _, rr := range rrs {
		data, err := packRR(rr)
		if err != nil {
			return nil, err
		}
		s.rdata = append(s.rdata, data)
	}
	return s, nil
}

// addressSets packs addresses into an A and an AAAA set, nil where there are none.
func addressSets(addrs []netip.Addr, ttl uint32) (a, aaaa *rrset) {
	for _, addr := range addrs {
		addr = addr.Unmap()
		set, typ := &aaaa, dns.TypeAAAA
		if addr.Is4() {
			set, typ = &a, dns.TypeA
		}
		if *set == nil {
			*set = &rrset{typ: typ, ttl: ttl}
		}
		(*set).rdata = append((*set).rdata, addr.AsSlice())
	}
	return a, aaaa
}

// sets drops the nil ones.
func sets(s ...*rrset) []*rrset {
	out := s[:0]
	for _, set := range s {
		if set != nil {
			out = append(out, set)
		}
	}
	return out
}

// textSet packs one TXT record of one character string, at most 255 octets.
func textSet(text string, ttl uint32) *rrset {
	return &rrset{typ: dns.TypeTXT, ttl: ttl, rdata: [][]byte{append([]byte{byte(len(text))}, text...)}}
}
