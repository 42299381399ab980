package controller

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"go.uber.org/zap"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
	"github.com/apoxy-dev/caddy-apoxy/issuance"
	"github.com/apoxy-dev/caddy-apoxy/ownership"
	"github.com/apoxy-dev/caddy-apoxy/store"
)

// ErrTooSlow ends a look that outlasts its place when there is no other.
var errTooSlow = errors.New("no place for a slow look")

// RetryAfter is when work is tried again that the store failed.
const retryAfter = 5 * time.Second

// Work does what was demanded of e, then gives its place back.
func (c *Controller) work(ctx context.Context, e *entry, what work, waiters []chan error) {
	began := time.Now()
	var err error
	finished := false // guarded by c.mu
	if what&workLook != 0 {
		lookCtx, cancel := context.WithCancelCause(ctx)
		slow := time.AfterFunc(slowAfter, func() {
			c.mu.Lock()
			ok := finished || c.queue.outlasts(e)
			c.mu.Unlock()
			if !ok {
				cancel(errTooSlow)
			}
			c.poke()
		})
		err = c.look(lookCtx, e)
		slow.Stop()
		if context.Cause(lookCtx) == errTooSlow {
			err = errTooSlow
		}
		cancel(nil)
	} else {
		err = c.judge(ctx, e)
	}
	took := time.Since(began)

	c.mu.Lock()
	finished = true
	switch {
	case errors.Is(err, errTooSlow):
		// Begin again in the slow lane.
		c.queue.paced(e, false)
		e.pending |= what
		e.waiters = append(waiters, e.waiters...)
		waiters = nil
	case what&workLook != 0 && ctx.Err() == nil:
		c.queue.paced(e, took <= slowAfter)
	}
	if errors.Is(err, store.ErrNotFound) && c.byName[e.name] == e {
		c.drop(e)
	}
	if e.due == 0 || err != nil && ctx.Err() == nil {
		c.queue.schedule(e, c.cfg.Now().Add(retryAfter))
	}
	c.queue.done(e)
	c.mu.Unlock()
	c.poke()
	answerAll(waiters, err)
	if err != nil && ctx.Err() == nil && !errors.Is(err, store.ErrNotFound) && !errors.Is(err, errTooSlow) {
		c.cfg.Logger.Error("looking at a record failed; it is tried again", zap.String("record", e.name), zap.Error(err))
	}
}

// Sighting is what DNS was seen to hold for one record.
type sighting struct {
	uid                           string
	traffic, challenge, ownership ownership.DNSObservation
	caa                           ownership.CAAObservation
	fresh                         bool // seen just now
	unlooked                      bool // not seen at all: what was found before holds
}

// Look observes, and brings the status to what that means.
func (c *Controller) look(ctx context.Context, e *entry) error {
	v, err := c.read(ctx, e.name)
	if err != nil {
		return err
	}
	began := time.Now()
	s := c.observe(ctx, v.record)
	if err := ctx.Err(); err != nil {
		return err
	}
	checkDuration.Observe(time.Since(began).Seconds())
	s.fresh = true
	status, err := c.settle(ctx, e, v, s)
	if err != nil {
		return err
	}
	s.fresh = false
	if isTrue(status, v1alpha3.ConditionReady) {
		c.seen.drop(e.name)
	} else {
		c.seen.put(e.name, s, seenFor)
	}
	return nil
}

// Judge evaluates anew what other rooms know, with what DNS was last seen to hold.
func (c *Controller) judge(ctx context.Context, e *entry) error {
	v, err := c.read(ctx, e.name)
	if err != nil {
		return err
	}
	s, ok := c.seen.get(e.name)
	if !ok || s.uid != string(v.record.UID) {
		s = &sighting{uid: string(v.record.UID), unlooked: true}
	}
	_, err = c.settle(ctx, e, v, s)
	return err
}

// Observe asks DNS everything that matters to a record, all at once.
func (c *Controller) observe(ctx context.Context, r *v1alpha3.DomainRecord) *sighting {
	s := &sighting{uid: string(r.UID)}
	host := r.Spec.Name
	var wg sync.WaitGroup
	dns := func(into *ownership.DNSObservation, kind Kind, check string) {
		wg.Go(func() {
			*into = c.cfg.Resolver.Observe(ctx, host, kind)
			countCheck(check, into.Outcome)
		})
	}
	dns(&s.traffic, KindTraffic, checkTraffic)
	dns(&s.ownership, KindOwnership, checkOwnership)
	if r.WantsTLS() {
		dns(&s.challenge, KindACMEChallenge, checkChallenge)
		if cert := r.Status.Certificate; cert == nil || cert.NotAfter == nil || !cert.NotAfter.After(c.cfg.Now()) {
			wg.Go(func() {
				s.caa = c.lookAtCAA(ctx, host)
				countCheck(checkCAA, s.caa.Outcome)
			})
		}
	}
	wg.Wait()
	return s
}

