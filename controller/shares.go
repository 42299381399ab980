package controller

import "github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"

// Falling tells of the verified records of one or several nodes that are about to lose
// ownership, or just have.
type Falling struct {
	// Records is how many these are, and Fallen how many of them have lost it.
	Records, Fallen int
	// Owners are two of their owners, or all if there are fewer, as hashes. Of several
	// nodes it is what each of them named.
	Owners []uint64
}

// sharesBatch is how many items are gone through while the lock is held once.
const sharesBatch = 1024

// SharesChanged tells that Config.Mine reports others than before. What has become this
// node's is taken up from its status, unsettled records with a look at once; what is
// another's is let go of.
func (c *Controller) SharesChanged() {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := 0
	for _, e := range c.byName {
		if n++; n%sharesBatch == 0 {
			c.mu.Unlock()
			c.poke()
			c.mu.Lock()
		}
		switch mine := c.cfg.Mine(e.hostname); {
		case e.gone || mine != e.elsewhere:
		case mine:
			c.gain(e)
		default:
			c.queue.leave(e)
			c.brake.forget(e.name, c.cfg.Now())
			c.seen.Drop(e.name)
		}
	}
	c.poke()
}

// gain takes up the record of another node. c.mu is held.
func (c *Controller) gain(e *item) {
	e.elsewhere, e.gained = false, true
	what := workJudge
	if c.hintable(e.hostname) { // somebody may be waiting for it
		what = workLook
	}
	c.queue.demand(e, what)
}

// takeOver takes up from its status, once, what another node knew of a record.
func (c *Controller) takeOver(e *item, r *v1alpha3.DomainRecord) {
	c.mu.Lock()
	gained := e.gained
	e.gained = false
	c.mu.Unlock()
	if gained {
		c.brake.resumeAnew()
		c.recall(e, r, c.cfg.Now())
	}
}
