package controller

import (
	"context"
	"maps"
	"reflect"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
	"github.com/apoxy-dev/caddy-apoxy/ownership"
)

// TargetsChanged says that the health of targets, or which there are, may have
// changed, or the settings. Records that a target's state is news to are judged
// anew without asking DNS; if the zone is another, all are looked at again.
func (c *Controller) TargetsChanged() {
	select {
	case c.targetsKick <- struct{}{}:
	default:
	}
}

// targetsPause is the least time between two comparisons.
const targetsPause = 200 * time.Millisecond

// followTargets compares targets with what records say of them, at the start and
// whenever there may be news.
func (c *Controller) followTargets(ctx context.Context) {
	c.compareTargets(nil)
	zone := c.cfg.Settings().Zone
	for {
		select {
		case <-ctx.Done():
			return
		case <-c.targetsKick:
		}
		if now := c.cfg.Settings().Zone; !reflect.DeepEqual(now, zone) {
			zone = now
			c.lookAtAll()
		}
		if changed := c.targetNews(); len(changed) > 0 {
			c.compareTargets(changed)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(targetsPause):
		}
	}
}

// lookAtAll has every record looked at within a check interval.
func (c *Controller) lookAtAll() {
	within := c.cfg.Settings().CheckInterval
	if within <= 0 {
		within = ownership.DefaultCheckInterval
	}
	c.mu.Lock()
	now := c.cfg.Now()
	for _, e := range c.byName {
		at := now.Add(time.Duration(c.cfg.Rand() * float64(within)))
		if e.state == running {
			c.queue.demand(e, workLook) // this look began with the old settings
		} else if e.due == 0 || at.UnixNano() < e.due {
			c.queue.schedule(e, at)
		}
	}
	c.mu.Unlock()
	c.poke()
}

// target observes a target, and remembers it among those that records name.
func (c *Controller) target(ref v1alpha3.TargetKey) ownership.TargetObservation {
	o := c.cfg.Target(ref)
	c.targetsMu.Lock()
	if c.targets == nil {
		c.targets = make(map[v1alpha3.TargetKey]ownership.TargetObservation)
		c.targetsMost = targetsLeast
	}
	if _, ok := c.targets[ref]; !ok {
		c.targets[ref] = o
	}
	full := len(c.targets) > c.targetsMost
	if full {
		c.targetsMost *= 2 // nobody else needs to do what follows
	}
	c.targetsMu.Unlock()
	if full {
		c.pruneTargets(ref)
	}
	return o
}

// targetsLeast is how many targets are remembered before it matters whether
// records still name them.
const targetsLeast = 1024

// pruneTargets forgets the targets that no record names, but for one.
func (c *Controller) pruneTargets(but v1alpha3.TargetKey) {
	named := map[v1alpha3.TargetKey]bool{but: true}
	for h := range c.cfg.Table.All() {
		named[h.Target()] = true
	}
	c.targetsMu.Lock()
	defer c.targetsMu.Unlock()
	maps.DeleteFunc(c.targets, func(ref v1alpha3.TargetKey, _ ownership.TargetObservation) bool { return !named[ref] })
	c.targetsMost = max(targetsLeast, 2*len(c.targets))
}

// targetNews returns the targets that are not as they were when last compared.
func (c *Controller) targetNews() map[v1alpha3.TargetKey]bool {
	c.targetsMu.Lock()
	defer c.targetsMu.Unlock()
	changed := make(map[v1alpha3.TargetKey]bool)
	for ref, before := range c.targets {
		if o := c.cfg.Target(ref); o != before {
			c.targets[ref] = o
			changed[ref] = true
		}
	}
	return changed
}

// compareTargets finds the records to whom their target's state is news: those of
// the changed ones, or, with nil, those that say otherwise than it is.
func (c *Controller) compareTargets(changed map[v1alpha3.TargetKey]bool) {
	seen := make(map[v1alpha3.TargetKey]ownership.TargetObservation)
	var batch []string
	flush := func() {
		c.demandAll(workJudge, batch)
		batch = batch[:0]
	}
	for h := range c.cfg.Table.All() {
		if changed == nil {
			o, ok := seen[h.Target()]
			if !ok {
				o = c.target(h.Target())
				seen[h.Target()] = o
			}
			if o.OfRecord {
				o = c.cfg.TargetOf(h)
			}
			ready := h.Conditions.Status(v1alpha3.ConditionTargetReady) == metav1.ConditionTrue
			if o.Unknown || ready == (o.Found && o.Healthy) {
				continue
			}
		} else if !changed[h.Target()] {
			continue
		}
		if batch = append(batch, h.Name()); len(batch) == 256 {
			flush()
		}
	}
	flush()
}
