package issuance

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/apoxy-dev/caddy-apoxy/issuance/acme"

	acmez "github.com/mholt/acmez/v3/acme"
	"go.uber.org/zap"

	"github.com/apoxy-dev/caddy-apoxy/internal/times"
	"github.com/apoxy-dev/caddy-apoxy/internal/words"
	"github.com/apoxy-dev/caddy-apoxy/issuance/certfiles"
	"github.com/apoxy-dev/caddy-apoxy/issuance/fairqueue"
	"github.com/apoxy-dev/caddy-apoxy/issuance/revocation"
)

// job is one step of work on a hostname, with copies of what it needs.
type job struct {
	s        *Scheduler
	hostname string
	want     Want
	rec      record
	flight   *flight
	step     step
	cas      []*ca                   // that may be asked, best first
	ways     int                     // challenge types that could be used at the last try
	after    []func(context.Context) // once it has landed
	hooks    *hooked                 // of an order; nil: its events are certmagic's
	// ordered are the CAs that an order was placed at.
	ordered []string
}

var (
	errBudget = errors.New("the order budget is used up")
	// errHeld: another issuance learnt that the CA is to be left alone.
	errHeld = errors.New("the certificate authority asked to wait")
)

func (j *job) run(ctx context.Context) landing {
	before := j.rec
	l := j.take(ctx)
	if j.step != stepDrop && j.step != stepDisown {
		j.clean(ctx, &before, &l.rec)
	}
	return l
}

func (j *job) take(ctx context.Context) landing {
	switch j.step {
	case stepLook:
		return j.look(ctx)
	case stepARI:
		return j.pollARI(ctx)
	case stepOCSP:
		return j.pollOCSP(ctx)
	case stepDrop, stepDisown:
		return j.drop(ctx)
	}
	j.hooks = j.hook()
	l := j.order(ctx)
	j.gaveUp(ctx)
	return l
}

// lockPatience is how long the lock of a hostname is tried to be had. Some storages
// take seconds for one try.
const lockPatience = 200 * time.Millisecond

// order obtains or renews.
func (j *job) order(ctx context.Context) landing {
	began := j.s.now()
	storage := j.cas[0].Storage()
	locked, err := certfiles.TryLock(ctx, storage, j.hostname)
	for tried := time.Now(); err == nil && !locked && ctx.Err() == nil && time.Since(tried) < lockPatience; {
		// A handshake near the end of a certificate holds it for a moment, over
		// and over, or waits for this work to end; another node holds it for longer.
		select {
		case <-ctx.Done():
		case <-time.After(20 * time.Millisecond):
		}
		locked, err = certfiles.TryLock(ctx, storage, j.hostname)
	}
	if err != nil {
		return j.failed(ctx, j.cas[0], "", &acme.Failure{Class: acme.ClassOperator, Err: err, Message: "locking in storage failed: " + words.Cut(err.Error(), 200)})
	}
	if !locked { // another node, or a handshake
		return landing{rec: j.rec, again: 2 * time.Second, quiet: true}
	}
	defer func() {
		if err := certfiles.Unlock(ctx, storage, j.hostname); err != nil {
			j.s.log.Error("unlocking in storage failed", zap.String("hostname", j.hostname), zap.Error(err))
		}
	}()
	if found, err := j.adopt(ctx); err == nil && found {
		j.evict()
		return landing{rec: j.rec, save: true, looked: true}
	}
	var last landing
	var waited *landing // of a CA that takes its time, while others are asked
	for i, again := 0, false; i < len(j.cas); i++ {
		c := j.cas[i]
		j.s.mu.Lock()
		j.flight.ca = c.Auth.Host()
		j.s.mu.Unlock()
		keys := &storedKey{ca: c, hostname: j.hostname, burnt: j.rec.burnt(), resume: j.rec.Order != nil && j.rec.Order.CA == c.Key}
		res, f := j.obtain(ctx, c, keys)
		if f == nil {
			if err := j.store(ctx, c, keys, res); err != nil {
				return j.failed(ctx, c, res.Method, &acme.Failure{Class: acme.ClassOperator, Err: err, Message: "storing the certificate failed: " + words.Cut(err.Error(), 200)})
			}
			j.evict()
			j.obtained(ctx, c, keys)
			count(c.Key, res.Method, outcomeIssued)
			observeDuration(j.s.now().Sub(began))
			j.s.log.Info("certificate obtained", zap.String("hostname", j.hostname), zap.String("ca", c.Key),
				zap.String("challenge", res.Method), zap.Time("not_after", times.Unix(j.rec.NotAfter)))
			return landing{rec: j.rec, save: true, looked: true}
		}
		if errors.Is(f, errBudget) {
			if waited != nil {
				return *waited
			}
			return landing{rec: j.rec, save: j.rec.Order != nil, quiet: true}
		}
		last = j.failed(ctx, c, j.flight.challenge, f)
		if f.Class == acme.ClassWorking && j.overdue(c) {
			o := *j.rec.Order
			o.Elsewhere = true
			kept := last
			kept.rec.Order, kept.save = &o, true
			waited, j.rec.Order = &kept, nil
			continue
		}
		if ctx.Err() != nil {
			break
		}
		if f.Class == acme.ClassCustomer && j.ways > 1 && !again && len(j.rec.Trouble.Failed) < maxFailed {
			again = true // the other type of challenge, at once
			i--
			continue
		}
		if !f.Elsewhere() {
			break
		}
	}
	if waited != nil {
		return *waited
	}
	return last
}

