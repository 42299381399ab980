package doctor

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"

	"github.com/miekg/dns"
)

// delegation is how the world finds the zone.
type delegation struct {
	// parent is the zone above, as the resolvers see it; empty: not found, and
	// told is what they said.
	parent string
	told   string
	// ns and ds are what each of the parent's servers says of the zone.
	ns, ds []reply
	// soa is what they say of the zone above itself.
	soa []reply
	// addresses are what the resolvers give for each configured name server.
	addresses map[string][]netip.Addr
}

func gatherDelegation(ctx context.Context, s Setup, rs []resolver, port uint16) delegation {
	d := delegation{addresses: map[string][]netip.Addr{}}
	for _, n := range s.Nameservers {
		d.addresses[n.Name] = resolveAddresses(ctx, rs, n.Name)
	}
	_, above, _ := strings.Cut(s.Zone, ".")
	r := resolve(ctx, rs, above, dns.TypeSOA)
	d.told = r.told()
	if r.err != nil {
		return d
	}
	for _, rr := range slices.Concat(r.msg.Answer, r.msg.Ns) {
		if owner := canonical(rr.Header().Name); rr.Header().Rrtype == dns.TypeSOA && under(s.Zone, owner) {
			d.parent = owner
		}
	}
	if d.parent == "" {
		return d
	}
	var servers []netip.Addr
	for _, name := range resolve(ctx, rs, d.parent, dns.TypeNS).values() {
		if servers = append(servers, resolveAddresses(ctx, rs, name)...); len(servers) >= mostAddresses {
			servers = servers[:mostAddresses]
			break
		}
	}
	d.ns, d.ds, d.soa = make([]reply, len(servers)), make([]reply, len(servers)), make([]reply, len(servers))
	var wg sync.WaitGroup
	for i, addr := range servers {
		at := netip.AddrPortFrom(addr, port)
		wg.Go(func() { d.ns[i] = ask(ctx, at, "udp", s.Zone, dns.TypeNS, false) })
		wg.Go(func() { d.soa[i] = ask(ctx, at, "udp", d.parent, dns.TypeSOA, false) })
		wg.Go(func() { d.ds[i] = ask(ctx, at, "udp", s.Zone, dns.TypeDS, false) })
	}
	wg.Wait()
	return d
}

// under reports whether a name lies properly below a zone; "" is the root.
func under(name, zone string) bool { return zone == "" || strings.HasSuffix(name, "."+zone) }

func judgeDelegation(s Setup, d delegation) []Finding {
	const check = "delegation"
	want := names(s)
	create := "in the zone " + d.parent + ", at whoever serves it, create " + nsLines(s)
	if d.parent == "" {
		return []Finding{finding(Wrong, check, s.Zone, "the resolvers find no zone above it: "+d.told,
			"a zone above that delegates to "+strings.Join(want, ", "), "register the domain, or correct `resolvers`")}
	}
	var out []Finding
	var heard []reply
	for _, r := range d.ns {
		if r.err != nil || r.msg.Rcode != dns.RcodeSuccess && r.msg.Rcode != dns.RcodeNameError {
			out = append(out, finding(Note, check, d.parent+" at "+r.at, r.told(), "what it says of "+s.Zone,
				"if no name server answers, port 53 is closed from here to the outside: open it, since customers' name servers are asked directly too"))
			continue
		}
		heard = append(heard, r)
	}
	for _, r := range heard {
		got := delegatedTo(r.msg, s.Zone)
		subject := s.Zone + " in " + d.parent + " at " + r.at
		extra := slices.DeleteFunc(slices.Clone(got), func(n string) bool { return slices.Contains(want, n) })
		missing := slices.DeleteFunc(slices.Clone(want), func(n string) bool { return slices.Contains(got, n) })
		expected := "NS " + strings.Join(want, ", ")
		switch {
		case len(got) == 0:
			out = append(out, finding(Wrong, check, subject, "it is not delegated", expected, create))
		case len(extra) > 0:
			out = append(out, finding(Wrong, check, subject, "NS "+strings.Join(got, ", "), expected,
				"remove "+strings.Join(extra, ", ")+" there, or give each a `nameserver` line here"))
		case len(missing) > 0:
			out = append(out, finding(Note, check, subject, "NS "+strings.Join(got, ", "), expected, create))
		default:
			out = append(out, ok(check, subject, "NS %s", strings.Join(got, ", ")))
		}
		if len(got) > 0 {
			out = append(out, judgeGlue(s, r, subject)...)
		}
	}
	for _, r := range d.ds {
		if ds := r.values(); len(ds) > 0 {
			out = append(out, finding(Wrong, "dnssec", s.Zone+" in "+d.parent+" at "+r.at, "DS "+strings.Join(ds, ", "), "no DS record: the zone is not signed",
				"remove the DS record; while it is there, validating resolvers and certificate authorities refuse the zone"))
		}
	}
	return append(out, judgeNames(s, d)...)
}

