package edge

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	acmez "github.com/mholt/acmez/v3/acme"

	"github.com/apoxy-dev/caddy-apoxy/internal/words"
)

// Endpoint is the edge: where customers' hostnames lead to.
type Endpoint struct {
	// Name identifies the edge. What was learnt of one does not count for another.
	Name string
	// Addresses are those to ask, in most cases those that hostnames lead to. Empty:
	// the edge is not checked.
	Addresses []netip.Addr
	// HTTPPort and HTTPSPort are asked where ports 80 and 443 do not answer: the
	// operator says that those are mapped to them. 0: no other port.
	HTTPPort, HTTPSPort int
}

// encounter is the answer of one address of the edge to a challenge of our own. The
// greater it is, the surer it is that a CA would meet the same.
type encounter uint8

const (
	unseen    encounter = iota // this machine has no route to it
	closed                     // the connection was closed without an answer
	silent                     // there was no answer in time
	refused                    // the connection was refused
	another                    // another server answered
	ourselves                  // the right answer came
)

// sighting is what was seen of one address for one challenge type.
type sighting struct {
	addr   netip.Addr
	met    encounter
	detail string // in words, for the message
}

// sight is the result of all sightings for one challenge type.
type sight struct {
	// why says what was seen at the addresses; empty: a CA would reach us.
	why string
	// met is the best that was met in place of us. Where no server answered, it may be
	// that only this machine gets no answer: behind NAT without hairpin, or because it
	// does not speak the PROXY protocol that a listener expects.
	met encounter
}

// judge decides whether a CA that asks at these addresses would reach us, and if not
// says why. CAs ask IPv6 first and turn to IPv4 only where no connection comes about in
// time (https://letsencrypt.org/docs/ipv6-support/), so an IPv6 address that refuses
// the connection, or is another server's, cannot be made good by IPv4. Within a family
// one address that answers is enough: a CA picks any of them, and if it picked a dead
// one the order is tried again later.
func judge(all []sighting) sight {
	var v6, v4 []sighting
	for _, s := range all {
		if s.addr.Unmap().Is4() {
			v4 = append(v4, s)
		} else {
			v6 = append(v6, s)
		}
	}
	best := func(f []sighting) encounter {
		var b encounter
		for _, s := range f {
			b = max(b, s.met)
		}
		return b
	}
	switch {
	case best(v6) == ourselves:
		return sight{}
	case best(v6) > silent:
		return sight{why: described(v6) + "; certificate authorities ask IPv6 first", met: best(v6)}
	case best(v4) == ourselves, best(v6) == unseen && best(v4) == unseen:
		return sight{} // without a route nothing can be told
	}
	return sight{described(append(v6, v4...)), max(best(v6), best(v4))}
}

// described says what was seen at the addresses that did not answer rightly.
func described(f []sighting) string {
	var out []string
	for _, s := range f {
		if s.met != ourselves {
			out = append(out, s.addr.String()+" "+s.detail)
		}
	}
	return strings.Join(out, ", ")
}

const (
	// A survey counts for all hostnames: for goodHolds if the edge answered by any
	// challenge type, for badHolds if by none.
	goodHolds = time.Minute
	badHolds  = 10 * time.Second
	// The edge may be reachable for everyone but this machine. So, once it has been
	// unreachable for doubtAfter, one order is let through as a trial, and then one in
	// each trialPause. If the CA validates it, the edge counts as reachable for Holds,
	// over restarts too. If no other server answered at the addresses, the first trial
	// is made after unsureAfter already; and if no connection was even refused, the
	// pauses between trials begin with unsureAfter and double up to trialPause.
	doubtAfter  = 10 * time.Minute
	trialPause  = time.Hour
	Holds       = 24 * time.Hour
	unsureAfter = 20 * time.Second
	// surveyTimeout is the time for one survey, mostAddresses how many addresses it asks.
	surveyTimeout = 5 * time.Second
	mostAddresses = 8
)

// Checker finds out whether CAs can reach our own edge, as far as this machine can tell.
// There is one for all hostnames, because all lead to the same edge.
type Checker struct {
	// Dial connects to the edge. Default: as net.Dialer does.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)

	now    func() time.Time
	belief Belief
	turn   chan struct{} // holds a token during a survey: there is one at a time

	mu      sync.Mutex
	edge    Endpoint         // of the last survey
	at      time.Time        // when that was
	seen    map[string]sight // its result by challenge type
	since   time.Time        // when the edge stopped answering by any type; zero: it answers
	trial   time.Time        // when the last trial was let through
	trials  int              // how many were
	waiting map[string]bool  // hostnames that were refused for the edge
}