// isReady notes that the probes let the order be placed, and tells it where a
// failure of theirs was told.
func (j *job) isReady() {
	j.s.mu.Lock()
	e := j.s.entries[j.hostname]
	news := !j.flight.ready && e != nil && e.keptBack() != nil
	j.flight.ready = true
	j.s.mu.Unlock()
	if news {
		j.s.cfg.OnChange(j.hostname)
	}
}

// obtain runs the probes and the flow at one CA.
func (j *job) obtain(ctx context.Context, c *ca, keys requester) (acme.Result, *acme.Failure) {
	ctx, tr, done := acme.WithTrace(ctx, j.s.now, j.gate(c))
	defer done()
	methods, f := j.ready(ctx, c, tr)
	if f == nil {
		f = j.announce(ctx, c)
	}
	if f != nil {
		return acme.Result{}, f
	}
	j.isReady()
	fl := &acme.Flow{
		CA: c.CA, Challenges: j.s.cfg.Challenges, Hostname: j.hostname, Methods: methods,
		Replaces: j.rec.replaces(j.want, c), Resume: j.rec.Order,
		CSR: keys.csr, Known: keys.known(ctx),
		Patience: j.s.patience, Now: j.s.now,
		Alone: func(ctx context.Context, do func() (bool, error)) error { return j.s.alone(ctx, c, do) },
		Began: func(method string) {
			j.s.mu.Lock()
			j.flight.challenge = method
			j.s.mu.Unlock()
		},
		Allow: func(replaces bool) error {
			if replaces {
				return nil
			}
			ok, err := j.s.ledger.take(ctx, c, j.s.now())
			j.s.mu.Lock()
			j.s.unbook(j.flight)
			j.s.mu.Unlock()
			j.s.poke()
			if err != nil {
				return &acme.Failure{Class: acme.ClassOperator, Err: err, Message: words.Cut(err.Error(), 200)}
			}
			if !ok {
				return errBudget
			}
			return nil
		},
		Placed: func(ctx context.Context, ref acme.Order) error {
			j.rec.Order, j.ordered = &ref, append(j.ordered, c.Key)
			j.s.keep(ctx, j.hostname, &j.rec)
			return nil
		},
	}
	if fl.Repeated = j.rec.Order.AtWork(c.Key); fl.Repeated {
		fl.Patience = 0
	}
	res, err := fl.Run(ctx)
	if h := tr.Hold(); h != nil {
		err = h
	}
	var p acmez.Problem
	f = acme.Classify(err, j.hostname)
	if fault := c.FaultLater(err, j.hostname); fault != nil {
		f = fault
	}
	if err == nil || errors.As(err, &p) || f.Class == acme.ClassWorking || f.Down && ctx.Err() == nil { // else nothing was learnt
		j.s.ledger.answered(c, err == nil || !f.Down, f.Message, j.s.now())
	}
	switch {
	case err == nil:
		j.s.reached(ctx, res.Method)
		_, _ = c.CaaIdentities(ctx) // the directory is at hand; this only notes them
		return res, nil
	case errors.Is(err, errBudget):
		return res, &acme.Failure{Class: acme.ClassLimited, Err: errBudget, Message: errBudget.Error()}
	}
	return res, f
}