func (c *Controller) lookAtCAA(ctx context.Context, host string) ownership.CAAObservation {
	props, err := c.cfg.Resolver.CAA(ctx, host)
	if err != nil {
		return ownership.CAAObservation{}
	}
	if len(props) == 0 {
		return ownership.CAAObservation{Outcome: ownership.Absent}
	}
	o := ownership.CAAObservation{Outcome: ownership.Seen, Domain: props[0].Domain}
	for _, p := range props {
		o.Records = append(o.Records, ownership.CAARecord{Flag: p.Flag, Tag: p.Tag, Value: p.Value})
	}
	return o
}

// MaxConflicts bounds how often a status is evaluated anew because the record
// was written meanwhile.
const maxConflicts = 20

// Settle evaluates, writes the status if it is different, tells issuance what is
// wanted, and schedules the next look.
func (c *Controller) settle(ctx context.Context, e *entry, v *version, s *sighting) (*v1alpha3.DomainRecordStatus, error) {
	for range maxConflicts {
		d, err := c.decide(ctx, v, s)
		if err != nil {
			return nil, err
		}
		if d.verdict.Falls && !s.fresh {
			// What was seen some time ago must not take a domain down.
			c.mu.Lock()
			c.queue.demand(e, workLook)
			c.mu.Unlock()
			return &v.record.Status, nil
		}
		changed := !ownership.Equal(v.record.Status, d.verdict.Status)
		if changed || d.released != nil {
			err = c.write(ctx, v, d)
		}
		if conflict := (*store.ConflictError)(nil); errors.As(err, &conflict) {
			c.brake.undo(e.name, d.fell)
			uid := v.record.UID
			if v, err = c.read(ctx, e.name); err != nil {
				return nil, err
			}
			if v.record.UID != uid {
				return nil, errGone
			}
			continue
		}
		if err != nil {
			c.brake.undo(e.name, d.fell)
			return nil, err
		}
		before := v.record.Status
		v.record.Status = d.verdict.Status
		c.tell(v.record, &before)
		c.want(e, v.record, d.verdict)
		c.plan(e, v.record, s.fresh, changed)
		return &v.record.Status, nil
	}
	return nil, fmt.Errorf("writing the status of record %q: others write it all the time", e.name)
}

// Decision is a verdict and what else follows from it.
type decision struct {
	verdict  ownership.Verdict
	fell     time.Time // counted by the brake; zero: not
	released *store.Op
}

func (c *Controller) decide(ctx context.Context, v *version, s *sighting) (*decision, error) {
	r, now, settings := v.record, c.cfg.Now(), c.cfg.Settings()
	claim, err := c.claim(ctx, r)
	if err != nil {
		return nil, err
	}
	in := ownership.Input{
		Record: r, Settings: settings, Now: now, Token: claim.token,
		Observations: ownership.Observations{
			Traffic: s.traffic, ACMEChallenge: s.challenge, Ownership: s.ownership, CAA: s.caa,
			Target: ownership.TargetObservation{Unknown: true},
		},
	}
	if r.WantsTLS() {
		in.Observations.Certificate = c.cfg.Issuance.Observe(r.Spec.Name)
	}
	if ref := r.Spec.Target.Ref; ref != nil {
		in.Observations.Target = c.target(*ref)
	}
	d := &decision{verdict: ownership.Evaluate(in)}
	if d.verdict.Falls && s.fresh {
		verified := int(c.cfg.Table.Count(v1alpha3.ConditionOwnershipVerified, metav1.ConditionTrue))
		if c.brake.lets(r.Name, now, settings.DetachAfter, verified, c.cfg.Logger) {
			d.fell = now
		} else {
			in.HoldDetach = true
			d.verdict = ownership.Evaluate(in)
		}
	}
	if d.fell.IsZero() && !d.verdict.Falls {
		c.brake.note(r.Name, d.verdict.Withdrawing || d.verdict.Held, d.verdict.WithdrawnSince)
	}
	if s.unlooked {
		holdMessages(&r.Status, &d.verdict.Status)
	}
	d.released = claim.settled(r, &d.verdict.Status, now)
	return d, nil
}

