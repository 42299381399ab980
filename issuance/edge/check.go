package edge

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	acmez "github.com/mholt/acmez/v3/acme"

	"github.com/apoxy-dev/caddy-apoxy/internal/words"
)

// Endpoint is what a CA meets when it follows a customer's hostname to us.
type Endpoint struct {
	// Name tells it from others: what CAs taught of another says nothing of it.
	Name string
	// Addresses are those to ask, in most cases those that hostnames lead to. Empty:
	// none, and then nothing is said about reachability.
	Addresses []netip.Addr
	// HTTPPort and HTTPSPort are asked where 80 and 443 do not answer: the operator
	// vouches that they are mapped to these. 0: no other ports.
	HTTPPort, HTTPSPort int
}

// encounter is what one address of the edge gave to a challenge of our own.
type encounter uint8

const (
	unseen    encounter = iota // no way there from here
	closed                     // connected, and closed without a word
	silent                     // no answer in time
	refused                    // the connection was refused
	another                    // somebody else answered
	ourselves                  // the right answer
)

// sighting is one look at one address for one type of challenge.
type sighting struct {
	addr   netip.Addr
	met    encounter
	detail string // what was met, for the message
}

// sight is what the sightings for one type of challenge come to.
type sight struct {
	// why a CA would not meet us; "": it would.
	why string
	// met is what was met in its place. Where that is nobody it may be this machine
	// alone that is not answered: behind NAT without hairpin, or because it does not
	// speak the PROXY protocol that a listener expects.
	met encounter
}

// answers decides whether a CA that asks these addresses meets us; if not it
// says why. CAs ask IPv6 first and turn to IPv4 only where no connection comes
// about in time (https://letsencrypt.org/docs/ipv6-support/), so an IPv6 address
// that refuses or that is somebody else's spoils the best IPv4. One address that
// answers is enough within a family: which is asked is chance, and a CA that met
// a dead one is asked again later.
func answers(all []sighting) sight {
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
		return sight{} // with no way there from here nothing can be told
	}
	return sight{described(append(v6, v4...)), max(best(v6), best(v4))}
}

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
	// A good sight of the edge is believed for goodHolds, a bad one for
	// badHolds, by every hostname.
	goodHolds = time.Minute
	badHolds  = 10 * time.Second
	// The edge may be reachable from everywhere but from itself. An order is let
	// through in spite of what is seen once that has lasted for doubtAfter, and
	// then every trialPause; if the CA is satisfied it is believed, for Holds
	// and over restarts. Where nobody else was met, the first goes out after
	// unsureAfter already; where nothing was met at all, and not even a refusal, the
	// next ones do after pauses that double from there.
	doubtAfter  = 10 * time.Minute
	trialPause  = time.Hour
	Holds       = 24 * time.Hour
	unsureAfter = 20 * time.Second
	// surveyTimeout bounds one survey of all addresses, mostAddresses their number.
	surveyTimeout = 5 * time.Second
	mostAddresses = 8
)

// Checker knows whether CAs can get at our own edge, as far as that can be seen
// from here. It is one for all hostnames, because all lead to the same edge.
type Checker struct {
	// Dial connects to the edge. Default: as net.Dialer does.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)

	now    func() time.Time
	belief Belief
	turn   chan struct{} // held by who asks the edge: one does for all

	mu      sync.Mutex
	edge    Endpoint
	at      time.Time        // of the last survey
	seen    map[string]sight // by challenge type
	since   time.Time        // no type has been possible since; zero: one is
	trial   time.Time        // the last order that was let through in spite
	trials  int              // how many were
	waiting map[string]bool  // hostnames that wait for the edge
}

// maxWaiting bounds the hostnames that are tried at once when the edge turns out
// to be reachable; others follow in their time.
const maxWaiting = 1024

// Belief is that a CA has reached an edge, although this machine does not.
type Belief interface {
	// Met reports whether a CA has reached the edge of a name lately.
	Met(edge string, now time.Time) bool
	// Meet notes that one has, to be believed until a time.
	Meet(ctx context.Context, edge string, until, now time.Time) error
}

// Challenges are where a CA's challenges are put so that our servers answer them.
type Challenges interface {
	// Put has a challenge for a hostname answered, in place of any other.
	Put(ctx context.Context, hostname string, chal acmez.Challenge) error
	// Remove ends that.
	Remove(ctx context.Context, hostname string) error
}

// Unreachable is the error of an edge that no CA would reach.
type Unreachable struct {
	// Seen is what was met at its addresses, by challenge type.
	Seen string
}

func (u *Unreachable) Error() string {
	return words.Cut("no certificate authority would reach this server at the addresses of `edge`, so none was asked. Seen from here, "+u.Seen, 700)
}

// New returns a Checker that has asked nobody yet.
func New(now func() time.Time, b Belief) *Checker {
	return &Checker{now: now, belief: b, waiting: map[string]bool{}, Dial: (&net.Dialer{}).DialContext, turn: make(chan struct{}, 1)}
}

// Possible leaves of the challenge types those with which a CA can meet us. The error
// is an *Unreachable if there is none; any other one: the edge could not be asked. To
// ask it takes a challenge of our own for the hostname, so its lock must be held and
// no order be under way.
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

// current returns, by challenge type, whether a CA would meet us, from memory where
// that is fresh.
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
		seen[method] = answers(all)
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

// met puts an error of a connection into words.
func met(err error) (encounter, string) {
	var ne net.Error
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return refused, "refuses the connection"
	case errors.Is(err, syscall.ENETUNREACH), errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.EADDRNOTAVAIL):
		return unseen, "cannot be reached from here"
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &ne) && ne.Timeout():
		return silent, fmt.Sprintf("does not answer within %s", surveyTimeout)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return closed, "closes the connection without an answer, as where the PROXY protocol is expected"
	}
	return another, "answers with an error: " + words.Cut(err.Error(), 100)
}