// ready looks whether a challenge can succeed and returns the types that can, best
// first. Nothing is looked at for an order that the CA works on.
func (j *job) ready(ctx context.Context, c *ca, tr *acme.Trace) ([]string, *acme.Failure) {
	o := j.rec.Order
	if o.AtWork(c.Key) {
		return []string{o.Method}, nil
	}
	methods, f := j.s.methods(ctx, c, j.want, j.pressing())
	if h := tr.Hold(); h != nil {
		return nil, acme.Classify(h, j.hostname)
	}
	if f != nil {
		return nil, f
	}
	j.ways = len(methods)
	if t := j.rec.Trouble; t != nil && len(methods) > 1 && methods[0] == t.Method {
		methods = append(slices.Clone(methods[1:]), t.Method) // what failed last time is not tried first again
	}
	if o != nil && o.CA == c.Key {
		return methods, nil // the CA may be looking at its challenge right now
	}
	return j.s.reachable(ctx, c, j.hostname, methods)
}

// pressing reports whether the certificate that is to be renewed expires soon.
func (j *job) pressing() bool {
	r := &j.rec
	return r.has() && r.proves(j.want) && (r.gone() || urgencyOf(times.Unix(r.Renewal), times.Unix(r.NotAfter), j.s.now()) == fairqueue.Urgent)
}

// gate stops requests while the whole CA is held.
func (j *job) gate(c *ca) func() error {
	return func() error {
		if f := j.s.heldBack(c); f != nil {
			return f
		}
		return nil
	}
}

// store writes the certificate where handshakes load it, and into the record.
func (j *job) store(ctx context.Context, c *ca, keys *storedKey, res acme.Result) error {
	staples := certfiles.Staples(ctx, c.Storage(), c.Key, j.hostname)
	meta := certfiles.Metadata{Certificate: res.Chain, Provenance: &certfiles.Provenance{UID: j.want.UID, Owner: j.want.Owner, Challenge: res.Method}}
	if err := certfiles.Save(context.WithoutCancel(ctx), c.Storage(), c.Key, j.hostname, keys.key, res.Chain.ChainPEM, meta); err != nil {
		return err
	}
	j.removed(certfiles.DeleteKeys(context.WithoutCancel(ctx), c.Storage(), staples))
	return j.note(c, res)
}

// note takes the new certificate over into the record.
func (j *job) note(c *ca, res acme.Result) error {
	leaf, err := certfiles.LeafOf(res.Chain.ChainPEM)
	if err != nil {
		return fmt.Errorf("reading the issued certificate: %w", err)
	}
	method := res.Method
	if method == "" { // the CA reused an authorization of before
		method = j.rec.Challenge
	}
	j.rec.setCertificate(c.Key, method, j.want, leaf, j.s.now())
	if info := res.Chain.RenewalInfo; info != nil {
		var asked time.Time
		if info.RetryAfter != nil {
			asked = *info.RetryAfter
		}
		j.rec.setARI(info.UniqueIdentifier, info, revocation.PollARI(j.s.now(), asked))
	}
	j.rec.schedule(j.hostname, c.ratio)
	if now := j.s.now().Unix(); j.rec.Renewal <= now {
		j.rec.Spared = now // the next one is, then
	}
	return nil
}

