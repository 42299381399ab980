package edge

import (
	"context"
	"maps"
	"slices"
)

// trusts reports whether an order for hostname may go out although nothing is
// reachable from here, where this was met.
func (r *Checker) trusts(hostname string, met encounter) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.now()
	if r.belief.Met(r.edge.Name, now) {
		return true
	}
	after, pause := doubtAfter, trialPause
	if met <= refused {
		after = unsureAfter
	}
	if met <= silent {
		pause = min(trialPause, unsureAfter<<min(r.trials, 20))
	}
	if r.since.IsZero() || now.Sub(r.since) < after || now.Sub(r.trial) < pause {
		if len(r.waiting) < maxWaiting {
			r.waiting[hostname] = true
		}
		return false
	}
	r.trial = now
	r.trials++
	return true
}

// Succeeded notes that a CA met us by a type of challenge, and returns the hostnames that waited to know.
func (r *Checker) Succeeded(ctx context.Context, method string) ([]string, error) {
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
	return waited, r.belief.Meet(ctx, name, now.Add(Holds), now)
}
