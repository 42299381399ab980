package issuance

import (
	"context"
	"sync/atomic"
	"time"
)

// Polls begin soon, because a CA with little to do is done in milliseconds, and
// grow rare, because one with much to do should not be asked over and over.
const (
	firstPoll = 50 * time.Millisecond
	lastPoll  = 3 * time.Second
)

type paceKey struct{}

// paced returns a context whose requests after the second are slowed down.
// acmez polls an order at an even interval: finalizing is one request, and each
// further one is a poll.
func paced(ctx context.Context) context.Context {
	return context.WithValue(ctx, paceKey{}, new(atomic.Int32))
}

// pace waits before a request for as long as its context asks to, beyond what
// acmez has waited already.
func pace(ctx context.Context) error {
	n, _ := ctx.Value(paceKey{}).(*atomic.Int32)
	if n == nil {
		return nil
	}
	made := n.Add(1)
	if made <= 2 {
		return nil
	}
	select {
	case <-time.After(min(firstPoll<<min(made-3, 10), lastPoll) - firstPoll/2):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
