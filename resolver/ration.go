package resolver

import (
	"context"
	"errors"
	"net/netip"
	"sync/atomic"
	"time"
)

// Cause is why a look is made, and so how much it may ask of others.
type Cause uint8

const (
	// Owed: its time has come, somebody asks for it, or a record was written.
	Owed Cause = iota
	// Proven: only a hint, from somebody who was seen to be at their address.
	Proven
	// Unproven: only a hint that anyone may have sent in anyone's name.
	Unproven
	causes
)

// GlanceQuestions is how many questions of our own a look may cost customers'
// name servers, all together, that only an unproven hint caused: what is sent
// again and what is asked by TCP included.
const GlanceQuestions = 5

// errSpent: a question was not asked, because the look or the server has had its
// share.
var errSpent = errors.New("was asked often enough for now")

// Ration is what one look may ask of name servers that a customer's DNS names. It
// is safe for concurrent use.
type Ration struct {
	cause Cause
	left  atomic.Int32 // where the cause is Unproven
	spent atomic.Bool
}

// Cause is why the look is made.
func (n *Ration) Cause() Cause { return n.cause }

// Left is how many questions an Unproven look may still ask, never less than 0.
func (n *Ration) Left() int { return max(int(n.left.Load()), 0) }

// Spend notes that a question was not asked for want of a share, so that what the
// look could not tell is no finding.
func (n *Ration) Spend() { n.spent.Store(true) }

// Spent reports whether a question was not asked for want of a share.
func (n *Ration) Spent() bool { return n.spent.Load() }

// few reports whether the look has GlanceQuestions only.
func (n *Ration) few() bool { return n.cause == Unproven }

type rationKey struct{}

// WithRation returns a context for one look, and its ration.
func WithRation(ctx context.Context, c Cause) (context.Context, *Ration) {
	n := &Ration{cause: c}
	n.left.Store(GlanceQuestions)
	return context.WithValue(ctx, rationKey{}, n), n
}

// RationOf returns the ration of a look; that of an owed one if ctx has none.
func RationOf(ctx context.Context) *Ration {
	if n, ok := ctx.Value(rationKey{}).(*Ration); ok {
		return n
	}
	return &Ration{}
}

// pay takes one question to an address that a customer's DNS names from what the
// look and the address have left. It is called for each packet that begins
// something: a datagram, whether sent for the first time or again, and a
// connection. An error: it is not to be sent.
func (r *Resolver) pay(ctx context.Context, to netip.Addr) error {
	if _, barred := r.barred(to); barred {
		return errBarred // what chose it should have known
	}
	n := RationOf(ctx)
	if n.few() && n.left.Add(-1) < 0 || !r.shares[n.cause].take(to, time.Since(r.began)) {
		n.Spend()
		return errSpent
	}
	return nil
}

var errBarred = errors.New("may not be asked")