// HoldMessages keeps what was last said of DNS in a status that was evaluated
// without looking at it.
func holdMessages(before, now *v1alpha3.DomainRecordStatus) {
	for i := range now.Conditions {
		n := &now.Conditions[i]
		b := before.Condition(n.Type)
		if b == nil || b.Status != n.Status || b.Reason != n.Reason {
			continue
		}
		switch n.Type {
		case v1alpha3.ConditionACMEChallengeDelegationReady, v1alpha3.ConditionCNAMEConfigured:
			n.Message = b.Message
		case v1alpha3.ConditionOwnershipVerified:
			if n.Reason != v1alpha3.ReasonTLSCertificateIssued {
				n.Message = b.Message
			}
		case v1alpha3.ConditionReady:
			switch n.Reason {
			case v1alpha3.ReasonCNAMENotConfigured, v1alpha3.ReasonCNAMEMismatch,
				v1alpha3.ReasonOwnershipNotVerified, v1alpha3.ReasonProofWithdrawn:
				n.Message = b.Message
			}
		}
	}
}

// Want tells issuance what the verdict asks for.
func (c *Controller) want(e *entry, r *v1alpha3.DomainRecord, v ownership.Verdict) {
	host := r.Spec.Name
	if !v.WantCertificate {
		c.cfg.Issuance.Forget(host)
		return
	}
	c.cfg.Issuance.Want(wantOf(r, v.DNS01, v.HTTP01))
	c.mu.Lock()
	gone, other := e.gone, c.ofHost(host)
	c.mu.Unlock()
	if gone { // deleted in these moments
		c.cfg.Issuance.Forget(host)
		if other != nil {
			c.Wake(other.name)
		}
	}
}

func wantOf(r *v1alpha3.DomainRecord, dns01, http01 bool) issuance.Want {
	w := issuance.Want{Hostname: r.Spec.Name, UID: string(r.UID), Owner: r.Owner(), DNS01: dns01, HTTP01: http01}
	if r.Spec.TLS != nil {
		w.CertificateAuthority = r.Spec.TLS.CertificateAuthority
	}
	return w
}

// Plan schedules the next look.
func (c *Controller) plan(e *entry, r *v1alpha3.DomainRecord, looked, changed bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	next := ownership.NextLook(r, e.activity(), c.cfg.Settings(), c.cfg.Now(), c.cfg.Rand())
	if e.hintDue != 0 && e.hintDue < next.UnixNano() {
		next = time.Unix(0, e.hintDue)
	}
	if looked || e.due == 0 || next.UnixNano() < e.due {
		c.queue.schedule(e, next)
	}
	if changed {
		e.hintStep = 0
	}
}

func (e *entry) activity() ownership.Activity {
	var a ownership.Activity
	if e.lastWrite != 0 {
		a.LastWrite = time.Unix(e.lastWrite, 0)
	}
	if e.lastHint != 0 {
		a.LastHint = time.Unix(e.lastHint, 0)
	}
	return a
}

// Version is a record as the store holds it.
type version struct {
	record   *v1alpha3.DomainRecord
	raw      []byte
	revision int64
}

func recordKey(name string) string { return v1alpha3.Resource + "/" + name }

// Read returns the record as it is now. Errors: store.ErrNotFound among others.
func (c *Controller) read(ctx context.Context, name string) (*version, error) {
	entry, _, err := c.cfg.Store.Get(ctx, recordKey(name))
	if err != nil {
		return nil, fmt.Errorf("reading record %q: %w", name, err)
	}
	r := new(v1alpha3.DomainRecord)
	if err := json.Unmarshal(entry.Value, r); err != nil {
		return nil, fmt.Errorf("decoding record %q: %w", name, err)
	}
	return &version{r, entry.Value, entry.Revision}, nil
}

// Write replaces the status and leaves every other field as it is stored, known
// or not.
func (c *Controller) write(ctx context.Context, v *version, d *decision) error {
	var fields map[string]json.RawMessage
	err := json.Unmarshal(v.raw, &fields)
	if err == nil {
		fields["status"], err = json.Marshal(d.verdict.Status)
	}
	var value []byte
	if err == nil {
		value, err = json.Marshal(fields)
	}
	if err != nil {
		return fmt.Errorf("encoding record %q: %w", v.record.Name, err)
	}
	ops := []store.Op{{Key: recordKey(v.record.Name), Value: value, If: v.revision}}
	if d.released != nil {
		ops = append(ops, *d.released)
	}
	if _, err := c.cfg.Store.Write(ctx, ops...); err != nil {
		return fmt.Errorf("writing the status of record %q: %w", v.record.Name, err)
	}
	return nil
}

func isTrue(s *v1alpha3.DomainRecordStatus, kind string) bool {
	c := s.Condition(kind)
	return c != nil && c.Status == metav1.ConditionTrue
}
