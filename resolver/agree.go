package resolver

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/apoxy-dev/caddy-apoxy/ownership"
)

// Saying is what one server said about a name.
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

// Ways in which a server can fail to say anything about its zone.
var (
	errRefused          = errors.New("refuses to answer for the zone")
	errServFail         = errors.New("fails (SERVFAIL)")
	errNotAuthoritative = errors.New("does not know the zone")
	errResolver         = errors.New("answers as a resolver does, not as a name server of the zone")
	errNotImplemented   = errors.New("answers NOTIMP: not that type")
	errFormErr          = errors.New("answers FORMERR")
)

// Answer is what all servers together said about a name.
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
	servers []string
	// Unheard: no server said anything at all.
	unheard bool
	// Barred says that none of the servers may be contacted; see barredSentence.
	barred string
	// Spent: a server was not asked, because it or the look has had its share.
	spent bool
	// ViaResolvers: recursive resolvers said it.
	viaResolvers bool
	// Zone is the zone that was asked, absolute.
	zone string
	// soa is the zone that the name is in, as far as its servers told; see saying.
	soa string
}

// Empty reports whether there is none of the records asked for.
func (a answer) empty() bool {
	return a.alias == "" && len(a.addrs) == 0 && len(a.texts) == 0 && len(a.caa) == 0
}

// Presentation lists what stands at the name.
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

// Agree makes one answer of what each server of a zone said. A CNAME is believed
// only if every server that answers has it; that there is nothing, only if all
// that answer say so and they are at least half of those asked. Addresses may
// differ from server to server and are joined.
func agree(zone string, who party, said []saying) answer {
	a := answer{zone: zone}
	var failed, answered []saying
	asked := 0
	for _, s := range said {
		if errors.Is(s.err, errNoRoute) {
			continue
		}
		if errors.Is(s.err, errSpent) {
			return answer{zone: zone, spent: true, err: fmt.Sprintf("%s %v", s.from, errSpent)}
		}
		asked++
		a.servers = append(a.servers, s.from.String())
		if s.err != nil || s.referral != nil {
			failed = append(failed, s)
		} else {
			answered = append(answered, s)
		}
	}
	label := strings.TrimSuffix(zone, ".")
	if len(answered) == 0 {
		a.problem, a.err = blame(label, failed)
		a.unheard = true
		return a
	}
	first := answered[0]
	views := grouped(answered)
	if len(views) > 1 {
		a.problem, a.err = ownership.ZoneDisagrees, dissent(who, label, views, asked)
		return a
	}
	if view(first) == nothing && len(answered)*2 < asked {
		a.problem, a.err = blame(label, failed)
		a.err = fmt.Sprintf("only %d of %d name servers answered: %s", len(answered), asked, a.err)
		return a
	}
	a.affirmed = true
	a.alias, a.ttl, a.nx, a.soa = first.alias, first.ttl, true, first.soa
	for _, s := range answered {
		if s.soa != a.soa {
			a.soa = ""
		}
		a.nx = a.nx && s.nx
		a.ttl = min(a.ttl, s.ttl)
		a.addrs = union(a.addrs, s.addrs)
		a.texts = union(a.texts, s.texts)
		a.caa = union(a.caa, s.caa)
	}
	slices.SortFunc(a.addrs, netip.Addr.Compare)
	slices.Sort(a.texts)
	a.err = caveat(label, failed, asked)
	return a
}

func union[T comparable](a, b []T) []T {
	for _, v := range b {
		if !slices.Contains(a, v) {
			a = append(a, v)
		}
	}
	return a
}

// View is what a server's saying is compared by.
const nothing = "nothing"

func view(s saying) string {
	switch {
	case s.alias != "":
		return "CNAME " + s.alias
	case len(s.addrs) > 0:
		return "addresses"
	case len(s.texts) > 0:
		return "TXT records"
	case len(s.caa) > 0:
		var b strings.Builder
		b.WriteString("CAA")
		for _, p := range s.caa {
			fmt.Fprintf(&b, " %d %s %q", p.Flag, p.Tag, p.Value)
		}
		return b.String()
	}
	return nothing
}

type sharedView struct {
	view string
	by   []string
}

func grouped(said []saying) []sharedView {
	var views []sharedView
	for _, s := range said {
		v := view(s)
		i := slices.IndexFunc(views, func(g sharedView) bool { return g.view == v })
		if i < 0 {
			i = len(views)
			views = append(views, sharedView{view: v})
		}
		views[i].by = append(views[i].by, s.from.String())
	}
	return views
}

// party is who was asked, as a dissent calls them.
type party string

const (
	partyServers   party = "name servers of"
	partyRecursors party = "resolvers asked for"
)

// Dissent names who says what.
func dissent(who party, zone string, views []sharedView, asked int) string {
	parts := make([]string, len(views))
	for i, v := range views {
		parts[i] = fmt.Sprintf("%d of %d answer %s (%s)", len(v.by), asked, cut(v.view), strings.Join(v.by, ", "))
	}
	return fmt.Sprintf("the %s %s do not agree: %s", who, zone, strings.Join(parts, "; "))
}

// Blame says why no server of a zone answered.
func blame(zone string, failed []saying) (ownership.ZoneProblem, string) {
	problem := ownership.ZoneUnreachable
	var parts []string
	var mute int // that said nothing at all
	for _, s := range failed {
		err := s.err
		if s.referral != nil {
			err = errNotAuthoritative
		}
		switch {
		case unheard(err):
			mute++
		case errors.Is(err, errServFail):
			problem = ownership.ZoneServFail
		case errors.Is(err, errResolver) && problem != ownership.ZoneServFail:
			problem = ownership.ZoneResolver
		case (errors.Is(err, errRefused) || errors.Is(err, errNotAuthoritative)) && problem == ownership.ZoneUnreachable:
			problem = ownership.ZoneLame
		}
		parts = append(parts, fmt.Sprintf("%s: %v", s.from, err))
	}
	if len(parts) == 0 {
		return problem, fmt.Sprintf("no name server of %s could be asked", zone)
	}
	if problem == ownership.ZoneUnreachable && mute < len(parts) {
		problem = "" // one that is reached and says something else is not out of reach
	}
	return problem, fmt.Sprintf("no name server of %s answers (%s)", zone, strings.Join(parts, "; "))
}

// unheard reports whether a failure is that no answer came that could be read.
func unheard(err error) bool {
	return errors.Is(err, errTimeout) || errors.Is(err, errClosed) || errors.Is(err, errNoRoute) || errors.Is(err, errMalformed)
}

// Caveat names the servers that will not answer for the zone although others do.
// Those that were merely silent are left out: a lost packet is no finding.
func caveat(zone string, failed []saying, asked int) string {
	var parts []string
	for _, s := range failed {
		err := s.err
		if s.referral != nil {
			err = errNotAuthoritative
		}
		if errors.Is(err, errServFail) || errors.Is(err, errRefused) || errors.Is(err, errNotAuthoritative) || errors.Is(err, errResolver) {
			parts = append(parts, fmt.Sprintf("%s %v", s.from, err))
		}
	}
	if len(parts) == 0 {
		return ""
	}
	return fmt.Sprintf("%d of %d name servers of %s do not serve it: %s", len(parts), asked, zone, strings.Join(parts, "; "))
}

// Cut shortens what a stranger's server said.
func cut(s string) string {
	const most = 200
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}
