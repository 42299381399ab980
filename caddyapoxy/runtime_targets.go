package caddyapoxy

import (
	"context"
	"time"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
	"github.com/apoxy-dev/caddy-apoxy/hosts"
	"github.com/apoxy-dev/caddy-apoxy/ownership"
	"github.com/apoxy-dev/caddy-apoxy/target"
)

// healthInterval is how often the health of the few targets is compared with
// what it was, from memory.
const healthInterval = time.Second

// watchTargets tells the controller when the health of a target changes.
func (rt *runtime) watchTargets(ctx context.Context) error {
	tick := time.NewTicker(healthInterval)
	defer tick.Stop()
	var last map[target.Ref]target.Health
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		now := rt.apps.Current().targets.Snapshot()
		if last != nil && !sameHealth(last, now) {
			rt.controller.TargetsChanged()
		}
		last = now
	}
}

func sameHealth(a, b map[target.Ref]target.Health) bool {
	if len(a) != len(b) {
		return false
	}
	for ref, h := range a {
		if o, ok := b[ref]; !ok || o != h {
			return false
		}
	}
	return true
}

func (rt *runtime) targetHealth(ref v1alpha3.TargetKey) ownership.TargetObservation {
	if ref.Kind == v1alpha3.KindRedirect { // every site that serves records can
		serves := rt.apps.Current().targets.Serves()
		return ownership.TargetObservation{Found: serves, Healthy: serves}
	}
	h, found := rt.apps.Current().targets.Health(target.Ref{Kind: ref.Kind, Name: ref.Name})
	return targetObservation(h, found)
}

// targetHealthOf is targetHealth for one record, where that makes a difference.
func (rt *runtime) targetHealthOf(host *hosts.Host) ownership.TargetObservation {
	h, found := rt.apps.Current().targets.HealthOf(target.Ref{Kind: host.Target().Kind, Name: host.Target().Name},
		func(key string) (any, bool) { return placeholder(host, key) })
	return targetObservation(h, found)
}

func targetObservation(h target.Health, found bool) ownership.TargetObservation {
	return ownership.TargetObservation{Found: found, Healthy: h.Healthy, Unchecked: h.Unchecked, OfRecord: h.OfRecord, Message: h.Message}
}
