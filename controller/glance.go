package controller

import (
	"context"
	"slices"
	"time"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
	"github.com/apoxy-dev/caddy-apoxy/ownership"
	"github.com/apoxy-dev/caddy-apoxy/resolver"
)

// glances are hostnames of which something was heard that anyone may have sent
// in anyone's name. They have places and a rate of their own, so that a flood of
// such hints delays no proven one.
type glances struct {
	hints
	taken time.Time // when those that wait were gone through last
}

// glanceFor bounds a glance, so that hintRate of them a second fit into the
// places of trackGlance whatever the servers do.
const glanceFor = 1200 * time.Millisecond

// HintUnproven is Hint for what anyone may have sent in anyone's name: a query by
// UDP without a valid cookie. It costs customers' name servers
// resolver.GlanceQuestions of our own at most, all together, and nothing after that:
// no further look is made, and none earlier, for it alone. Only what is found in
// place counts.
func (c *Controller) HintUnproven(hostname string) {
	if !c.hintable(hostname) || c.cfg.Pass(hostname, false) {
		return
	}
	c.rumoured(hostname)
}

func (c *Controller) rumoured(hostname string) {
	if news, _ := c.glances.add(hostname); news {
		c.poke()
	}
}

// GlancesAgain is how long glances wait that are too many now, glancesFew how
// many hints may wait to be gone through at every turn.
const (
	glancesAgain = 50 * time.Millisecond
	glancesFew   = 64
)

// takeGlances turns unproven hints into glances, and returns how long it is until
// others that wait may be. c.mu is held.
func (c *Controller) takeGlances(now time.Time) time.Duration {
	c.glances.mu.Lock()
	defer c.glances.mu.Unlock()
	wait := time.Minute
	if since := now.Sub(c.glances.taken); len(c.glances.waiting) > glancesFew && since >= 0 && since < glancesAgain {
		return glancesAgain - since
	}
	c.glances.taken = now
	for host := range c.glances.waiting {
		e := c.ofHost(host)
		if e == nil {
			delete(c.glances.waiting, host)
			continue
		}
		if gap := time.Duration(e.known().glanceFrom - now.UnixNano()); gap > 0 && gap <= hintGapMost {
			wait = min(wait, gap)
			continue
		}
		if !c.glances.limit.AllowN(now, 1) {
			return min(wait, glancesAgain)
		}
		delete(c.glances.waiting, host)
		e.note().glanceFrom = now.Add(min(hintGap<<min(e.known().glances, 4), hintGapMost)).UnixNano()
		c.queue.demand(e, workGlance|workUrgent)
	}
	return wait
}

// rationed is the context of a look, by what was demanded.
func rationed(ctx context.Context, what work) context.Context {
	c := resolver.Proven
	if what&workOwed != 0 {
		c = resolver.Owed
	}
	ctx, _ = resolver.WithRation(ctx, c)
	return ctx
}

// postpone leaves a look that a hint caused, and that had its share before it was
// done, to the timer.
func (c *Controller) postpone(e *item) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now := c.cfg.Now(); e.due <= now.UnixNano() {
		c.queue.schedule(e, now.Add(c.cfg.Settings().CheckInterval))
	}
}

// glance looks whether what e still lacks in DNS is there now. If it is, that
// counts as seen; nothing else counts. Judge: it is to be judged in any case.
func (c *Controller) glance(ctx context.Context, e *item, judge bool) error {
	v, err := c.read(ctx, e.name)
	if err != nil {
		return err
	}
	c.mu.Lock()
	turn := e.known().glances
	e.note().glances++
	c.mu.Unlock()
	s, found := c.spot(ctx, v.record, *c.lastSeen(v.record), turn)
	switch {
	case !found && judge:
		return c.judge(ctx, e)
	case !found || ctx.Err() != nil:
		return nil
	}
	c.mu.Lock()
	e.forget(func(r *rare) { r.glances = 0 })
	c.mu.Unlock()
	status, err := c.settle(ctx, e, v, s)
	if err != nil {
		return err
	}
	if s.glanced = false; !s.unlooked && !isTrue(status, v1alpha3.ConditionReady) {
		c.seen.Put(e.name, s, seenFor)
	}
	return nil
}

// spot returns a sighting with what was found in place added, and whether there
// is any such.
func (c *Controller) spot(ctx context.Context, r *v1alpha3.DomainRecord, s sighting, turn uint8) (*sighting, bool) {
	ctx, cancel := context.WithTimeout(ctx, glanceFor)
	defer cancel()
	ctx, ration := resolver.WithRation(ctx, resolver.Unproven)
	zone := c.cfg.Settings().Zone
	s.glanced = true
	found := false
	for _, kind := range lacking(r, turn) {
		if ration.Left() == 0 {
			break
		}
		o := c.cfg.Resolver.Observe(ctx, r.Spec.Name, kind)
		switch {
		case o.Outcome != ownership.Seen:
		case kind == resolver.KindACMEChallenge && slices.Contains(o.Chain, v1alpha3.ChallengeName(r.Spec.Name, zone.Name)):
			s.challenge, found = o, true
			countCheck(checkChallenge, o.Outcome)
		case kind == resolver.KindTraffic && ownership.Arrives(r.Spec.Name, o, zone):
			s.traffic, found = o, true
			countCheck(checkTraffic, o.Outcome)
		}
	}
	return &s, found
}

// lacking lists what a query in our zone may be a sign of and is not in place yet.
// Where both are, they take turns, because one may leave no questions for the
// other.
func lacking(r *v1alpha3.DomainRecord, turn uint8) []resolver.Kind {
	var out []resolver.Kind
	for _, p := range []struct {
		purpose v1alpha3.DNSPurpose
		kind    resolver.Kind
	}{{v1alpha3.PurposeTraffic, resolver.KindTraffic}, {v1alpha3.PurposeACMEChallenge, resolver.KindACMEChallenge}} {
		if d := r.Status.DNSRecord(p.purpose); d != nil && !d.Configured {
			out = append(out, p.kind)
		}
	}
	if len(out) == 2 && turn%2 == 1 {
		out[0], out[1] = out[1], out[0]
	}
	return out
}
