package controller

import (
	"maps"
	"strings"
	"time"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
	"github.com/apoxy-dev/caddy-apoxy/hosts"
	"github.com/apoxy-dev/caddy-apoxy/ownership"
	"github.com/apoxy-dev/caddy-apoxy/resolver"
)

// Changed hears of one change of a record, in the order of hosts.Follow. A record
// that is new, or whose spec or owner has changed, is looked at at once; of one whose
// other labels or annotations have changed it is judged anew what is known; those
// that were there at the start when it is time, spread out.
func (c *Controller) Changed(ch hosts.Change) {
	if ch.Record == nil {
		c.deleted(ch)
		return
	}
	r := ch.Record
	now := c.cfg.Now()
	if ch.Previous != nil && ch.Previous.UID != r.UID {
		c.ended(ch.Previous) // another record took its place
	}
	c.mu.Lock()
	e := c.byName[ch.Name]
	known := e != nil && e.hostname == r.Spec.Name && (ch.Previous == nil || ch.Previous.UID == r.UID)
	if !known {
		e = c.add(ch.Name, r.Spec.Name)
	}
	switch {
	case e.elsewhere:
	case ch.First && known: // by a check, which has it looked at
	case ch.First:
		next := ownership.NextLook(r, ownership.Activity{Verified: c.verified()}, c.cfg.Settings(), now, c.cfg.Rand())
		c.queue.schedule(e, now.Add(time.Duration(c.cfg.Rand()*float64(next.Sub(now)))))
	case !known || respecified(r, ch.Previous):
		e.note().lastWrite = now.Unix()
		c.queue.demand(e, workLook)
	case relabelled(r, ch.Previous):
		c.queue.demand(e, workJudge) // a target may be chosen by them
	case overwritten(e, ch):
		c.mend(e, now)
	}
	recalled := ch.First && !known && !e.elsewhere
	c.mu.Unlock()
	if recalled {
		c.recall(e, r, now)
	}
	if ch.First {
		return
	}
	if concernsNeighbour(r, ch.Previous) {
		c.wakeNeighbour(r.Spec.Name)
	}
	c.poke()
}

// respecified reports whether something has changed that a look at DNS is to answer: the
// spec, or whose the record is.
func respecified(r, before *v1alpha3.DomainRecord) bool {
	return before == nil || r.UID != before.UID || r.Generation != before.Generation || r.Owner() != before.Owner()
}

// relabelled reports whether labels or annotations have changed.
func relabelled(r, before *v1alpha3.DomainRecord) bool {
	return !maps.Equal(r.Labels, before.Labels) || !maps.Equal(r.Annotations, before.Annotations)
}

// recall takes up from its status what was known of a record before the start.
func (c *Controller) recall(e *item, r *v1alpha3.DomainRecord, now time.Time) {
	s := &r.Status
	window := c.cfg.Settings().DetachAfter
	owned, known := s.Condition(v1alpha3.ConditionOwnershipVerified), r.Established()
	switch {
	case owned == nil:
	case known.Verified && known.WithdrawnTime != nil:
		c.brake.recallGone(r.Name, r.Owner(), known.WithdrawnTime.Time)
	case owned.Reason == v1alpha3.ReasonProofWithdrawn && now.Sub(owned.LastTransitionTime.Time) < window:
		c.brake.recallFall(r.Name, r.Owner(), owned.LastTransitionTime.Time)
	}
	if known.Overwritten {
		return // what the rest of the status says is a client's word
	}
	if unreachable(s) {
		c.mu.Lock()
		c.queue.memory.recall(e.domain(), now)
		c.mu.Unlock()
	}
	if !known.Verified { // it may be contested by now
		if r.WantsTLS() && s.Phase == v1alpha3.PhaseIssuing {
			c.mu.Lock()
			c.queue.demand(e, workJudge)
			c.mu.Unlock()
		}
		return
	}
	if r.WantsTLS() && (s.Phase == v1alpha3.PhaseIssuing || s.Phase == v1alpha3.PhaseActive) {
		wildcard := v1alpha3.IsWildcard(r.Spec.Name)
		w := wantOf(e, r, isTrue(s, v1alpha3.ConditionACMEChallengeDelegationReady),
			!wildcard && isTrue(s, v1alpha3.ConditionCNAMEConfigured))
		if s.Phase == v1alpha3.PhaseIssuing {
			dns01, http01 := ownership.Waits(r, c.cfg.Settings(), now)
			w.DNS01From, w.HTTP01From = seconds(dns01), seconds(http01)
		}
		c.cfg.Issuance.Want(w)
	}
}

