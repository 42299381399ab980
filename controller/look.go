package controller

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
	"github.com/apoxy-dev/caddy-apoxy/ownership"
	"github.com/apoxy-dev/caddy-apoxy/resolver"
	"github.com/apoxy-dev/caddy-apoxy/store"
)

// errTooSlow ends a look that outlasts its place when there is no other.
var errTooSlow = errors.New("no place for a slow look")

// errSpent ends a look that a hint caused and that had its share before it was done.
var errSpent = errors.New("the look has had its share of questions")

// retryAfter is when work is tried again that the store failed.
const retryAfter = 5 * time.Second

// damagedAfter is when a record is looked at again that is damaged in the store.
// Its being mended is heard of sooner.
const damagedAfter = 10 * time.Minute

// work does what was demanded of e, then gives its place back.
func (c *Controller) work(ctx context.Context, e *item, what work, waiters []chan error) {
	var err error
	switch {
	case !c.cfg.Live():
		err = errNotLive
	case what&workLook != 0:
		err = c.look(rationed(ctx, what), e, len(waiters) > 0 || what&workFull != 0)
		if errors.Is(err, errSpent) {
			c.postpone(e)
			if err = nil; what&workJudge != 0 { // what other rooms have to tell waits for no share of questions
				err = c.judge(ctx, e)
			}
		}
	case what&workGlance != 0:
		err = c.glance(ctx, e, what&workJudge != 0)
	default:
		err = c.judge(ctx, e)
	}

	c.mu.Lock()
	switch {
	case errors.Is(err, errTooSlow) && !c.running:
		err = errStopped
	case errors.Is(err, errTooSlow):
		// Begin again among those that are like it.
		e.pending |= what
		r := e.note()
		r.waiters = append(waiters, r.waiters...)
		waiters = nil
	}
	if errors.Is(err, store.ErrNotFound) && c.byName[e.name] == e {
		c.drop(e)
	}
	switch {
	case errors.Is(err, store.ErrDamaged):
		c.queue.schedule(e, c.cfg.Now().Add(damagedAfter))
	case e.due == 0 || err != nil && ctx.Err() == nil:
		c.queue.schedule(e, c.cfg.Now().Add(retryAfter))
	}
	c.queue.done(e)
	c.mu.Unlock()
	c.poke()
	answerAll(waiters, err)
	if err != nil && ctx.Err() == nil && !errors.Is(err, store.ErrNotFound) && !errors.Is(err, errTooSlow) && !errors.Is(err, errNotLive) {
		c.cfg.Logger.Error("looking at a record failed; it is tried again", zap.String("record", e.name), zap.Error(err))
	}
}

// sighting is what DNS was seen to hold for one record.
type sighting struct {
	uid                           string
	traffic, challenge, ownership ownership.DNSObservation
	caa                           ownership.CAAObservation
	caaSum                        [sha256.Size]byte // of caa; zero: could not tell
	fresh                         bool              // seen just now
	unlooked                      bool              // not seen at all: what was found before holds
	glanced                       bool              // some of it seen for an unproven hint
}

// tells reports whether what was seen may decide on ownership: it was just now, and
// where it is of this outcome, not by one server alone.
func (s *sighting) tells(outcome ownership.Outcome) bool {
	for _, o := range []*ownership.DNSObservation{&s.traffic, &s.challenge, &s.ownership} {
		if o.Brief && o.Outcome == outcome {
			return false
		}
	}
	return s.fresh
}

// look observes, and brings the status to what that means. Full: every server is asked,
// also of what one would do to say.
func (c *Controller) look(ctx context.Context, e *item, full bool) error {
	v, err := c.read(ctx, e.name)
	if err != nil {
		return err
	}
	s, err := c.observeInTime(ctx, e, v.record, full)
	if err != nil {
		return err
	}
	s.fresh = true
	if c.cfg.Stored != nil && v.record.WantsTLS() {
		c.cfg.Stored(ctx, v.record.Spec.Name)
	}
	status, err := c.settle(ctx, e, v, s)
	if err != nil {
		return err
	}
	judged := *v.record
	judged.Status = *status
	if err := c.expire(ctx, &judged); err != nil {
		return err
	}
	s.fresh = false
	if before, _ := c.seen.Get(e.name); c.caaMended(v.record, before, s) {
		c.cfg.Issuance.Retry(v.record.Spec.Name)
	}
	if isTrue(status, v1alpha3.ConditionReady) {
		c.seen.Drop(e.name)
	} else {
		c.seen.Put(e.name, keepable(s), seenFor)
	}
	return nil
}

