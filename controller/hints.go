package controller

import (
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// hints are hostnames of which something was heard: coalesced, limited, never
// trusted.
type hints struct {
	mu      sync.Mutex
	waiting map[string]struct{}
	limit   *rate.Limiter
}

func newHints() hints {
	return hints{waiting: make(map[string]struct{}), limit: rate.NewLimiter(hintRate, 2*hintRate+1)}
}

// add has a hostname wait, if there is room. News: it did not; first: nothing did.
func (h *hints) add(hostname string) (news, first bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	_, known := h.waiting[hostname]
	if known || len(h.waiting) >= maxHints {
		return false, false
	}
	h.waiting[hostname] = struct{}{}
	return true, len(h.waiting) == 1
}

// HintRate bounds the looks that hints cause, per second in all, and as many glances
// beside them. MaxHints bounds the hints that wait to be looked into, hintGap the
// time between two looks at one record because of hints; it doubles with each that
// changed nothing, up to hintGapMost: a visitor who comes with the cutover waits no
// longer, however many came before it.
const (
	hintRate    = 200
	maxHints    = 4096
	hintGap     = time.Second
	hintGapMost = 3 * time.Second
)

// Hint says that something was heard of hostname from somebody who was seen to be
// at their address: a query in the zone by TCP or with a valid cookie (RFC 7873),
// a handshake, a request. It never blocks and may be called at any rate. For what
// anyone may have sent in anyone's name see HintUnproven.
func (c *Controller) Hint(hostname string) {
	if !c.hintable(hostname) || c.cfg.Pass(hostname, true) {
		return
	}
	c.heard(hostname)
}

// Passed is Hint, or without proven HintUnproven, for what another node has passed on: it
// is not passed on once more.
func (c *Controller) Passed(hostname string, proven bool) {
	switch {
	case !c.hintable(hostname):
	case proven:
		c.heard(hostname)
	default:
		c.rumoured(hostname)
	}
}

func (c *Controller) heard(hostname string) {
	if _, first := c.hints.add(hostname); first { // the others are taken with it
		c.poke()
	}
}

// hintable reports whether a hint may be news of a hostname.
func (c *Controller) hintable(hostname string) bool {
	h, ok := c.cfg.Table.Get(hostname)
	// Of what is settled at most the backend is in trouble, which DNS does not tell.
	return ok && !(h.Verified && h.CNAMEConfigured && (h.TLSReady || !h.TLS))
}

// takeHints turns hints into looks.
func (c *Controller) takeHints() {
	c.hints.mu.Lock()
	if len(c.hints.waiting) == 0 {
		c.hints.mu.Unlock()
		return
	}
	waiting := c.hints.waiting
	c.hints.waiting = make(map[string]struct{})
	c.hints.mu.Unlock()
	c.mu.Lock()
	defer c.mu.Unlock()
	for host := range waiting {
		if e := c.ofHost(host); e != nil {
			c.hinted(e, c.cfg.Now())
		}
	}
}

// hinted has e looked at, now or, if that was done a moment ago, as soon as its
// gap is over. c.mu is held.
func (c *Controller) hinted(e *item, now time.Time) {
	r := e.note()
	r.lastHint = now.Unix()
	at := time.Unix(0, r.hintFrom)
	if r.hintFrom == 0 || !now.Before(at) {
		at = now
	}
	if at.After(now) && e.due != 0 && e.due <= at.UnixNano() {
		return // it is looked at by then anyway
	}
	if !c.hints.limit.AllowN(now, 1) {
		return
	}
	gap := min(hintGap<<r.hintStep, hintGapMost)
	r.hintStep = min(r.hintStep+1, 4)
	r.hintFrom = at.Add(gap).UnixNano()
	if at.After(now) {
		r.hintDue = at.UnixNano()
		c.queue.schedule(e, at)
	} else {
		c.queue.demand(e, workLook|workUrgent|workHinted)
	}
}
