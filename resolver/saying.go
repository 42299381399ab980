package resolver

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"

	"github.com/apoxy-dev/caddy-apoxy/ownership"
)

// saying is what one server said about a name.
type saying struct {
	from server
	// Err: it said nothing useful, and how.
	err error
	// Referral: it pointed on, to a zone below.
	referral *referral
	// Alias is the target of the name's CNAME.
	alias string
	// Addrs, texts and others are the records asked for at the name itself:
	// addresses, TXT in presentation form, CAA.
	addrs []netip.Addr
	texts []string
	caa   []ownership.CAARecord
	// Nx: the name does not exist.
	nx bool
	// Ttl is the least of what was found, or that of nothing.
	ttl   time.Duration
	found bool
	// soa is the owner of the SOA record beside an answer that there is nothing, or
	// in one: the top of the zone that the name is in.
	soa string
	// Direct: a recursive resolver said it out of a zone of its own.
	direct bool
}

type referral struct {
	apex  string
	names []string
	glue  map[string][]netip.Addr
}

// answer is what all servers together said about a name.
type answer struct {
	// Affirmed: the rest can be believed.
	affirmed bool
	alias    string
	addrs    []netip.Addr
	texts    []string
	caa      []ownership.CAARecord
	nx       bool
	ttl      time.Duration
	// Err says why nothing could be told, or a caveat; see DNSObservation.Err.
	err     string
	problem ownership.ZoneProblem
	servers []ownership.NameServer
	// Unheard: no server said anything at all.
	unheard bool
	// Barred: none of the servers may be contacted, as barredSentence says.
	barred bool
	// Spent: a server was not asked, because it or the look has had its share.
	spent bool
	// ViaResolvers: recursive resolvers said it.
	viaResolvers bool
	// Zone is the zone that was asked, absolute.
	zone string
	// In is the zone that the name was found to be in, whoever answered; nil if none was.
	in *zone
	// soa is the zone that the name is in, as far as its servers told; see saying.
	soa string
}

// empty reports whether there is none of the records asked for.
func (a answer) empty() bool {
	return a.alias == "" && len(a.addrs) == 0 && len(a.texts) == 0 && len(a.caa) == 0
}

// presentation lists what stands at the name.
func (a answer) presentation() []string {
	out := slices.Clone(a.texts)
	for _, addr := range a.addrs {
		t := "A "
		if addr.Is6() {
			t = "AAAA "
		}
		out = append(out, t+addr.String())
	}
	return out
}

// view is what a server's saying is compared by.
type view struct {
	// rtype is the type of the records that are there, 0 if there are none. Servers
	// may differ in their addresses and texts.
	rtype uint16
	// value is the target of a CNAME, or a whole CAA record set.
	value string
}

// nothing is the view of who said that there is nothing.
var nothing view

func (s *saying) view() view {
	switch {
	case s.alias != "":
		return view{dns.TypeCNAME, s.alias}
	case len(s.addrs) > 0:
		return view{rtype: dns.TypeA}
	case len(s.texts) > 0:
		return view{rtype: dns.TypeTXT}
	case len(s.caa) > 0:
		var b strings.Builder
		for _, p := range s.caa {
			fmt.Fprintf(&b, " %d %s %q", p.Flag, p.Tag, p.Value)
		}
		return view{dns.TypeCAA, b.String()[1:]}
	}
	return nothing
}

// String is the view in words.
func (v view) String() string {
	switch v.rtype {
	case dns.TypeCNAME:
		return "CNAME " + v.value
	case dns.TypeA:
		return "addresses"
	case dns.TypeTXT:
		return "TXT records"
	case dns.TypeCAA:
		return "CAA " + v.value
	}
	return "nothing"
}
