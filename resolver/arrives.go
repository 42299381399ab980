package resolver

import (
	"context"
	"fmt"
	"net/netip"
	"strings"

	"github.com/miekg/dns"

	"github.com/apoxy-dev/caddy-apoxy/ownership"
)

// Delegated reports whether _acme-challenge of hostname is a CNAME, direct or
// through others, to exactly the name in the operator's zone that belongs to
// hostname. ownership.ErrBogus: it is, but DNSSEC validation fails; another error:
// could not tell.
func (r *Resolver) Delegated(ctx context.Context, hostname string) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, r.cfg.Timeout)
	defer cancel()
	of := subject{strings.ToLower(hostname), KindACMEChallenge, KindACMEChallenge.name(hostname)}
	obs := r.follow(ctx, of)
	switch {
	case obs.Outcome == ownership.CouldNotTell:
		return false, fmt.Errorf("looking for the delegation of %s: %s", hostname, obs.Err)
	case obs.Outcome == ownership.Absent || len(obs.Chain) == 0:
		return false, nil
	}
	if !r.expected(of, obs.Chain[len(obs.Chain)-1]) {
		return false, nil
	}
	if obs.Problem == ownership.ZoneBogus {
		return false, fmt.Errorf("looking for the delegation of %s: %w", hostname, ownership.ErrBogus)
	}
	if said, ok := r.probe(ctx, of.name, dns.TypeTXT); ok && len(said.texts) > 0 {
		return false, nil // CAs would see these in its place
	}
	return true, nil
}

// Arrives reports whether hostname leads to the edge of the operator's zone and
// nowhere else, as ownership.Arrives means it. ownership.ErrBogus: DNSSEC
// validation fails; another error: could not tell.
func (r *Resolver) Arrives(ctx context.Context, hostname string, zone ownership.Zone) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, r.cfg.Timeout)
	defer cancel()
	hostname = strings.ToLower(hostname)
	obs := r.follow(ctx, subject{hostname, KindTraffic, KindTraffic.name(hostname)})
	switch {
	case obs.Outcome == ownership.CouldNotTell:
		return false, fmt.Errorf("looking where %s leads: %s", hostname, obs.Err)
	case obs.Problem == ownership.ZoneBogus:
		return false, fmt.Errorf("looking where %s leads: %w", hostname, ownership.ErrBogus)
	}
	r.lookBeside(ctx, subject{hostname, KindTraffic, KindTraffic.name(hostname)}, &obs, zone.EdgeAddresses)
	return ownership.Arrives(hostname, obs, zone), nil
}

// Addresses returns the A and AAAA records of host, CNAMEs followed. An error:
// could not tell, or there are none.
func (r *Resolver) Addresses(ctx context.Context, host string) ([]netip.Addr, error) {
	ctx, cancel := context.WithTimeout(ctx, r.cfg.Timeout)
	defer cancel()
	obs := r.follow(ctx, subject{host, KindTraffic, absolute(host)})
	switch {
	case obs.Outcome == ownership.CouldNotTell:
		return nil, fmt.Errorf("looking for the addresses of %s: %s", host, obs.Err)
	case len(obs.Addresses) == 0:
		return nil, fmt.Errorf("looking for the addresses of %s: it has none", host)
	}
	return obs.Addresses, nil
}
