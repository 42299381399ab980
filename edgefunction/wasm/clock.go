package wasm

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/apoxy-dev/caddy-apoxy/edgefunction"
)

// clock says when a guest's time with one request is over, and why. What others take
// while it is stopped does not count.
type clock struct {
	ended chan struct{} // closed when it is over
	why   atomic.Pointer[error]

	mu      sync.Mutex
	limit   time.Duration
	left    time.Duration
	since   time.Time
	running bool
	timer   *time.Timer
	detach  func() bool
}

// newClock returns a clock that runs until the limit, or the context's end. The caller
// releases it.
func newClock(ctx context.Context, limit time.Duration) *clock {
	c := &clock{ended: make(chan struct{}), limit: limit, left: limit, since: time.Now(), running: true}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.timer = time.AfterFunc(limit, c.expire)
	c.detach = context.AfterFunc(ctx, func() { c.end(context.Cause(ctx)) })
	return c
}

func (c *clock) expire() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.running {
		c.end(edgefunction.Faultf(edgefunction.FaultTimeout, "it ran longer than its %s", c.limit))
	}
}

// end is called with the reason; the first one stays.
func (c *clock) end(why error) {
	if c.why.CompareAndSwap(nil, &why) {
		close(c.ended)
	}
}

// over returns why the guest's time is over; nil: it is not.
func (c *clock) over() error {
	if why := c.why.Load(); why != nil {
		return *why
	}
	return nil
}

// stop has the time that follows not count, until start.
func (c *clock) stop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.running {
		c.running = false
		c.timer.Stop()
		c.left -= time.Since(c.since)
	}
}

func (c *clock) start() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.running {
		c.running, c.since = true, time.Now()
		c.timer.Reset(max(c.left, 0))
	}
}

// sleep is what a guest's sleeping is.
func (c *clock) sleep(d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-c.ended:
	}
}

func (c *clock) release() {
	c.stop()
	c.detach()
}
