package issuance

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

// Edge is what a CA meets when it follows a customer's hostname to us.
type Edge struct {
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
	// A good sight of the edge is believed for reachGood, a bad one for
	// reachBad, by every hostname.
	reachGood = time.Minute
	reachBad  = 10 * time.Second
	// The edge may be reachable from everywhere but from itself. An order is let
	// through in spite of what is seen once that has lasted for reachDoubt, and
	// then every reachTrial; if the CA is satisfied it is believed, for reachBelief
	// and over restarts. Where nobody else was met, the first goes out after
	// reachUnsure already; where nothing was met at all, and not even a refusal, the
	// next ones do after pauses that double from there.
	reachDoubt  = 10 * time.Minute
	reachTrial  = time.Hour
	reachBelief = 24 * time.Hour
	reachUnsure = 20 * time.Second
	// reachTimeout bounds one look at all addresses, reachMost their number.
	reachTimeout = 5 * time.Second
	reachMost    = 8
)

// reach knows whether CAs can get at our own edge, as far as that can be seen
// from here. It is one for all hostnames, because all lead to the same edge.
type reach struct {
	now    func() time.Time
	ledger *ledger
	dial   func(ctx context.Context, network, address string) (net.Conn, error)

	looking chan struct{} // one look at a time

	mu      sync.Mutex
	edge    Edge
	at      time.Time        // of the last look
	seen    map[string]sight // by challenge type
	since   time.Time        // no type has been possible since; zero: one is
	trial   time.Time        // the last order that was let through in spite
	trials  int              // how many were
	waiting map[string]bool  // hostnames that wait for the edge
}

// reachWaiting bounds the hostnames that are tried at once when the edge turns out
// to be reachable; others follow in their time.
const reachWaiting = 1024

func newReach(now func() time.Time, l *ledger) *reach {
	return &reach{now: now, ledger: l, waiting: map[string]bool{}, dial: (&net.Dialer{}).DialContext, looking: make(chan struct{}, 1)}
}

// possible leaves of the challenge types those with which a CA can meet us. A
// failure: none. The look stores a challenge of our own for the hostname at the
// CA's place in storage, so its lock must be held and no order be under way.
func (r *reach) possible(ctx context.Context, c *ca, hostname string, edge Edge, methods []string) ([]string, *failure) {
	if len(edge.Addresses) == 0 || len(methods) == 0 || methods[0] == acmez.ChallengeTypeDNS01 {
		return methods, nil
	}
	seen, err := r.look(ctx, c, hostname, edge)
	if err != nil {
		return nil, classify(err, hostname)
	}
	left := slices.DeleteFunc(slices.Clone(methods), func(m string) bool { return seen[m].why != "" })
	if len(left) > 0 {
		return left, nil
	}
	least := another
	for _, m := range methods {
		least = min(least, seen[m].met)
	}
	if r.trusting(hostname, least) {
		return slices.DeleteFunc(slices.Clone(methods), func(m string) bool { return seen[m].met > least }), nil
	}
	var said []string
	for _, m := range methods {
		said = append(said, m+": "+seen[m].why)
	}
	return nil, &failure{class: ClassEdge, message: words.Cut("no certificate authority would reach this server at the addresses of `edge`, so none was asked. Seen from here, "+
		strings.Join(said, "; "), 700), mend: mendEdge}
}

// look returns, by challenge type, whether a CA would meet us, from memory where
// that is fresh.
func (r *reach) look(ctx context.Context, c *ca, hostname string, edge Edge) (map[string]sight, error) {
	select {
	case r.looking <- struct{}{}:
		defer func() { <-r.looking }()
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	r.mu.Lock()
	now, good := r.now(), r.since.IsZero()
	same := edge.Name == r.edge.Name && slices.Equal(edge.Addresses, r.edge.Addresses) && edge.HTTPPort == r.edge.HTTPPort && edge.HTTPSPort == r.edge.HTTPSPort
	if age := now.Sub(r.at); same && r.seen != nil && (age < reachBad || good && age < reachGood) {
		defer r.mu.Unlock()
		return r.seen, nil
	}
	r.mu.Unlock()

	survey, err := r.survey(ctx, c, hostname, edge)
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
		return silent, fmt.Sprintf("does not answer within %s", reachTimeout)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return closed, "closes the connection without an answer, as where the PROXY protocol is expected"
	}
	return another, "answers with an error: " + words.Cut(err.Error(), 100)
}
