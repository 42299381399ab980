package resolver

import (
	"errors"
	"fmt"
	"strings"

	"github.com/apoxy-dev/caddy-apoxy/ownership"
)

// Ways in which a server can fail to say anything about its zone.
var (
	errRefused          = errors.New("refuses to answer for the zone")
	errServFail         = errors.New("fails (SERVFAIL)")
	errNotAuthoritative = errors.New("does not know the zone")
	errResolver         = errors.New("answers as a resolver does, not as a name server of the zone")
	errNotImplemented   = errors.New("answers NOTIMP: not that type")
	errFormErr          = errors.New("answers FORMERR")
)

// party is who was asked, as a dissent calls them.
type party string

const (
	partyServers   party = "name servers of"
	partyRecursors party = "resolvers asked for"
)

// dissent names who says what.
func dissent(who party, zone string, views []sharedView, asked int) string {
	parts := make([]string, len(views))
	for i, v := range views {
		parts[i] = fmt.Sprintf("%d of %d answer %s (%s)", len(v.by), asked, cut(v.view.String()), strings.Join(v.by, ", "))
	}
	return fmt.Sprintf("the %s %s do not agree: %s", who, zone, strings.Join(parts, "; "))
}

// blame says why no server of a zone answered.
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

// caveat names the servers that will not answer for the zone although others do.
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

// cut shortens what a stranger's server said.
func cut(s string) string {
	const most = 200
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}
