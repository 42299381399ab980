package issuance

import (
	"context"
	"maps"
	"slices"

	"go.uber.org/zap"
)

// mendEdge says what the operator does about an edge that is not reached.
const mendEdge = "The operator opens ports 80 and 443 at the addresses of `edge`, or mends `edge`; where only this machine cannot reach them " +
	"(NAT without hairpin, PROXY protocol), the option `edge_check` of the zone says what to ask in their place"

// trusting reports whether an order for hostname may go out although nothing is
// reachable from here, where this was met.
func (r *reach) trusting(hostname string, met encounter) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.now()
	if r.ledger.met(r.edge.Name, now) {
		return true
	}
	after, pause := reachDoubt, reachTrial
	if met <= refused {
		after = reachUnsure
	}
	if met <= silent {
		pause = min(reachTrial, reachUnsure<<min(r.trials, 20))
	}
	if r.since.IsZero() || now.Sub(r.since) < after || now.Sub(r.trial) < pause {
		if len(r.waiting) < reachWaiting {
			r.waiting[hostname] = true
		}
		return false
	}
	r.trial = now
	r.trials++
	return true
}

// succeeded notes that a CA met us, and returns the hostnames that waited to know.
func (r *reach) succeeded(ctx context.Context, method string) ([]string, error) {
	r.mu.Lock()
	if r.seen[method].why == "" { // it was known, or by DNS
		r.mu.Unlock()
		return nil, nil
	}
	waited := slices.Collect(maps.Keys(r.waiting))
	clear(r.waiting)
	r.trials = 0
	name, now := r.edge.Name, r.now()
	r.mu.Unlock()
	return waited, r.ledger.meet(ctx, name, now.Add(reachBelief), now)
}

// reached takes over that a CA met us by a type of challenge, and has the hostnames
// tried that waited to know whether one can.
func (s *Scheduler) reached(ctx context.Context, method string) {
	waited, err := s.reach.succeeded(ctx, method)
	if err != nil {
		s.log.Error("a restart will have to learn anew that certificate authorities reach the edge", zap.Error(err))
	}
	for _, hostname := range waited {
		s.Retry(hostname)
	}
}
