package issuance

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/mholt/acmez/v3/acme"
)

// Edge is what a CA meets when it follows a customer's hostname to us.
type Edge struct {
	// Addresses are those that hostnames lead to. Empty: not known, and then
	// nothing is said about reachability.
	Addresses []netip.Addr
	// HTTPPort and HTTPSPort are this process's own, asked beside 80 and 443:
	// whatever stands before it may map them. 0: the same as outside.
	HTTPPort, HTTPSPort int
}

// encounter is what one address of the edge gave to a challenge of our own.
type encounter uint8

const (
	unseen    encounter = iota // no way there from here
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

// answers decides whether a CA that asks these addresses meets us; if not it
// says why. CAs ask IPv6 first and turn to IPv4 only where no connection comes
// about in time (https://letsencrypt.org/docs/ipv6-support/), so an IPv6 address
// that refuses or that is somebody else's spoils the best IPv4. One address that
// answers is enough within a family: which is asked is chance, and a CA that met
// a dead one is asked again later.
func answers(all []sighting) (ok bool, why string) {
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
		return true, ""
	case best(v6) > silent:
		return false, described(v6) + "; certificate authorities ask IPv6 first"
	case best(v4) == ourselves, best(v6) == unseen && best(v4) == unseen:
		return true, "" // with no way there from here nothing can be told
	}
	return false, described(append(v6, v4...))
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
	// then every reachTrial; if the CA is satisfied it is believed, for
	// reachBelief.
	reachDoubt  = 10 * time.Minute
	reachTrial  = time.Hour
	reachBelief = 24 * time.Hour
	// reachTimeout bounds one look at all addresses, reachMost their number.
	reachTimeout = 5 * time.Second
	reachMost    = 8
)

// reach knows whether CAs can get at our own edge, as far as that can be seen
// from here. It is one for all hostnames, because all lead to the same edge.
type reach struct {
	now  func() time.Time
	dial func(ctx context.Context, network, address string) (net.Conn, error)

	looking chan struct{} // one look at a time

	mu      sync.Mutex
	edge    Edge
	at      time.Time         // of the last look
	why     map[string]string // by challenge type: why a CA would not meet us; "": it would
	since   time.Time         // no type has been possible since; zero: one is
	trial   time.Time         // the last order that was let through in spite
	believe time.Time         // until when a CA's success counts for more
}

func newReach(now func() time.Time) *reach {
	return &reach{now: now, dial: (&net.Dialer{}).DialContext, looking: make(chan struct{}, 1)}
}

// possible leaves of the challenge types those with which a CA can meet us. A
// failure: none. The look stores a challenge of our own for the hostname at the
// CA's place in storage, so its lock must be held and no order be under way.
func (r *reach) possible(ctx context.Context, c *ca, hostname string, edge Edge, methods []string) ([]string, *failure) {
	if len(edge.Addresses) == 0 || len(methods) == 0 || methods[0] == acme.ChallengeTypeDNS01 {
		return methods, nil
	}
	why, err := r.look(ctx, c, hostname, edge)
	if err != nil {
		return nil, classify(err, hostname)
	}
	left := slices.DeleteFunc(slices.Clone(methods), func(m string) bool { return why[m] != "" })
	if len(left) > 0 || r.trusting() {
		if len(left) == 0 {
			left = methods
		}
		return left, nil
	}
	var said []string
	for _, m := range methods {
		said = append(said, m+": "+why[m])
	}
	return nil, &failure{class: ClassEdge, message: cut("no certificate authority would reach this server at the addresses of `edge`, so none was asked. Seen from here, "+
		strings.Join(said, "; "), 700), mend: "The operator opens ports 80 and 443 there, or mends `edge`"}
}

// trusting reports whether an order may go out although nothing is reachable
// from here.
func (r *reach) trusting() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.now()
	if now.Before(r.believe) {
		return true
	}
	if r.since.IsZero() || now.Sub(r.since) < reachDoubt || now.Sub(r.trial) < reachTrial {
		return false
	}
	r.trial = now
	return true
}

// succeeded notes that a CA met us.
func (r *reach) succeeded(method string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.why[method] != "" {
		r.believe = r.now().Add(reachBelief)
	}
}

// look returns, by challenge type, why a CA would not meet us, from memory where
// that is fresh.
func (r *reach) look(ctx context.Context, c *ca, hostname string, edge Edge) (map[string]string, error) {
	select {
	case r.looking <- struct{}{}:
		defer func() { <-r.looking }()
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	r.mu.Lock()
	now, good := r.now(), r.since.IsZero()
	same := slices.Equal(edge.Addresses, r.edge.Addresses) && edge.HTTPPort == r.edge.HTTPPort && edge.HTTPSPort == r.edge.HTTPSPort
	if age := now.Sub(r.at); same && r.why != nil && (age < reachBad || good && age < reachGood) {
		defer r.mu.Unlock()
		return r.why, nil
	}
	r.mu.Unlock()

	seen, err := r.survey(ctx, c, hostname, edge)
	if err != nil {
		return nil, err
	}
	why, possible := map[string]string{}, false
	for method, all := range seen {
		ok, reason := answers(all)
		possible = possible || ok
		why[method] = reason
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case possible:
		r.since, r.trial, r.believe = time.Time{}, time.Time{}, time.Time{}
	case r.since.IsZero() || !same:
		r.since, r.believe = now, time.Time{}
	}
	r.edge, r.at, r.why = edge, r.now(), why
	return why, nil
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
	}
	return another, "answers with an error: " + cut(err.Error(), 100)
}
