package doctor

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"

	"github.com/miekg/dns"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
)

// nobody is a name below the zone that no record has: no hostname has an
// underscore.
const nobody = "_doctor-nobody"

// probe is one question to a server of the zone or to a resolver, and what is
// expected.
type probe struct {
	// server is who is asked: a name server's name, or "resolver".
	server string
	kind   probeKind
	reply  reply
}

type probeKind int

const (
	// probeSOA: the zone's SOA.
	probeSOA probeKind = iota
	// probeVerify: the name that ownership challenges point at.
	probeVerify
	// probeNobody: a name that must not exist.
	probeNobody
	// probeRecord: the name of a record.
	probeRecord
	// probeChallenge: a challenge's name, which a node without its lease withholds.
	probeChallenge
)

// question is what a probe asks for.
func (k probeKind) question(s Setup, hostname string) (string, uint16) {
	switch k {
	case probeVerify:
		return v1alpha3.VerifyName(s.Zone), dns.TypeTXT
	case probeNobody:
		return nobody + "." + s.Zone, dns.TypeA
	case probeChallenge:
		return v1alpha3.ChallengeName(nobody, s.Zone), dns.TypeTXT
	case probeRecord:
		typ := dns.TypeA
		if len(s.EdgeAddresses) > 0 && !slices.ContainsFunc(s.EdgeAddresses, func(a netip.Addr) bool { return a.Unmap().Is4() }) {
			typ = dns.TypeAAAA
		}
		return v1alpha3.TrafficName(hostname, s.Zone), typ
	}
	return s.Zone, dns.TypeSOA
}

// gatherServers asks every name server of the zone directly, at the configured
// addresses and at those that the world has for it.
func gatherServers(ctx context.Context, s Setup, d delegation, port uint16) []probe {
	var out []probe
	for _, n := range s.Nameservers {
		addrs := slices.Concat(n.Addresses, d.addresses[n.Name])
		slices.SortFunc(addrs, netip.Addr.Compare)
		for _, addr := range slices.Compact(addrs) {
			at := netip.AddrPortFrom(addr, port).String()
			for _, proto := range []string{"udp", "tcp"} {
				out = append(out, probe{n.Name, probeSOA, reply{at: at, proto: proto}})
			}
			for _, kind := range []probeKind{probeVerify, probeNobody, probeChallenge} {
				out = append(out, probe{n.Name, kind, reply{at: at, proto: "udp"}})
			}
			for _, host := range s.Hostnames {
				out = append(out, probe{n.Name, probeRecord, reply{at: at, proto: "udp", question: dns.Question{Name: host}}})
			}
		}
	}
	return putAll(ctx, s, out, false)
}

// gatherResolvers asks the resolvers, which find the servers as the world does.
func gatherResolvers(ctx context.Context, s Setup, rs []resolver) []probe {
	var out []probe
	for _, r := range rs {
		for _, proto := range []string{"udp", "tcp"} {
			out = append(out, probe{"resolver", probeSOA, reply{at: r.at.String(), proto: proto}})
		}
		out = append(out, probe{"resolver", probeVerify, reply{at: r.at.String(), proto: "udp"}})
	}
	return putAll(ctx, s, out, true)
}

func putAll(ctx context.Context, s Setup, probes []probe, recurse bool) []probe {
	var wg sync.WaitGroup
	for i := range probes {
		p := &probes[i]
		wg.Go(func() {
			name, typ := p.kind.question(s, p.reply.question.Name)
			p.reply = ask(ctx, netip.MustParseAddrPort(p.reply.at), p.reply.proto, name, typ, recurse)
		})
	}
	wg.Wait()
	return probes
}

func judgeServers(s Setup, probes []probe) []Finding {
	var out []Finding
	for _, p := range probes {
		out = append(out, p.judgeServer(s))
	}
	for _, listen := range s.DNS {
		if !strings.HasSuffix(listen, ":53") {
			out = append(out, finding(Note, "dns", "dns "+listen, "DNS is answered on another port than 53", ":53",
				"the world asks port 53 alone: have it forwarded, or name :53 in `dns`"))
		}
	}
	return out
}