// observeInTime observes for as long as the look has a place, and notes how
// soon the domain answers. It returns errTooSlow if there is no place any more.
func (c *Controller) observeInTime(ctx context.Context, e *item, r *v1alpha3.DomainRecord, full bool) (*sighting, error) {
	lookCtx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var heard atomic.Bool
	finished := false // guarded by c.mu
	c.mu.Lock()
	most := patience(e.track)
	c.mu.Unlock()
	if most > 0 {
		timer := time.AfterFunc(most, func() {
			c.mu.Lock()
			ok := finished || c.queue.outlasts(e, heard.Load(), c.cfg.Now())
			c.mu.Unlock()
			if !ok {
				cancel(errTooSlow)
			}
			c.poke()
		})
		defer timer.Stop()
	}
	began := time.Now()
	s := c.observe(resolver.WithHeard(lookCtx, &heard), r, full)
	took := time.Since(began)
	c.mu.Lock()
	defer c.mu.Unlock()
	finished = true
	if lookCtx.Err() != nil {
		return nil, context.Cause(lookCtx)
	}
	if n := resolver.RationOf(ctx); n.Spent() {
		if n.Cause() != resolver.Owed {
			return nil, errSpent // a hint is no reason to say that something could not be told
		}
	} else {
		c.queue.learn(e, took, heard.Load() || s.answered(), c.cfg.Now())
	}
	checkDuration.Observe(took.Seconds())
	return s, nil
}

// caaMended reports whether the CAA records now allow what issuance was refused
// for them, or can be looked up again where it waits for that. That they looked so
// before as well is no news: then the authority knows better, and its pause counts.
func (c *Controller) caaMended(r *v1alpha3.DomainRecord, before, now *sighting) bool {
	o := c.cfg.Issuance.Observe(r.Spec.Name)
	stopped := o.Work == ownership.WorkCAAForbids || o.AwaitsDNS()
	if !stopped || now.caa.Outcome == ownership.CouldNotTell ||
		ownership.DiagnoseCAA(r, now.caa, c.cfg.Settings().Issuers,
			isTrue(&r.Status, v1alpha3.ConditionACMEChallengeDelegationReady), isTrue(&r.Status, v1alpha3.ConditionCNAMEConfigured)) != nil {
		return false
	}
	return before == nil || before.uid != now.uid || before.caaSum != now.caaSum
}

// keepable leaves out a CAA record set that is too large to be kept: then the last
// verdict on it holds until the next look.
func keepable(s *sighting) *sighting {
	const most = 4096 // octets
	size := 0
	for _, r := range s.caa.Records {
		size += len(r.Tag) + len(r.Value)
	}
	if size > most {
		s.caa = ownership.CAAObservation{}
	}
	return s
}

func sumOfCAA(o ownership.CAAObservation) [sha256.Size]byte {
	if o.Outcome == ownership.CouldNotTell {
		return [sha256.Size]byte{}
	}
	return sha256.Sum256(fmt.Appendf(nil, "%d %q %q", o.Outcome, o.Domain, o.Records))
}

// lastSeen is what DNS was last seen to hold for a record, as far as that is kept.
func (c *Controller) lastSeen(r *v1alpha3.DomainRecord) *sighting {
	if s, ok := c.seen.Get(r.Name); ok && s.uid == string(r.UID) {
		return s
	}
	return &sighting{uid: string(r.UID), unlooked: true}
}

// judge evaluates anew what other rooms know, with what DNS was last seen to hold.
func (c *Controller) judge(ctx context.Context, e *item) error {
	v, err := c.read(ctx, e.name)
	if err != nil {
		return err
	}
	if _, err = c.settle(ctx, e, v, c.lastSeen(v.record)); err != nil {
		return err
	}
	if v.record.WantsTLS() && c.cfg.Issuance.Observe(v.record.Spec.Name).Work == ownership.WorkFailed {
		c.Hint(v.record.Spec.Name) // perhaps DNS is not as it was last seen
	}
	return nil
}

// observe asks DNS everything that matters to a record, all at once.
func (c *Controller) observe(ctx context.Context, r *v1alpha3.DomainRecord, full bool) *sighting {
	s := &sighting{uid: string(r.UID)}
	host := r.Spec.Name
	var wg sync.WaitGroup
	dns := func(into *ownership.DNSObservation, kind resolver.Kind, purpose v1alpha3.DNSPurpose, check string) {
		ctx := ctx
		if !full {
			ctx = resolver.WithBefore(ctx, ownership.BeforeAt(r, purpose))
		}
		wg.Go(func() {
			*into = c.cfg.Resolver.Observe(ctx, host, kind)
			countCheck(check, into.Outcome)
		})
	}
	dns(&s.traffic, resolver.KindTraffic, v1alpha3.PurposeTraffic, checkTraffic)
	dns(&s.ownership, resolver.KindOwnership, v1alpha3.PurposeOwnership, checkOwnership)
	if r.WantsTLS() {
		dns(&s.challenge, resolver.KindACMEChallenge, v1alpha3.PurposeACMEChallenge, checkChallenge)
		// CAA matters from when a certificate may be ordered until there is one.
		if !isTrue(&r.Status, v1alpha3.ConditionTLSReady) && (isTrue(&r.Status, v1alpha3.ConditionACMEChallengeDelegationReady) ||
			isTrue(&r.Status, v1alpha3.ConditionCNAMEConfigured)) {
			wg.Go(func() {
				if set, err := c.cfg.Resolver.CAA(ctx, host); err == nil {
					s.caa = set
				}
				s.caaSum = sumOfCAA(s.caa)
				countCheck(checkCAA, s.caa.Outcome)
			})
		}
	}
	wg.Wait()
	return s
}
