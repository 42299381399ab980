package issuance

import (
	"context"
	"errors"
	"fmt"
	"slices"

	acmez "github.com/mholt/acmez/v3/acme"

	"github.com/apoxy-dev/caddy-apoxy/internal/times"
	"github.com/apoxy-dev/caddy-apoxy/issuance/acme"
	"github.com/apoxy-dev/caddy-apoxy/issuance/certfiles"
	"github.com/apoxy-dev/caddy-apoxy/issuance/fairqueue"
	"github.com/apoxy-dev/caddy-apoxy/issuance/revocation"
)

var (
	errBudget = errors.New("the order budget is used up")
	// errNotLive means that this node does not hear what others order.
	errNotLive = errors.New("this node does not hold its lease in the store, so others order")
	// errHeld means that the CA asked another flow to wait, which is noted already.
	errHeld = errors.New("the certificate authority asked to wait")
)

// notNow reports whether nothing was ordered for a reason that has nothing to do with the
// hostname, so that nothing is noted of it.
func notNow(err error) bool { return errors.Is(err, errBudget) || errors.Is(err, errNotLive) }

// obtain asks DNS, CAA and the edge whether an order can succeed, and then runs the flow
// at one CA.
func (j *job) obtain(ctx context.Context, c *ca, keys requester) (acme.Result, *acme.Failure) {
	ctx, tr, done := acme.WithTrace(ctx, j.now, j.orderGate(c))
	defer done()
	methods, f := j.ready(ctx, c, tr)
	if f == nil {
		f = j.announce(ctx, c)
	}
	if f != nil {
		return acme.Result{}, f
	}
	if j.admitted() {
		j.cfg.OnChange(j.hostname)
	}
	res, err := j.flow(c, keys, keys.known(ctx), methods).Run(ctx)
	if h := tr.Hold(); h != nil {
		err = h
	}
	var p acmez.Problem
	f = acme.Classify(err, j.hostname)
	if fault := c.FaultLater(err, j.hostname); fault != nil {
		f = fault
	}
	if err == nil || errors.As(err, &p) || f.Class == acme.ClassWorking || f.Down && ctx.Err() == nil { // else the CA was not asked
		j.ledger.answered(c, err == nil || !f.Down, f.Message, j.now())
	}
	switch {
	case err == nil:
		j.reached(ctx, res.Method)
		_, _ = c.CaaIdentities(ctx) // notes those of the directory, which was just read
		return res, nil
	case notNow(err):
		return res, acme.Failed(acme.ClassLimited, "", err)
	}
	return res, f
}

// flow makes the flow for one CA, with the challenge types that can succeed; known is
// acme.Flow.Known.
func (j *job) flow(c *ca, keys requester, known bool, methods []string) *acme.Flow {
	fl := &acme.Flow{
		CA: c.CA, Challenges: j.cfg.Challenges, Hostname: j.hostname, Methods: methods,
		Replaces: j.rec.replaces(j.want, c), Resume: j.rec.Order, CSR: keys.csr, Known: known, Patience: j.patience, Now: j.now,
		Alone: func(ctx context.Context, do func() (bool, error)) error { return j.alone(ctx, c, do) },
		Began: func(method string) { j.method = method },
		Allow: func(ctx context.Context, replaces bool) error { return j.spend(ctx, c, replaces) },
		Placed: func(ctx context.Context, ref acme.Order) {
			j.rec.Order, j.ordered = &ref, append(j.ordered, c.Key)
			j.keep(ctx, j.term, j.hostname, &j.rec)
		},
	}
	if fl.Repeated = j.rec.Order.AtWork(c.Key); fl.Repeated {
		fl.Patience = 0
	}
	return fl
}