func (p probe) judgeServer(s Setup) Finding {
	r := p.reply
	check, subject := "dns-"+r.proto, fmt.Sprintf("%s (%s) %s", p.server, r.at, canonical(r.question.Name))
	switch {
	case r.err != nil:
		return finding(Wrong, check, subject, r.told(), "an answer over "+strings.ToUpper(r.proto),
			"open port 53 for "+strings.ToUpper(r.proto)+" in the firewall, and see that Caddy listens there (`dns`, beside it systemd-resolved or another name server)")
	case r.msg.Rcode == dns.RcodeRefused:
		return finding(Wrong, check, subject, "REFUSED", "an answer for "+s.Zone,
			"what answers there does not serve the zone: compare `zone` and the addresses of `nameserver` with what runs there")
	case p.kind == probeChallenge && r.msg.Rcode == dns.RcodeServerFailure:
		return finding(Wrong, check, subject, "SERVFAIL", "NXDOMAIN or NOERROR",
			"the node does not hold its lease in the store, and withholds challenges until it does: see `caddy apoxy cluster status`, its log, and its way to the store")
	case !r.msg.Authoritative:
		return finding(Wrong, check, subject, r.told()+", without authority", "an authoritative answer",
			"a resolver or forwarder answers there: give port 53 of the address to Caddy. Where `interception` is wrong (above), mend that first")
	}
	return p.judgeAnswer(s, check, subject, "the name server runs another configuration or an old one: look at what runs there")
}

// judgeAnswer compares an answer with what this configuration gives.
func (p probe) judgeAnswer(s Setup, check, subject, mend string) Finding {
	r := p.reply
	expected, right := "", false
	switch p.kind {
	case probeSOA:
		expected = "the SOA of " + s.Zone
		right = r.msg.Rcode == dns.RcodeSuccess && len(r.values()) == 1 && canonical(r.msg.Answer[0].Header().Name) == s.Zone
	case probeVerify:
		expected, right = "a TXT record", r.msg.Rcode == dns.RcodeSuccess && len(r.values()) > 0
	case probeNobody, probeChallenge:
		expected, right = "NXDOMAIN", r.msg.Rcode == dns.RcodeNameError
	case probeRecord:
		if s.EdgeHost != "" {
			expected = "CNAME " + s.EdgeHost
			right = slices.Contains(valuesOf(r.msg.Answer, dns.TypeCNAME), s.EdgeHost)
			break
		}
		var want []netip.Addr
		for _, a := range s.EdgeAddresses {
			if a.Unmap().Is4() == (r.question.Qtype == dns.TypeA) {
				want = append(want, a)
			}
		}
		expected, right = list(want), same(addressesOf(r.msg.Answer), want)
	}
	if !right {
		return finding(Wrong, check, subject, r.told(), expected, mend)
	}
	return ok(check, subject, "%s", r.told())
}

func judgeResolvers(s Setup, probes []probe) []Finding {
	var out []Finding
	for _, p := range probes {
		r := p.reply
		check, subject := "resolver", fmt.Sprintf("%s over %s %s", r.at, strings.ToUpper(r.proto), canonical(r.question.Name))
		switch {
		case r.err != nil && r.proto == "tcp":
			out = append(out, finding(Note, check, subject, r.told(), "an answer over TCP", "answers too long for UDP are lost: take a resolver that answers over TCP"))
		case r.err != nil:
			out = append(out, finding(Wrong, check, subject, r.told(), "an answer", "correct `resolvers`, or let this machine reach it on UDP port 53"))
		case r.msg.Rcode == dns.RcodeServerFailure:
			out = append(out, finding(Wrong, check, subject, "SERVFAIL", "the SOA of "+s.Zone,
				"the resolver reaches none of the zone's name servers, or refuses what they say: mend delegation, glue, DS record and firewall (above)"))
		default:
			out = append(out, p.judgeAnswer(s, check, subject,
				"the resolver is led elsewhere than here: mend the delegation; if it was mended just now, the resolver still holds the old answer"))
		}
	}
	return out
}
