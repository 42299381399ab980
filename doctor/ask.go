package doctor

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"
)

const (
	askTimeout = 2 * time.Second
	// askTries is how often a question over UDP is put before it counts as
	// unanswered: one lost packet is no finding.
	askTries = 3
	// mostAddresses is how many addresses of one name are asked, and how many servers
	// of one zone: what stands there is another's to say.
	mostAddresses = 32
	// systemResolvers is where the system names its resolvers; see resolv.conf(5).
	systemResolvers = "/etc/resolv.conf"
)

// reply is what became of one question.
type reply struct {
	question dns.Question
	// at is who was asked, proto how: udp or tcp.
	at    string
	proto string
	msg   *dns.Msg
	err   error
}

// ask puts one question to one server. Recursion is desired of resolvers only.
func ask(ctx context.Context, at netip.AddrPort, proto, name string, qtype uint16, recurse bool) reply {
	m := new(dns.Msg).SetQuestion(dns.Fqdn(name), qtype)
	m.RecursionDesired = recurse
	m.SetEdns0(1232, false)
	r := reply{question: m.Question[0], at: at.String(), proto: proto}
	client := dns.Client{Net: proto, Timeout: askTimeout, UDPSize: 1232}
	for try := range askTries {
		r.msg, _, r.err = client.ExchangeContext(ctx, m, at.String())
		if r.err == nil || proto == "tcp" || ctx.Err() != nil || !timedOut(r.err) || try == askTries-1 {
			break
		}
	}
	if r.err == nil && r.msg.Truncated && proto == "udp" {
		full := ask(ctx, at, "tcp", name, qtype, recurse)
		if full.err == nil {
			r.msg = full.msg
		}
	}
	return r
}

func timedOut(err error) bool {
	var n net.Error
	return errors.As(err, &n) && n.Timeout()
}

// values are the data of the answers of the type that was asked for, sorted.
func (r reply) values() []string {
	if r.err != nil {
		return nil
	}
	return valuesOf(r.msg.Answer, r.question.Qtype)
}

func valuesOf(rrs []dns.RR, typ uint16) []string {
	var out []string
	for _, rr := range rrs {
		if rr.Header().Rrtype != typ {
			continue
		}
		switch rr := rr.(type) {
		case *dns.TXT:
			out = append(out, strings.Join(rr.Txt, ""))
		case *dns.NS:
			out = append(out, canonical(rr.Ns))
		case *dns.CNAME:
			out = append(out, canonical(rr.Target))
		default:
			out = append(out, strings.TrimPrefix(rr.String(), rr.Header().String()))
		}
	}
	slices.Sort(out)
	return out
}

// addressesOf returns the addresses among records.
func addressesOf(rrs []dns.RR) []netip.Addr {
	var out []netip.Addr
	for _, rr := range rrs {
		var ip net.IP
		switch rr := rr.(type) {
		case *dns.A:
			ip = rr.A
		case *dns.AAAA:
			ip = rr.AAAA
		}
		if addr, ok := netip.AddrFromSlice(ip); ok {
			out = append(out, addr.Unmap())
		}
	}
	slices.SortFunc(out, netip.Addr.Compare)
	return slices.Compact(out)
}

// told puts a reply into a few words.
func (r reply) told() string {
	switch {
	case r.err != nil && timedOut(r.err):
		return "no answer"
	case r.err != nil:
		return r.err.Error()
	case r.msg.Rcode != dns.RcodeSuccess:
		if name, ok := dns.RcodeToString[r.msg.Rcode]; ok {
			return name
		}
		return fmt.Sprintf("response code %d", r.msg.Rcode) // one without a name
	}
	if v := r.values(); len(v) > 0 {
		return strings.Join(v, ", ")
	}
	if v := valuesOf(r.msg.Answer, dns.TypeCNAME); len(v) > 0 {
		return "CNAME " + strings.Join(v, ", ")
	}
	return "no " + dns.TypeToString[r.question.Qtype] + " record"
}

// resolver is one recursive resolver.
type resolver struct{ at netip.AddrPort }

// resolversOf turns configured resolvers, or where there are none those of the
// system's file, into addresses.
func resolversOf(configured []string, file string, port uint16) ([]resolver, error) {
	if len(configured) == 0 {
		system, err := dns.ClientConfigFromFile(file)
		if err != nil {
			return nil, fmt.Errorf("reading the system's resolvers: %w; name some in `resolvers`", err)
		}
		configured = system.Servers
	}
	var out []resolver
	for _, text := range configured {
		at, err := netip.ParseAddrPort(text)
		if err != nil {
			addr, err := netip.ParseAddr(text)
			if err != nil {
				return nil, fmt.Errorf("the resolver is configured as %.200q: write its address out, such as 1.1.1.1 or 127.0.0.1:53", text)
			}
			at = netip.AddrPortFrom(addr, port)
		}
		out = append(out, resolver{at})
	}
	return out, nil
}

// resolve asks the resolvers one after the other until one answers at all.
func resolve(ctx context.Context, rs []resolver, name string, qtype uint16) reply {
	r := reply{question: dns.Question{Name: dns.Fqdn(name), Qtype: qtype, Qclass: dns.ClassINET}, err: errors.New("there is no resolver")}
	for _, to := range rs {
		r = ask(ctx, to.at, "udp", name, qtype, true)
		if r.err == nil && (r.msg.Rcode == dns.RcodeSuccess || r.msg.Rcode == dns.RcodeNameError) {
			break
		}
	}
	return r
}

// resolveAddresses finds the IPv4 and IPv6 addresses of a name, at most mostAddresses
// of each.
func resolveAddresses(ctx context.Context, rs []resolver, name string) []netip.Addr {
	var out []netip.Addr
	for _, typ := range []uint16{dns.TypeA, dns.TypeAAAA} {
		if r := resolve(ctx, rs, name, typ); r.err == nil {
			addrs := addressesOf(r.msg.Answer)
			out = append(out, addrs[:min(len(addrs), mostAddresses)]...)
		}
	}
	return out
}
