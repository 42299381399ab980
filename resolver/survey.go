package resolver

import (
	"context"
	"errors"
	"fmt"
	"net/netip"

	"github.com/miekg/dns"
)

// ServerAnswer is what one name server answers about a name.
type ServerAnswer struct {
	// Name and Addr are the server's.
	Name string
	Addr netip.Addr
	// Answers are the records at the name in presentation form ("CNAME x.", "A
	// 192.0.2.1"); none without Err: there is nothing.
	Answers []string
	// Err is why it told nothing.
	Err string
}

// surveyed are the types that are asked for, the CNAME with the first of them.
var surveyed = []uint16{dns.TypeA, dns.TypeAAAA, dns.TypeTXT}

// Survey asks every name server of the zone that an absolute name lies in what it has
// there, for a person who looks; nothing is decided by it. It takes as long as the
// configured Timeout at most. An error: the servers could not be found.
func (r *Resolver) Survey(ctx context.Context, name string) ([]ServerAnswer, error) {
	ctx, cancel := context.WithTimeout(ctx, r.cfg.Timeout)
	defer cancel()
	if r.mute.now() {
		return nil, errors.New("authoritative name servers are out of reach from here")
	}
	name = absolute(name)
	z, err := r.locate(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("finding the name servers of %s: %w", RegisteredDomain(name), err)
	}
	var said []saying
	for range maxReferrals {
		said = r.askAll(ctx, z, name, surveyed)
		ref := pointed(said)
		if ref == nil {
			break
		}
		z = r.descend(ctx, z, ref)
	}
	var all []ServerAnswer
	for i := range said {
		all = append(all, said[i].told())
	}
	for _, b := range z.barred {
		all = append(all, ServerAnswer{Name: b.name, Addr: b.addr, Err: "is not asked: " + b.block.String() + ", is not in `private_networks`"})
	}
	if len(all) == 0 {
		return nil, errNoServers
	}
	return all, nil
}

// told is a saying as a person reads it.
func (s *saying) told() ServerAnswer {
	t := ServerAnswer{Name: s.from.name, Addr: s.from.addr}
	switch {
	case s.err != nil:
		t.Err = s.err.Error()
	case s.referral != nil:
		t.Err = "points to other servers"
	case s.alias != "":
		t.Answers = []string{"CNAME " + s.alias}
	default:
		t.Answers = answer{addrs: s.addrs, texts: s.texts}.presentation()
	}
	return t
}