// unreachable reports whether a status says that no name server of the hostname's
// domain answered when it was last looked at.
func unreachable(s *v1alpha3.DomainRecordStatus) bool {
	d := s.DNSRecord(v1alpha3.PurposeTraffic)
	return d != nil && d.Problem != nil && d.Problem.Reason == ownership.ProblemServersUnreachable
}

// wakeNeighbour has the record that shares DNS names with a hostname looked at,
// if it is not verified: what proves it may have become another thing.
func (c *Controller) wakeNeighbour(hostname string) {
	neighbour := ownership.Neighbour(hostname)
	if h, ok := c.cfg.Table.Get(neighbour); !ok || h.Verified {
		return
	}
	c.demand(workLook, func() *item { return c.ofHost(neighbour) })
}

// concernsNeighbour reports whether a change of a record is one to the rule on
// tenants.
func concernsNeighbour(r, before *v1alpha3.DomainRecord) bool {
	return before == nil || r.UID != before.UID || r.Owner() != before.Owner() || r.Proven() != before.Proven()
}

func (c *Controller) deleted(ch hosts.Change) {
	before := ch.Previous
	c.mu.Lock()
	if e := c.byName[ch.Name]; e != nil {
		if before == nil {
			before = &v1alpha3.DomainRecord{}
			before.Name, before.Spec.Name = ch.Name, e.hostname
		}
		c.drop(e)
	}
	c.mu.Unlock()
	if before != nil {
		c.ended(before)
		c.wakeNeighbour(before.Spec.Name)
	}
}

// ended lets go of everything that was kept for a record which is no more.
func (c *Controller) ended(r *v1alpha3.DomainRecord) {
	c.brake.forget(r.Name, c.cfg.Now())
	c.seen.Drop(r.Name)
	c.cfg.Issuance.Forget(r.Spec.Name)
	t := Transition{Event: EventRecordDeleted, Name: r.Name, Hostname: r.Spec.Name, From: string(r.Status.Phase), Once: string(r.UID)}
	if r.UID != "" { // else nothing is known but its name
		t.Record = r
	}
	if asked, ok := c.expired.LoadAndDelete(r.Name); ok && asked.(expiry).uid == r.UID {
		t.Reason = ReasonUnproven
		t.Message = "It was never verified in the " + asked.(expiry).ttl.String() + " that unproven_ttl gives a record."
	}
	c.cfg.OnTransition(t)
}

// forgetGone takes back what a look that outlasted its record has noted of it.
func (c *Controller) forgetGone(e *item) {
	c.mu.Lock()
	gone := e.gone && c.byName[e.name] == nil
	c.mu.Unlock()
	if gone {
		c.brake.forget(e.name, c.cfg.Now())
		c.seen.Drop(e.name)
	}
}

// add makes the item of a record; c.mu is held.
func (c *Controller) add(name, hostname string) *item {
	if old := c.byName[name]; old != nil {
		c.drop(old)
	}
	if name == hostname {
		hostname = name // one copy in memory
	}
	e := &item{name: name, hostname: hostname, place: -1, elsewhere: !c.cfg.Mine(hostname)}
	if hostname != "" {
		if domain := resolver.RegisteredDomain(hostname); strings.HasSuffix(hostname, domain) {
			e.domainAt = uint8(min(len(hostname)-len(domain), 255)) // a hostname has 253 octets
		}
	}
	c.byName[name] = e
	if name != hostname && hostname != "" {
		c.aliases[hostname] = name
	}
	return e
}

// drop forgets an item; c.mu is held.
func (c *Controller) drop(e *item) {
	c.queue.remove(e)
	delete(c.byName, e.name)
	if c.aliases[e.hostname] == e.name {
		delete(c.aliases, e.hostname)
	}
	answerAll(e.known().waiters, errGone)
	e.forget(func(r *rare) { r.waiters = nil })
}
