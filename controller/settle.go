package controller

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
	"github.com/apoxy-dev/caddy-apoxy/hosts"
	"github.com/apoxy-dev/caddy-apoxy/issuance"
	"github.com/apoxy-dev/caddy-apoxy/ownership"
	"github.com/apoxy-dev/caddy-apoxy/store"
)

// maxConflicts bounds how often a status is evaluated anew because the record
// was written meanwhile.
const maxConflicts = 20

// settle evaluates, writes the status if it is different, tells issuance what is
// wanted, and schedules the next look.
func (c *Controller) settle(ctx context.Context, e *item, v *version, s *sighting) (*v1alpha3.DomainRecordStatus, error) {
	c.takeOver(e, v.record)
	for range maxConflicts {
		d, err := c.decide(ctx, e, v, s)
		if err != nil {
			return nil, err
		}
		if s.glanced && (d.verdict.Falls || d.verdict.OpensByDNS && d.verdict.Status.Ownership.Proof == v1alpha3.ReasonApoxyChallengeConfigured) {
			return &v.record.Status, nil // a glance saw neither; and no unproven hint causes a look in full
		}
		if !s.glanced && (d.verdict.Falls && !s.tells(ownership.Absent) || d.verdict.OpensByDNS && !s.tells(ownership.Seen)) {
			// What was seen some time ago, or said by one server, must neither take a
			// domain down nor verify it.
			c.mu.Lock()
			c.queue.demand(e, workLook|workFull)
			c.mu.Unlock()
			return &v.record.Status, nil
		}
		changed := !ownership.Equal(v.record.Status, d.verdict.Status)
		switch {
		case changed && !c.cfg.Live(): // it was paused, perhaps for long
			err = errNotLive
		case changed:
			err = c.write(ctx, v, d)
		}
		if err != nil {
			c.brake.undo(e.name, d.fell)
		}
		if conflict := (*store.ConflictError)(nil); errors.As(err, &conflict) {
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
			return nil, err
		}
		before := v.record.Status
		v.record.Status, e.newName = d.verdict.Status, d.verdict.NewName
		if l := c.cfg.Logger.Check(zap.DebugLevel, "judged a record"); l != nil {
			l.Write(zap.String("record", e.name), zap.Bool("looked", s.fresh), zap.Bool("changed", changed),
				zap.String("phase", string(v.record.Status.Phase)), zap.Bool("wanted", d.verdict.WantCertificate))
		}
		c.tell(v, &before)
		c.want(e, v.record, d.verdict)
		c.plan(e, v.record, d.until, s.fresh, changed)
		return &v.record.Status, nil
	}
	return nil, fmt.Errorf("writing the status of record %q: others write it all the time", e.name)
}

// decision is a verdict and what else follows from it.
type decision struct {
	verdict ownership.Verdict
	fell    time.Time // counted by the brake; zero: not
	until   time.Time // kept from falling by the brake until then; zero: is not
	// beside is written with the status: conditions that an opening verdict
	// rests on, and who holds the hostname from then on.
	beside []store.Op
}

func (c *Controller) decide(ctx context.Context, e *item, v *version, s *sighting) (*decision, error) {
	r, now, settings := v.record, c.cfg.Now(), c.cfg.Settings()
	var k grounds
	var err error
	if known := r.Established(); !known.Verified || known.Token { // no contest matters to the others
		if k, err = c.grounds(ctx, r, nil); err != nil {
			return nil, err
		}
	}
	in := ownership.Input{
		Record: r, Settings: settings, Now: now, Contest: k.contest, NewName: e.newName,
		Observations: ownership.Observations{
			Traffic: s.traffic, ACMEChallenge: s.challenge, Ownership: s.ownership, CAA: s.caa,
			Target: ownership.TargetObservation{Unknown: true},
		},
	}
	if in.Covered, err = c.covered(ctx, &k, r, &s.traffic); err != nil {
		return nil, err
	}
	if r.WantsTLS() {
		in.Observations.Certificate = c.cfg.Issuance.Observe(r.Spec.Name)
	}
	if key := r.Spec.Target.Key(); key != (v1alpha3.TargetKey{}) {
		if in.Observations.Target = c.target(key); in.Observations.Target.OfRecord {
			in.Observations.Target = c.cfg.TargetOf(hosts.FromRecord(r, v.revision))
		}
	}
	d := &decision{verdict: ownership.Evaluate(in)}
	if d.verdict.Falls && doubtLoneResolver(&in.Observations) {
		d.verdict = ownership.Evaluate(in)
	}
	if d.verdict.Falls && s.tells(ownership.Absent) {
		rule := c.brake.rule(r.Name, r.Owner(), d.verdict.WithdrawnSince, now)
		if d.fell, d.until = rule.fell, rule.until; rule.held {
			in.HoldDetach, in.HeldSince, in.HeldUntil = true, rule.since, rule.until
			d.verdict = ownership.Evaluate(in)
		}
	}
	switch v := &d.verdict; {
	case v.Falls:
	case v.Withdrawing:
		c.brake.note(r.Name, r.Owner(), v.WithdrawnSince, now)
	default:
		c.brake.forget(r.Name, now)
	}
	d.verdict.Status.DomainConnect = c.connect(r, &d.verdict.Status)
	if s.unlooked {
		holdMessages(&r.Status, &d.verdict.Status)
	}
	if d.verdict.Opens || r.Verified() && r.Status.Ownership == nil {
		d.beside, err = k.held(r, &d.verdict.Status, now)
	}
	return d, err
}