func (j *job) evict() {
	for _, c := range j.cas {
		certfiles.Evict(c.cfg, j.hostname)
	}
}

// failed writes a failure into the record.
func (j *job) failed(ctx context.Context, c *ca, method string, f *acme.Failure) landing {
	if j.hooks != nil {
		j.hooks.fault = f
	}
	if ctx.Err() != nil { // stopped, not failed; a placed order is taken up again
		return landing{rec: j.rec, save: j.rec.Order != nil, looked: true, quiet: true}
	}
	if f.Class == acme.ClassWorking {
		return j.stillWorking(c, f)
	}
	now := j.s.now()
	outcome := outcomeFailed
	switch f.Class {
	case acme.ClassLimited:
		outcome = outcomeLimited
	case acme.ClassCAA:
		outcome = outcomeForbids
	case acme.ClassDNS, acme.ClassEdge:
		outcome = outcomeNotReady
	}
	count(c.Key, method, outcome)
	j.s.log.Warn("no certificate was obtained", zap.String("hostname", j.hostname), zap.String("ca", c.Key),
		zap.String("challenge", method), zap.String("class", string(f.Class)), zap.String("reason", f.Message), zap.Error(f.Err))
	if f.Class == acme.ClassLimited || f.Account {
		switch {
		case f.Account:
			j.s.fault(ctx, c, f)
			j.rec.Order = nil // it is that account's
			return landing{rec: j.rec, save: true, looked: true}
		case !errors.Is(f.Err, errHeld):
			j.s.limited(ctx, c, f, j.hostname)
		}
		return landing{rec: j.rec, save: j.rec.Order != nil, looked: true}
	}
	t := &trouble{Class: f.Class, Count: 1, Message: f.Message, Mend: f.Mend, Method: method, UID: j.want.UID, Facts: factsOf(j.want)}
	if old := j.rec.Trouble; old != nil {
		t.Failed, t.Refused = old.Failed, old.Refused
		if old.Class == f.Class {
			t.Count = old.Count + 1
		}
	}
	if f.Class == acme.ClassCustomer || f.Class == acme.ClassCAA && method != "" {
		t.Failed = append(slices.Clone(t.Failed), now.Unix())
		t.Failed = t.Failed[max(len(t.Failed)-maxFailed, 0):]
		j.rec.Order = nil
	}
	if f.Class == acme.ClassRefused || f.Class == acme.ClassOperator || f.Spent {
		j.rec.Order = nil
	}
	if f.Class == acme.ClassRefused {
		j.refused(t, c)
	} else if d := backoff(f.Class, t.Count, times.Fraction(j.hostname+now.String())); d > 0 {
		t.Until = j.s.sooner(j.hostname, j.want, f, now.Add(d), now).Unix()
	}
	j.rec.Trouble = t
	return landing{rec: j.rec, save: true, looked: true}
}

// limited keeps a CA's request to wait.
func (s *Scheduler) limited(ctx context.Context, c *ca, f *acme.Failure, hostname string) hold {
	h, err := s.ledger.put(context.WithoutCancel(ctx), c, f.Scope, hostname, f.Until, f.Message, s.now())
	if err != nil {
		s.log.Error("keeping a certificate authority's request to wait failed", zap.Error(err))
	}
	s.log.Warn("a certificate authority asked to wait", zap.String("ca", c.Key), zap.String("scope", string(f.Scope)),
		zap.String("hostname", hostname), zap.Time("until", h.Until), zap.String("reason", h.Reason))
	return h
}
