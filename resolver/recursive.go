package resolver

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"

	"github.com/apoxy-dev/caddy-apoxy/ownership"
)

// parseResolvers reads recursive resolvers, as host or host:port with the host an
// IP address; without any those of /etc/resolv.conf. Errors: one that is no
// address, or a file that cannot be read or names none.
func parseResolvers(configured []string) ([]netip.AddrPort, error) {
	if len(configured) == 0 {
		const path = "/etc/resolv.conf"
		conf, err := dns.ClientConfigFromFile(path)
		if err != nil {
			return nil, fmt.Errorf("reading %s: %w; name resolvers in the configuration instead", path, err)
		}
		configured = conf.Servers
		if len(configured) == 0 {
			return nil, fmt.Errorf("%s names no resolver: name one in the configuration", path)
		}
	}
	var out []netip.AddrPort
	for _, s := range configured {
		if a, err := netip.ParseAddr(strings.Trim(s, "[]")); err == nil {
			out = append(out, netip.AddrPortFrom(a, 53))
			continue
		}
		ap, err := netip.ParseAddrPort(s)
		if err != nil || ap.Port() == 0 {
			return nil, fmt.Errorf("resolver %q: want an IP address, or an IP address and a port such as 192.0.2.1:53", s)
		}
		out = append(out, ap)
	}
	return out, nil
}

// hedgeAfter is how long one resolver is waited for before the next is asked too.
const hedgeAfter = 400 * time.Millisecond

// recurse asks the recursive resolvers, each when those before it fail or are
// slow. It returns the first useful answer and who gave it, else the last
// failure. The name's domain pays with a place in its gate.
func (r *Resolver) recurse(ctx context.Context, gate, name string, qtype uint16) (*dns.Msg, netip.AddrPort, error) {
	return r.recurseWith(ctx, gate, name, qtype, queryFlags{recursion: true})
}

// recurseUnchecked asks with DNSSEC validation disabled (RFC 4035 section 4.9.2).
func (r *Resolver) recurseUnchecked(ctx context.Context, gate, name string, qtype uint16) (*dns.Msg, netip.AddrPort, error) {
	return r.recurseWith(ctx, gate, name, qtype, queryFlags{recursion: true, checkingDisabled: true})
}

type recursed struct {
	in   *dns.Msg
	from netip.AddrPort
	err  error
}

func (r *Resolver) recurseWith(ctx context.Context, gate, name string, qtype uint16, flags queryFlags) (*dns.Msg, netip.AddrPort, error) {
	ctx, cancel := context.WithTimeout(ctx, r.cfg.QueryTimeout*3/2)
	defer cancel()
	recursors := r.recursors
	results := make(chan recursed, len(recursors))
	next, flying := 0, 0
	start := func() {
		if next == len(recursors) {
			return
		}
		to := recursors[next]
		next++
		flying++
		go func() {
			in, err := r.askRecursor(ctx, gate, to, name, qtype, flags)
			results <- recursed{in, to, err}
		}()
	}
	start()
	hedge := time.NewTicker(hedgeAfter)
	defer hedge.Stop()
	last := recursed{err: errors.New("no recursive resolver answers")}
	for flying > 0 {
		select {
		case res := <-results:
			flying--
			if res.err == nil && decided(res.in) {
				return res.in, res.from, nil
			}
			if res.err != nil {
				res.err = fmt.Errorf("asking resolver %s: %w", res.from.Addr(), res.err)
			}
			if last.in == nil {
				last = res
			}
			start()
		case <-hedge.C:
			start()
		}
	}
	return last.in, last.from, last.err
}

func (r *Resolver) askRecursor(ctx context.Context, gate string, to netip.AddrPort, name string, qtype uint16, flags queryFlags) (*dns.Msg, error) {
	leave, err := r.gates.enter(ctx, gate)
	if err != nil {
		return nil, errTimeout
	}
	defer leave()
	return r.exchange(ctx, to, dns.Question{Name: name, Qtype: qtype, Qclass: dns.ClassINET}, flags, false)
}

// maxResolvers bounds how many recursive resolvers are compared.
const maxResolvers = 4

func (r *Resolver) compared() []netip.AddrPort {
	return r.recursors[:min(len(r.recursors), maxResolvers)]
}

// viaResolvers asks the recursive resolvers about a name, all that there are:
// one alone is not believed when it says that there is nothing and another does
// not say so too.
func (r *Resolver) viaResolvers(ctx context.Context, name string, types ...uint16) answer {
	if types[0] != dns.TypeCNAME {
		// The CNAME first: asking for addresses would make a resolver follow it
		// into the operator's own zone.
		types = append([]uint16{dns.TypeCNAME}, types...)
	}
	recursors := r.compared()
	said := make([]saying, len(recursors))
	bogus := make([]bool, len(recursors))
	var wg sync.WaitGroup
	for i, to := range recursors {
		wg.Go(func() { said[i], bogus[i] = r.hearRecursor(ctx, to, name, types) })
	}
	wg.Wait()
	a := agree(name, partyRecursors, said)
	a.viaResolvers, a.zone, a.servers = true, "", nil
	var who []string
	direct := true
	for i, s := range said {
		if s.err == nil {
			who = append(who, s.from.addr.String())
			a.servers = append(a.servers, ownership.NameServer{Addr: s.from.addr})
			direct = direct && s.direct
		}
		if bogus[i] {
			a.problem = ownership.ZoneBogus
		}
	}
	switch {
	case a.affirmed && direct:
		// What is configured as a resolver serves the zone itself.
		a.viaResolvers, a.err = false, ""
	case a.affirmed:
		a.err = fmt.Sprintf("what resolver %s says is used instead", strings.Join(who, ", "))
	case a.problem == ownership.ZoneBogus:
		a.err = fmt.Sprintf("DNSSEC validation of %s fails", strings.TrimSuffix(name, "."))
	case a.unheard:
		a.problem = ""
		a.err = "no recursive resolver answers"
	case a.problem == ownership.ZoneDisagrees:
		a.problem = "" // caches of different ages, not the zone's servers
	}
	return a
}

func (r *Resolver) hearRecursor(ctx context.Context, to netip.AddrPort, name string, types []uint16) (out saying, bogus bool) {
	out.from = server{name: "resolver.", addr: to.Addr()}
	gate := RegisteredDomain(name)
	for _, t := range types {
		in, err := r.askRecursor(ctx, gate, to, name, t, queryFlags{recursion: true})
		if err != nil {
			out.err = err
			return out, false
		}
		if in.Rcode == dns.RcodeServerFailure {
			unchecked, err := r.askRecursor(ctx, gate, to, name, t, queryFlags{recursion: true, checkingDisabled: true})
			out.err = errServFail
			return out, err == nil && decided(unchecked)
		}
		if err := refusal(in.Rcode); err != nil {
			out.err = err
			return out, false
		}
		collect(&out, name, in)
		out.direct = in.Authoritative
		if out.alias != "" || out.nx && !slices.Contains(types, dns.TypeCAA) { // a CA asks for CAA alone, which may fail alone
			break
		}
	}
	return out, false
}