// maxWaiting is how many hostnames are tried at once when the edge turns out to be
// reachable. Others are tried when their pause is over.
const maxWaiting = 1024

// Belief remembers, over restarts, that CAs reach an edge which this machine does not
// reach.
type Belief interface {
	// Met reports whether a CA has reached the edge of this name lately.
	Met(edge string, now time.Time) bool
	// Meet notes that one has; Met says so until a time.
	Meet(ctx context.Context, edge string, until, now time.Time) error
}

// Challenges puts challenges where our servers look for those that they answer.
type Challenges interface {
	// Put makes our servers answer a challenge for a hostname, in place of any other.
	Put(ctx context.Context, hostname string, chal acmez.Challenge) error
	// Remove ends that.
	Remove(ctx context.Context, hostname string) error
}

// Unreachable is the error of an edge that no CA would reach.
type Unreachable struct {
	// Seen says what was seen at its addresses, by challenge type.
	Seen string
}

func (u *Unreachable) Error() string {
	return words.Cut("no certificate authority would reach this server at the addresses of `edge`, so none was asked. Seen from here, "+u.Seen, 700)
}

// New returns a Checker. now tells the time.
func New(now func() time.Time, b Belief) *Checker {
	return &Checker{now: now, belief: b, waiting: map[string]bool{}, Dial: (&net.Dialer{}).DialContext, turn: make(chan struct{}, 1)}
}

// Possible returns those of methods by which a CA can reach the edge; all of them if the
// first is DNS-01. The error is an *Unreachable if there is none; any other error means
// that the edge could not be asked. Asking puts a challenge of our own in place for the
// hostname, so the hostname must be locked in storage and have no order under way.
func (r *Checker) Possible(ctx context.Context, at Challenges, hostname string, edge Endpoint, methods []string) ([]string, error) {
	if len(edge.Addresses) == 0 || len(methods) == 0 || methods[0] == acmez.ChallengeTypeDNS01 {
		return methods, nil
	}
	seen, err := r.current(ctx, at, hostname, edge)
	if err != nil {
		return nil, err
	}
	left := slices.DeleteFunc(slices.Clone(methods), func(m string) bool { return seen[m].why != "" })
	if len(left) > 0 {
		return left, nil
	}
	least := another
	for _, m := range methods {
		least = min(least, seen[m].met)
	}
	if r.trusts(hostname, least) {
		return slices.DeleteFunc(slices.Clone(methods), func(m string) bool { return seen[m].met > least }), nil
	}
	var said []string
	for _, m := range methods {
		said = append(said, m+": "+seen[m].why)
	}
	return nil, &Unreachable{strings.Join(said, "; ")}
}

// current returns the result of the last survey, by challenge type, or of a new one if
// that is too old or was of another edge.
func (r *Checker) current(ctx context.Context, at Challenges, hostname string, edge Endpoint) (map[string]sight, error) {
	select {
	case r.turn <- struct{}{}:
		defer func() { <-r.turn }()
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	r.mu.Lock()
	now, good := r.now(), r.since.IsZero()
	same := edge.Name == r.edge.Name && slices.Equal(edge.Addresses, r.edge.Addresses) && edge.HTTPPort == r.edge.HTTPPort && edge.HTTPSPort == r.edge.HTTPSPort
	if age := now.Sub(r.at); same && r.seen != nil && (age < badHolds || good && age < goodHolds) {
		defer r.mu.Unlock()
		return r.seen, nil
	}
	r.mu.Unlock()

	survey, err := r.survey(ctx, at, hostname, edge)
	if err != nil {
		return nil, err
	}
	seen, possible := map[string]sight{}, false
	for method, all := range survey {
		seen[method] = judge(all)
		possible = possible || seen[method].why == ""
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case possible:
		r.since, r.trial, r.trials = time.Time{}, time.Time{}, 0
		clear(r.waiting)
	case r.since.IsZero() || edge.Name != r.edge.Name:
		r.since, r.trial, r.trials = now, time.Time{}, 0
	}
	r.edge, r.at, r.seen = edge, r.now(), seen
	return seen, nil
}