// judgeGlue looks at the addresses that stand beside the delegation for name
// servers inside the zone.
func judgeGlue(s Setup, r reply, subject string) []Finding {
	var out []Finding
	for _, n := range s.Nameservers {
		if !under(n.Name, s.Zone) || !slices.Contains(delegatedTo(r.msg, s.Zone), n.Name) {
			continue
		}
		var got []netip.Addr
		for _, rr := range r.msg.Extra {
			if canonical(rr.Header().Name) == n.Name {
				got = append(got, addressesOf([]dns.RR{rr})...)
			}
		}
		if same(got, n.Addresses) {
			out = append(out, ok("glue", n.Name, "%s", list(got)))
			continue
		}
		out = append(out, finding(Wrong, "glue", subject, n.Name+" has "+list(got), list(n.Addresses),
			"its name lies inside the zone, so the addresses must stand beside the NS record above (glue): create "+addressLines(n)))
	}
	return out
}

// judgeNames looks at the addresses of name servers outside the zone.
func judgeNames(s Setup, d delegation) []Finding {
	var out []Finding
	for _, n := range s.Nameservers {
		got := d.addresses[n.Name]
		switch {
		case under(n.Name, s.Zone):
		case len(got) == 0:
			out = append(out, finding(Wrong, "glue", n.Name, "the resolvers find no address", expectedAddresses(n), "create "+addressLines(n)))
		case len(n.Addresses) > 0 && !same(got, n.Addresses):
			out = append(out, finding(Wrong, "glue", n.Name, list(got), list(n.Addresses), "correct the A and AAAA records of "+n.Name+", or the `nameserver` line"))
		default:
			out = append(out, ok("glue", n.Name, "%s", list(got)))
		}
	}
	return out
}

// delegatedTo are the name servers in a referral, or in an answer of a server
// that serves both zones.
func delegatedTo(m *dns.Msg, zone string) []string {
	var out []string
	for _, rr := range slices.Concat(m.Answer, m.Ns) {
		if canonical(rr.Header().Name) == zone {
			out = append(out, valuesOf([]dns.RR{rr}, dns.TypeNS)...)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func names(s Setup) []string {
	var out []string
	for _, n := range s.Nameservers {
		out = append(out, n.Name)
	}
	slices.Sort(out)
	return out
}

func nsLines(s Setup) string {
	var lines []string
	for _, n := range s.Nameservers {
		lines = append(lines, fmt.Sprintf("`%s. NS %s.`", s.Zone, n.Name))
	}
	return strings.Join(lines, ", ")
}

func expectedAddresses(n Nameserver) string {
	if len(n.Addresses) == 0 {
		return "an address"
	}
	return list(n.Addresses)
}

func addressLines(n Nameserver) string {
	if len(n.Addresses) == 0 {
		return "an A record for " + n.Name
	}
	var lines []string
	for _, a := range n.Addresses {
		typ := "AAAA"
		if a.Unmap().Is4() {
			typ = "A"
		}
		lines = append(lines, fmt.Sprintf("`%s. %s %s`", n.Name, typ, a))
	}
	return strings.Join(lines, ", ")
}

func same(a, b []netip.Addr) bool {
	norm := func(in []netip.Addr) []netip.Addr {
		out := make([]netip.Addr, 0, len(in))
		for _, addr := range in {
			out = append(out, addr.Unmap())
		}
		slices.SortFunc(out, netip.Addr.Compare)
		return slices.Compact(out)
	}
	return slices.Equal(norm(a), norm(b))
}

func list(addrs []netip.Addr) string {
	if len(addrs) == 0 {
		return "no address"
	}
	var out []string
	for _, a := range addrs {
		out = append(out, a.String())
	}
	return strings.Join(out, ", ")
}
