package resolver

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"

	"github.com/apoxy-dev/caddy-apoxy/ownership"
)

// understand adds what a message of an authoritative server says about name.
// Only records of the name itself are believed.
func understand(out *saying, apex, name string, in *dns.Msg) error {
	if err := refusal(in.Rcode); err != nil {
		if errors.Is(err, errRefused) && byResolver(in) {
			return errResolver // one that gives strangers' questions no answer
		}
		return err
	}
	if !in.Authoritative {
		if len(in.Answer) == 0 && in.Rcode == dns.RcodeSuccess {
			if out.referral = referralIn(in, apex, name); out.referral != nil {
				return nil
			}
		}
		if byResolver(in) {
			return errResolver
		}
		return errNotAuthoritative
	}
	collect(out, name, in)
	return nil
}

// refusal is what a response code says that comes with no answer (RFC 1035 section
// 4.1.1, RFC 2136 section 2.2); nil for the two that do.
func refusal(rcode int) error {
	switch rcode {
	case dns.RcodeSuccess, dns.RcodeNameError:
		return nil
	case dns.RcodeRefused, dns.RcodeNotAuth:
		return errRefused
	case dns.RcodeServerFailure:
		return errServFail
	case dns.RcodeNotImplemented:
		return errNotImplemented
	case dns.RcodeFormatError:
		return errFormErr
	}
	if name, ok := dns.RcodeToString[rcode]; ok {
		return fmt.Errorf("answers %s", name)
	}
	return fmt.Errorf("answers with the response code %d", rcode)
}

// maxCAA bounds the CAA records of one name; their values are bounded by the message.
const maxCAA = 1000

func collect(out *saying, name string, in *dns.Msg) {
	ttl := time.Duration(-1)
	note := func(rr dns.RR) {
		if t := time.Duration(rr.Header().Ttl) * time.Second; ttl < 0 || t < ttl {
			ttl = t
		}
	}
	for _, rr := range in.Answer {
		if !strings.EqualFold(rr.Header().Name, name) {
			continue
		}
		switch rr := rr.(type) {
		case *dns.CNAME:
			if out.alias == "" {
				out.alias = strings.ToLower(rr.Target)
				note(rr)
			}
		case *dns.A, *dns.AAAA:
			if len(out.addrs) < maxAddresses {
				out.addrs = append(out.addrs, addressesIn([]dns.RR{rr})...)
				note(rr)
			}
		case *dns.TXT:
			if len(out.texts) < 8 {
				out.texts = append(out.texts, "TXT "+cut(strings.TrimPrefix(rr.String(), rr.Hdr.String())))
				note(rr)
			}
		case *dns.CAA:
			// Whole: it is judged, and what is told of it is cut by who tells it.
			if len(out.caa) < maxCAA {
				out.caa = append(out.caa, ownership.CAARecord{Flag: rr.Flag, Tag: strings.ToLower(rr.Tag), Value: rr.Value})
				note(rr)
			}
		}
	}
	slices.SortFunc(out.caa, ownership.CAARecord.Compare) // servers rotate the records of a set
	if owner := soaOwner(append(slices.Clip(in.Answer), in.Ns...)); owner != "" && out.alias == "" && dns.IsSubDomain(owner, name) {
		out.soa = owner
	}
	out.nx = out.nx || (in.Rcode == dns.RcodeNameError && out.alias == "")
	switch {
	case ttl >= 0 && (!out.found || ttl < out.ttl):
		out.ttl, out.found = ttl, true
	case !out.found:
		out.ttl = negativeTTL(in)
	}
}

func negativeTTL(in *dns.Msg) time.Duration {
	for _, rr := range in.Ns {
		if soa, ok := rr.(*dns.SOA); ok {
			return time.Duration(min(soa.Hdr.Ttl, soa.Minttl)) * time.Second
		}
	}
	return 0
}

// referralIn returns the referral in a message, if it leads down from apex
// towards name; nil for one that leads up, aside or in a circle.
func referralIn(in *dns.Msg, apex, name string) *referral {
	ref := &referral{glue: make(map[string][]netip.Addr)}
	for _, rr := range in.Ns {
		ns, ok := rr.(*dns.NS)
		if !ok || len(ref.names) >= 16 {
			continue
		}
		owner := strings.ToLower(ns.Hdr.Name)
		if owner == apex || !dns.IsSubDomain(apex, owner) || !dns.IsSubDomain(owner, name) || (ref.apex != "" && ref.apex != owner) {
			continue
		}
		ref.apex = owner
		ref.names = append(ref.names, strings.ToLower(ns.Ns))
	}
	if ref.apex == "" {
		return nil
	}
	for i, rr := range in.Extra {
		if i >= 64 {
			break
		}
		owner := strings.ToLower(rr.Header().Name)
		ref.glue[owner] = append(ref.glue[owner], addressesIn([]dns.RR{rr})...)
	}
	return ref
}

func decided(in *dns.Msg) bool {
	return in.Rcode == dns.RcodeSuccess || in.Rcode == dns.RcodeNameError
}

func nameServers(rrs []dns.RR, owner string) []string {
	var names []string
	for _, rr := range rrs {
		if ns, ok := rr.(*dns.NS); ok && strings.EqualFold(ns.Hdr.Name, owner) && ns.Ns != "." {
			names = append(names, strings.ToLower(ns.Ns))
		}
	}
	return names
}

func soaOwner(rrs []dns.RR) string {
	for _, rr := range rrs {
		if soa, ok := rr.(*dns.SOA); ok {
			return strings.ToLower(soa.Hdr.Name)
		}
	}
	return ""
}

// maxAddresses bounds how many addresses of one answer are looked at.
const maxAddresses = 32

func addressesIn(rrs []dns.RR) []netip.Addr {
	var addrs []netip.Addr
	for _, rr := range rrs {
		if len(addrs) == maxAddresses {
			break
		}
		switch rr := rr.(type) {
		case *dns.A:
			if a, ok := netip.AddrFromSlice(rr.A.To4()); ok {
				addrs = append(addrs, a)
			}
		case *dns.AAAA:
			if a, ok := netip.AddrFromSlice(rr.AAAA.To16()); ok {
				addrs = append(addrs, a)
			}
		}
	}
	return addrs
}
