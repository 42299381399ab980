package acme

import (
	"context"
	"errors"
	"fmt"
	"time"

	acmez "github.com/mholt/acmez/v3/acme"

	"github.com/apoxy-dev/caddy-apoxy/internal/words"
)

// This file is about orders that a CA takes its time with. An order waits in its
// slot for a short while only, whatever Retry-After says: it then gives the slot
// to others, and its CA is asked again at an even pace until it has decided.

const (
	// DefaultPatience is how long an order waits in its slot for the CA to
	// validate, and again to sign.
	DefaultPatience = 10 * time.Second
	// callTimeout bounds one call of acmez, with all that it repeats by itself
	// (three times for a server error, ten for a nonce), and directoryTimeout the
	// first, during which acmez keeps every other CA's directory waiting.
	callTimeout      = 45 * time.Second
	directoryTimeout = 15 * time.Second
)

// Polls begin soon, because a CA with little to do is done in milliseconds, and
// grow rare, because one with much to do should not be asked over and over.
const (
	firstPoll = 50 * time.Millisecond
	lastPoll  = 3 * time.Second
)

// progress is what a CA is at with an order.
type progress struct {
	// Method is the challenge that it validates, empty while it signs.
	Method string
	// Begun: it was told a moment ago to validate.
	Begun bool
}

// atWork is the failure of a flow that leaves the CA to its work.
func (f *Flow) atWork(ctx context.Context, p progress) *Failure {
	w := &Failure{Class: ClassWorking, Working: &p, Message: "the certificate authority is still working on the order"}
	if t, _ := ctx.Value(traceKey{}).(*Trace); t != nil {
		w.Until = t.retryAfter()
	}
	return w
}

// polls paces the questions of one wait within a slot.
type polls struct {
	end   time.Time
	pause time.Duration
}

func (f *Flow) polls() *polls { return &polls{end: time.Now().Add(f.Patience), pause: firstPoll} }

// next waits before the next question. false: it would come after the end, or
// before the CA wants it, so that the slot is better given to others.
func (p *polls) next(ctx context.Context) (bool, error) {
	wait := p.pause
	if t, _ := ctx.Value(traceKey{}).(*Trace); t != nil {
		if after := t.retryAfter(); !after.IsZero() {
			wait = max(wait, after.Sub(t.now()))
		}
	}
	if time.Now().Add(wait).After(p.end) {
		return false, nil
	}
	p.pause = min(p.pause*2, lastPoll)
	select {
	case <-time.After(wait):
		return true, nil
	case <-ctx.Done():
		return false, context.Cause(ctx)
	}
}

// await polls an authorization until it is decided, or the slot's patience ends.
func (f *Flow) await(ctx context.Context, acct acmez.Account, url string, at progress) error {
	for p := f.polls(); ; {
		more, err := p.next(ctx)
		if err != nil {
			return err
		}
		if !more {
			return f.atWork(ctx, at)
		}
		authz, err := f.authorization(ctx, acct, url)
		if err != nil {
			return err
		}
		switch authz.Status {
		case acmez.StatusValid:
			return nil
		case acmez.StatusPending:
		default:
			return authzError(authz)
		}
	}
}

// finish has an order whose authorizations are proven signed. That does not make it
// ready at once (RFC 8555 section 7.1.6): it is asked after until it is, because
// some CAs answer who asks earlier with an error, and some give the order up.
func (f *Flow) finish(ctx context.Context, acct acmez.Account, order acmez.Order) (acmez.Order, error) {
	var err error
	if order.Status == acmez.StatusPending {
		if order, err = f.state(ctx, acct, order.Location); err != nil {
			return order, fmt.Errorf("reading order: %w", err)
		}
	}
	for p := f.polls(); ; {
		if order.Status == acmez.StatusReady {
			if order, err = f.sign(ctx, acct, order); err != nil {
				return order, err
			}
		}
		switch order.Status {
		case acmez.StatusValid:
			return order, nil
		case acmez.StatusInvalid:
			return order, f.invalid(ctx, acct, order)
		case acmez.StatusPending, acmez.StatusReady, acmez.StatusProcessing:
		default:
			return order, &Failure{Class: ClassPassing, Message: "the certificate authority says that the order is " + quoted(words.Cut(order.Status, 40)) + ", which no order can be"}
		}
		more, err := p.next(ctx)
		if err != nil {
			return order, err
		}
		if !more {
			return order, f.atWork(ctx, progress{})
		}
		if order, err = f.state(ctx, acct, order.Location); err != nil {
			return order, fmt.Errorf("reading order: %w", err)
		}
	}
}

// sign is finalize for a CA of many servers, of which one may not know yet that the
// order is ready: what an error is worth is told by what the order is after it.
func (f *Flow) sign(ctx context.Context, acct acmez.Account, order acmez.Order) (acmez.Order, error) {
	done, err := f.finalize(ctx, acct, order)
	var p acmez.Problem
	if err == nil || !errors.As(err, &p) || p.Status >= 500 || p.Status == 429 {
		return done, err
	}
	now, lerr := f.state(ctx, acct, order.Location)
	if lerr == nil && (now.Status == acmez.StatusPending || now.Status == acmez.StatusProcessing) {
		return now, nil
	}
	return done, err
}