// connect is the link of a record with a status. What a client wrote is none.
func (c *Controller) connect(r *v1alpha3.DomainRecord, s *v1alpha3.DomainRecordStatus) *v1alpha3.DomainConnectStatus {
	if c.cfg.Connect == nil {
		return nil
	}
	if r.Established().Overwritten {
		s.DomainConnect = nil
	}
	return c.cfg.Connect(r, s)
}

// doubtLoneResolver takes back what only one recursive resolver said, because no
// single resolver's word takes a domain down. It reports whether there was any.
func doubtLoneResolver(o *ownership.Observations) bool {
	doubted := false
	for _, d := range []*ownership.DNSObservation{&o.Traffic, &o.ACMEChallenge, &o.Ownership} {
		if d.Cached && !d.Barred && d.Outcome != ownership.CouldNotTell && len(d.Servers) < 2 {
			*d = ownership.DNSObservation{At: d.At, Cached: true,
				Err: "only one recursive resolver could be asked, and none is believed alone that every proof is gone; configure a second"}
			doubted = true
		}
	}
	return doubted
}

// holdMessages keeps what was last said of DNS in a status that was evaluated
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

// want tells issuance what the verdict asks for.
func (c *Controller) want(e *item, r *v1alpha3.DomainRecord, v ownership.Verdict) {
	host := r.Spec.Name
	if !v.WantCertificate {
		c.cfg.Issuance.Forget(host)
		return
	}
	w := wantOf(e, r, v.DNS01, v.HTTP01)
	w.DNS01From, w.HTTP01From = seconds(v.DNS01From), seconds(v.HTTP01From)
	c.cfg.Issuance.Want(w)
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

// seconds is a time in Unix seconds, 0 for none.
func seconds(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.Unix()
}

// wantOf is what a record wants.
func wantOf(e *item, r *v1alpha3.DomainRecord, dns01, http01 bool) issuance.Want {
	host := r.Spec.Name
	if host == e.hostname {
		host = e.hostname // one copy in memory
	}
	w := issuance.Want{Hostname: host, UID: string(r.UID), Owner: r.Owner(), CertificateAuthority: r.Authority(), DNS01: dns01, HTTP01: http01, Verified: r.Verified()}
	for _, kind := range []string{v1alpha3.ConditionACMEChallengeDelegationReady, v1alpha3.ConditionCNAMEConfigured} {
		c := r.Status.Condition(kind)
		if c == nil || c.Status != metav1.ConditionTrue {
			continue
		}
		if at := c.LastTransitionTime.Unix(); w.Since == 0 || at < w.Since {
			w.Since = at
		}
	}
	return w
}

// plan schedules the next look. What the fleet brake keeps from falling is looked
// at when its time is over, at until.
func (c *Controller) plan(e *item, r *v1alpha3.DomainRecord, until time.Time, looked, changed bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now, jitter := c.cfg.Now(), c.cfg.Rand()
	next := ownership.NextLook(r, c.activity(e), c.cfg.Settings(), now, jitter)
	next = rested(r, next, now, c.queue.memory.rest(e.domain(), now), jitter)
	if !until.IsZero() {
		next = earlier(next, now.Add(until.Sub(now))) // so by the same reading of the clock as the brake
	}
	if owed := e.known().hintDue; owed != 0 && owed < next.UnixNano() {
		next = time.Unix(0, owed)
	}
	next = e.mending(now, next)
	if looked || e.due == 0 || next.UnixNano() < e.due {
		c.queue.schedule(e, next)
	}
	if changed {
		e.forget(func(r *rare) { r.hintStep = 0 })
	}
}

// rested puts a look at a silent domain off: to when its rest is over, up to a
// fifth early, but not past the certificate's expiry.
func rested(r *v1alpha3.DomainRecord, next, now time.Time, rest time.Duration, jitter float64) time.Time {
	later := now.Add(rest - time.Duration(0.2*jitter*float64(rest)))
	if c := r.Status.Certificate; c != nil && c.NotAfter != nil && c.NotAfter.After(now) && c.NotAfter.Time.Before(later) {
		later = c.NotAfter.Time
	}
	if later.Before(next) {
		return next
	}
	return later
}

func (c *Controller) activity(e *item) ownership.Activity {
	a := ownership.Activity{Verified: c.verified()}
	if r := e.known(); r.lastWrite != 0 {
		a.LastWrite = time.Unix(r.lastWrite, 0)
	}
	if r := e.known(); r.lastHint != 0 {
		a.LastHint = time.Unix(r.lastHint, 0)
	}
	return a
}
