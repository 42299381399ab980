package controller

import (
	"time"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
	"github.com/apoxy-dev/caddy-apoxy/hosts"
)

const (
	// mendDelay is how long after a client's write to a status the look comes that
	// puts it right: who writes and reads it back finds its own words, and several
	// writes cost one look.
	mendDelay = time.Second
	// mendGap is the least time between two such looks at one record: somebody may
	// write over and over, such as a controller that takes the records for its own.
	mendGap = 5 * time.Second
)

// overwritten reports whether a change is a client's write to the status, which is
// to be put right. What the controller writes before it could tell everything says
// so, too; its look is under way then as a rule, or has ended a moment ago, and a
// look more finds nothing to write.
func overwritten(e *item, ch hosts.Change) bool {
	if !ch.Record.Established().Overwritten {
		return false
	}
	return e.state != running || !wasOverwritten(ch.Previous)
}

func wasOverwritten(r *v1alpha3.DomainRecord) bool { return r != nil && r.Established().Overwritten }

// mend has a record looked at soon whose status a client has written to, however
// late its next look is. c.mu is held.
func (c *Controller) mend(e *item, now time.Time) {
	last := time.Unix(0, e.known().mended)
	if last.After(now) && last.Sub(now) <= mendDelay+mendGap {
		return // that look is yet to come; else the clock was set back
	}
	at := now.Add(mendDelay)
	if next := last.Add(mendGap); next.After(at) && !last.After(now) {
		at = next
	}
	e.note().mended = at.UnixNano()
	if e.due == 0 || at.UnixNano() < e.due {
		c.queue.schedule(e, at)
	}
}

// mending is when a record is looked at next because of a write to its status, if
// that is before next.
func (e *item) mending(now, next time.Time) time.Time {
	if at := time.Unix(0, e.known().mended); at.After(now) && at.Before(next) {
		return at
	}
	return next
}
