package resolver

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/apoxy-dev/caddy-apoxy/ownership"
)

// agree makes one answer of what each server of a zone said. A CNAME is believed
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
		a.servers = append(a.servers, s.from.observed())
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
	if first.view() == nothing && len(answered)*2 < asked {
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

type sharedView struct {
	view view
	by   []string
}

func grouped(said []saying) []sharedView {
	var views []sharedView
	for _, s := range said {
		v := s.view()
		i := slices.IndexFunc(views, func(g sharedView) bool { return g.view == v })
		if i < 0 {
			i = len(views)
			views = append(views, sharedView{view: v})
		}
		views[i].by = append(views[i].by, s.from.String())
	}
	return views
}