// spend takes one order from a CA's budget. One that replaces a certificate is free.
func (j *job) spend(ctx context.Context, c *ca, replaces bool) error {
	if !j.cfg.Live() || j.cfg.Term() != j.term {
		return errNotLive
	}
	if replaces {
		return nil
	}
	ok, err := j.ledger.take(ctx, c, j.now())
	j.spent()
	switch {
	case err != nil:
		return acme.Failed(acme.ClassOperator, "", err)
	case !ok:
		return errBudget
	}
	return nil
}

// ready returns the challenge types that can succeed at a CA, best first. For an order
// that the CA is working on nothing is asked: it is the one that the CA validates.
func (j *job) ready(ctx context.Context, c *ca, tr *acme.Trace) ([]string, *acme.Failure) {
	o := j.rec.Order
	if o.AtWork(c.Key) {
		return []string{o.Method}, nil
	}
	methods, f := j.methods(ctx, c, j.want, j.pressing())
	if h := tr.Hold(); h != nil {
		return nil, acme.Classify(h, j.hostname)
	}
	if f != nil {
		return nil, f
	}
	j.ways = len(methods)
	if t := j.rec.Trouble; t != nil && len(methods) > 1 && methods[0] == t.Method {
		methods = append(slices.Clone(methods[1:]), t.Method) // what failed last time is tried last
	}
	if o != nil && o.CA == c.Key {
		return methods, nil // a challenge of our own would replace that of the order
	}
	return j.reachable(ctx, c, j.hostname, methods)
}

// pressing reports whether there is a certificate that expires soon or is gone.
func (j *job) pressing() bool {
	r := &j.rec
	return r.has() && r.proves(j.want) && (r.gone() || urgencyOf(times.Unix(r.Renewal), times.Unix(r.NotAfter), j.now()) == fairqueue.Urgent)
}

// orderGate is gate for an order: its error is any hold that the hostname is under, also
// one that another hostname of its domain has met since the order was placed. The order
// is kept and resumed after the hold.
func (j *job) orderGate(c *ca) func() error {
	return func() error {
		if h, held := j.ledger.held(c, j.hostname, j.now()); held {
			return limitedUntil(h)
		}
		return nil
	}
}

// gate is asked before each request to a CA: its error is the hold on the whole CA.
func (j *job) gate(c *ca) func() error {
	return func() error {
		if f := j.heldBack(c); f != nil {
			return f
		}
		return nil
	}
}

// store writes a new certificate to storage, where handshakes load it, and into the
// dossier.
func (j *job) store(ctx context.Context, c *ca, keys *storedKey, res acme.Result) error {
	site, ctx := c.Site(j.hostname), context.WithoutCancel(ctx)
	staples := site.Staples(ctx)
	if err := site.Save(ctx, keys.key, res.Chain.ChainPEM, j.metadata(res)); err != nil {
		return err
	}
	j.removed(certfiles.DeleteKeys(ctx, c.Storage(), staples))
	return j.note(c, res)
}

// metadata is what is stored with a new certificate.
func (j *job) metadata(res acme.Result) certfiles.Metadata {
	return certfiles.Metadata{Certificate: res.Chain,
		Provenance: &certfiles.Provenance{UID: j.want.UID, Owner: j.want.Owner, Challenge: res.Method}}
}

// note writes a new certificate into the dossier.
func (j *job) note(c *ca, res acme.Result) error {
	leaf, err := certfiles.LeafOf(res.Chain.ChainPEM)
	if err != nil {
		return fmt.Errorf("reading the issued certificate: %w", err)
	}
	method := res.Method
	if method == "" { // the CA relied on an earlier validation
		method = j.rec.Challenge
	}
	j.rec.setCertificate(c.Key, method, j.want, leaf, j.now())
	if info := res.Chain.RenewalInfo; info != nil {
		j.rec.setARI(info, revocation.PollARI(j.now(), info.RetryAfter))
	}
	j.rec.schedule(j.hostname, c.ratio)
	if now := j.now().Unix(); j.rec.Renewal <= now {
		j.rec.Spared = now // it is due already: see hurried
	}
	return nil
}
