package edge

import (
	"context"
	"maps"
	"slices"
)

// trusts reports whether an order for hostname may be placed although the edge does not
// answer this machine: because a CA has reached it lately, or to try whether one does.
// met is the least that was met by any challenge type; the less it is, the likelier it
// is that only this machine cannot see the edge, and the sooner a trial is made.
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

// Succeeded notes that a CA has validated a challenge of a type. If this machine did not
// see the edge by that type, it returns the hostnames that were refused for that, to be
// tried now. The error is that of Belief.Meet.
func (r *Checker) Succeeded(ctx context.Context, method string) ([]string, error) {
	r.mu.Lock()
	if r.seen[method].why == "" { // the edge answers this machine, too, or it was DNS-01
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
