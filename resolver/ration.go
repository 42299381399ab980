package resolver

import (
	"context"
	"errors"
	"net/netip"
	"sync"
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

// How many questions a second one address is asked, and at once. A hundred
// thousand customers of one DNS provider who are all new are 100,000 looks in
// 30 s of some six questions to each of its servers, and such a server answers ten
// times that. Hints are of a few customers at a time; fifty questions a second
// are a dozen of them, and no server minds.
const (
	owedRate, owedBurst         = 20_000, 20_000
	provenRate, provenBurst     = 50, 100
	unprovenRate, unprovenBurst = 20, 40
)

// ErrSpent: a question was not asked, because the look or the server has had its
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

type heardKey struct{}

// WithHeard returns a context in which heard is set once an authoritative server
// of the customer's has answered.
func WithHeard(ctx context.Context, heard *atomic.Bool) context.Context {
	return context.WithValue(ctx, heardKey{}, heard)
}

// noteHeard says that an authoritative server has answered.
func noteHeard(ctx context.Context) {
	if heard, ok := ctx.Value(heardKey{}).(*atomic.Bool); ok {
		heard.Store(true)
	}
}

// Pay takes one question to an address that a customer's DNS names from what the
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

// ShareLimit bounds the addresses of which a share is remembered.
const shareLimit = 1 << 16

// Share bounds how often each of many addresses is asked: the generic cell rate
// algorithm, which needs one time per address and forgets it when it is past.
type share struct {
	every time.Duration // between two questions in the long run
	burst int
	limit int // of addresses

	mu    sync.Mutex
	full  map[netip.Addr]time.Duration // when the address has its whole burst again
	swept time.Duration
}

func newShare(rate, burst int) *share {
	return &share{every: time.Second / time.Duration(rate), burst: burst, limit: shareLimit,
		full: make(map[netip.Addr]time.Duration)}
}

// Take reports whether an address may be asked once more now, a time since some
// beginning, and counts it if so.
func (s *share) take(to netip.Addr, now time.Duration) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	at, known := s.full[to]
	if at = max(at, now); at-now > s.every*time.Duration(s.burst-1) {
		return false
	}
	if !known && len(s.full) >= s.limit {
		s.makeRoom(now)
	}
	s.full[to] = at + s.every
	return true
}

// MakeRoom forgets the addresses that have their whole burst again, at most once
// in the time that takes, and any one if there is none.
func (s *share) makeRoom(now time.Duration) {
	if s.swept == 0 || now-s.swept >= s.every*time.Duration(s.burst) {
		s.swept = now
		for to, at := range s.full {
			if at <= now {
				delete(s.full, to)
			}
		}
	}
	for to := range s.full {
		if len(s.full) < s.limit {
			return
		}
		delete(s.full, to)
	}
}
