package controller

import "time"

// clockStep is the least step back of the clock that is heeded.
const clockStep = 5 * time.Second

// heedClock finds out whether the wall clock was set back since the last call,
// by how much time has passed in truth. Looks are due by the wall clock, which
// would leave all records unseen for as long as the step was; a step forward
// only has them looked at early. c.mu is held.
func (c *Controller) heedClock(now time.Time) {
	last := c.heeded
	c.heeded = now
	if last.IsZero() {
		return
	}
	passed, shown := now.Sub(last), now.Round(0).Sub(last.Round(0)) // Round takes the monotonic reading away
	if back := passed - shown; back >= clockStep {
		c.setBack(back)
	}
}

// setBack makes all that is due earlier. It keeps the order of the timers. c.mu
// is held.
func (c *Controller) setBack(by time.Duration) {
	for _, e := range c.byName {
		e.setBack(by)
	}
}
