package acme

import (
	"context"
	"errors"
	"fmt"
	"time"

	acmez "github.com/mholt/acmez/v3/acme"
)

// This file waits for a CA to validate and to sign. A flow waits for a short while
// only (Flow.Patience), whatever Retry-After says. Then it ends with ClassWorking and
// leaves its place to other hostnames; the caller runs another flow later, with
// Repeated, until the CA has decided.

const (
	// DefaultPatience is the usual Flow.Patience.
	DefaultPatience = 10 * time.Second
	// callTimeout bounds one call of acmez, with all that it repeats by itself
	// (three times for a server error, ten for a nonce). directoryTimeout bounds the
	// reading of the directory, during which acmez makes all other CAs wait.
	callTimeout      = 45 * time.Second
	directoryTimeout = 15 * time.Second
)

// The first question comes after firstPoll, because a CA with little to do is done in
// milliseconds. The pauses double up to lastPoll, to spare a CA with much to do.
const (
	firstPoll = 50 * time.Millisecond
	lastPoll  = 3 * time.Second
)

// Progress is what a CA is doing with an order.
type Progress struct {
	// Method is the challenge type that it is validating; empty: it is signing.
	Method string
	// Begun reports whether this flow has told it to validate.
	Begun bool
}

// atWork is the failure of a flow that leaves the order to the CA.
func (f *Flow) atWork(ctx context.Context, p Progress) *Failure {
	return &Failure{Class: ClassWorking, Working: &p, Until: traceOf(ctx).retryAfter(),
		Message: "the certificate authority is still working on the order"}
}

// polls are the questions of one wait.
type polls struct {
	end   time.Time     // when the flow's patience ends
	pause time.Duration // before the next question
}

func (f *Flow) polls() *polls { return &polls{end: time.Now().Add(f.Patience), pause: firstPoll} }

// next waits until the next question may be asked: for the pause, or until the
// Retry-After of the last answer. false: that is after the flow's patience ends.
func (p *polls) next(ctx context.Context) (bool, error) {
	wait := p.pause
	if t := traceOf(ctx); !t.retryAfter().IsZero() {
		wait = max(wait, t.retryAfter().Sub(t.now()))
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

// await asks about an authorization until it is decided or the flow's patience ends.
func (f *Flow) await(ctx context.Context, acct acmez.Account, url string, at Progress) error {
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

// finish has the certificate of an order signed whose authorizations are all valid,
// and waits until it is. Such an order is not always ready at once (RFC 8555 section
// 7.1.6), so signing is asked for only once it is: some CAs answer an earlier request
// with an error, and some give the order up.
func (f *Flow) finish(ctx context.Context, acct acmez.Account, order acmez.Order) (acmez.Order, error) {
	var err error
	if order.Status == acmez.StatusPending {
		if order, err = f.state(ctx, acct, order.Location); err != nil {
			return order, err
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
			return order, Failed(ClassPassing, "", fmt.Errorf("the certificate authority says that the order is %q, which is no status of an order", order.Status))
		}
		more, err := p.next(ctx)
		if err != nil {
			return order, err
		}
		if !more {
			return order, f.atWork(ctx, Progress{})
		}
		if order, err = f.state(ctx, acct, order.Location); err != nil {
			return order, err
		}
	}
}

// sign finalizes a ready order. A CA has many servers, and one of them may not know
// yet that the order is ready and refuse. So after a refusal the order is read: if it
// is pending or processing, that is the result and not the refusal.
func (f *Flow) sign(ctx context.Context, acct acmez.Account, order acmez.Order) (acmez.Order, error) {
	done, err := f.finalize(ctx, acct, order)
	var p acmez.Problem
	if err == nil || !errors.As(err, &p) || p.Status >= 500 || p.Status == 429 {
		return done, err
	}
	now, stateErr := f.state(ctx, acct, order.Location)
	if stateErr == nil && (now.Status == acmez.StatusPending || now.Status == acmez.StatusProcessing) {
		return now, nil
	}
	return done, err
}
