package issuance

import (
	"context"
	"errors"
	"fmt"
	"time"

	acmez "github.com/mholt/acmez/v3/acme"
	"go.uber.org/zap"

	"github.com/apoxy-dev/caddy-apoxy/internal/times"
	"github.com/apoxy-dev/caddy-apoxy/internal/words"
)

// This file is about orders that a CA takes its time with. An order waits in its
// slot for a short while only, whatever Retry-After says: it then gives the slot
// to others, and its CA is asked again at an even pace until it has decided.

const (
	// defaultPatience is how long an order waits in its slot for the CA to
	// validate, and again to sign.
	defaultPatience = 10 * time.Second
	// The CA is asked again after firstAsk, doubled with each time up to lastAsk.
	firstAsk = 2 * time.Second
	lastAsk  = 2 * time.Minute
	// callTimeout bounds one call of acmez, with all that it repeats by itself
	// (three times for a server error, ten for a nonce), and directoryTimeout the
	// first, during which acmez keeps every other CA's directory waiting.
	callTimeout      = 45 * time.Second
	directoryTimeout = 15 * time.Second
)

// askAgain is the pause before a CA is asked about an order once more, after it
// was found at work so many times. What the CA asks for lengthens it up to
// lastAsk, and no further.
func askAgain(found int, asked time.Duration) time.Duration {
	pause := min(firstAsk<<min(max(found, 0), 10), lastAsk)
	return max(pause, min(asked, lastAsk))
}

// progress is what a CA is at with an order.
type progress struct {
	// method is the challenge that it validates, empty while it signs.
	method string
	// begun: it was told a moment ago to validate.
	begun bool
}

// atWork is the failure of a flow that leaves the CA to its work.
func (f *flow) atWork(ctx context.Context, p progress) *failure {
	w := &failure{class: ClassWorking, working: &p, message: "the certificate authority is still working on the order"}
	if t, _ := ctx.Value(traceKey{}).(*trace); t != nil {
		w.until = t.retryAfter()
	}
	return w
}

// polls paces the questions of one wait within a slot.
type polls struct {
	end   time.Time
	pause time.Duration
}

func (f *flow) polls() *polls { return &polls{end: time.Now().Add(f.patience), pause: firstPoll} }

// next waits before the next question. false: it would come after the end, or
// before the CA wants it, so that the slot is better given to others.
func (p *polls) next(ctx context.Context) (bool, error) {
	wait := p.pause
	if t, _ := ctx.Value(traceKey{}).(*trace); t != nil {
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
func (f *flow) await(ctx context.Context, acct acmez.Account, url string, at progress) error {
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
func (f *flow) finish(ctx context.Context, acct acmez.Account, order acmez.Order) (acmez.Order, error) {
	var err error
	if order.Status == acmez.StatusPending {
		if order, err = f.look(ctx, acct, order.Location); err != nil {
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
			return order, &failure{class: ClassPassing, message: "the certificate authority says that the order is " + quoted(words.Cut(order.Status, 40)) + ", which no order can be"}
		}
		more, err := p.next(ctx)
		if err != nil {
			return order, err
		}
		if !more {
			return order, f.atWork(ctx, progress{})
		}
		if order, err = f.look(ctx, acct, order.Location); err != nil {
			return order, fmt.Errorf("reading order: %w", err)
		}
	}
}

// sign is finalize for a CA of many servers, of which one may not know yet that the
// order is ready: what an error is worth is told by what the order is after it.
func (f *flow) sign(ctx context.Context, acct acmez.Account, order acmez.Order) (acmez.Order, error) {
	done, err := f.finalize(ctx, acct, order)
	var p acmez.Problem
	if err == nil || !errors.As(err, &p) || p.Status >= 500 || p.Status == 429 {
		return done, err
	}
	now, lerr := f.look(ctx, acct, order.Location)
	if lerr == nil && (now.Status == acmez.StatusPending || now.Status == acmez.StatusProcessing) {
		return now, nil
	}
	return done, err
}

// finalize asks once for the certificate to be signed and returns the order as
// it then is; processing, if the CA says that it is not ready.
func (f *flow) finalize(ctx context.Context, acct acmez.Account, order acmez.Order) (acmez.Order, error) {
	der, err := f.csr(ctx)
	if err != nil {
		return order, err
	}
	ctx, cancel, err := f.ca.within(ctx)
	if err != nil {
		return order, err
	}
	defer cancel()
	// The client's PollTimeout has acmez return after the first answer, with an
	// error of its own words if the order is not final. What the CA or the network
	// said is wrapped in its error, and leaves the order as it was.
	url := order.Location
	order.Status = acmez.StatusProcessing
	done, err := f.ca.client.FinalizeOrder(ctx, acct, order, der)
	if done.Location == "" {
		done.Location = url
	}
	if err != nil && done.Status != acmez.StatusInvalid && (errors.Unwrap(err) != nil || ctx.Err() != nil) {
		return done, fmt.Errorf("finalizing order: %w", err)
	}
	return done, nil
}

// look reads an order.
func (f *flow) look(ctx context.Context, acct acmez.Account, url string) (acmez.Order, error) {
	ctx, cancel, err := f.ca.within(ctx)
	if err != nil {
		return acmez.Order{}, err
	}
	defer cancel()
	order, err := f.ca.client.GetOrder(ctx, acct, acmez.Order{Location: url})
	order.Location = url
	return order, err
}

func (f *flow) authorization(ctx context.Context, acct acmez.Account, url string) (acmez.Authorization, error) {
	ctx, cancel, err := f.ca.within(ctx)
	if err != nil {
		return acmez.Authorization{}, err
	}
	defer cancel()
	authz, err := f.ca.client.GetAuthorization(ctx, acct, url)
	if err != nil {
		return authz, fmt.Errorf("reading authorization: %w", err)
	}
	return authz, nil
}

// initiate tells the CA to validate.
func (f *flow) initiate(ctx context.Context, acct acmez.Account, chal acmez.Challenge) error {
	ctx, cancel, err := f.ca.within(ctx)
	if err != nil {
		return err
	}
	defer cancel()
	if _, err := f.ca.client.InitiateChallenge(ctx, acct, chal); err != nil {
		return fmt.Errorf("starting challenge: %w", err)
	}
	return nil
}

// invalid says why a CA has given an order up.
func (f *flow) invalid(ctx context.Context, acct acmez.Account, order acmez.Order) error {
	for _, url := range order.Authorizations {
		authz, err := f.authorization(ctx, acct, url)
		if err == nil && authz.Status == acmez.StatusInvalid {
			f.withdrawAll(ctx, authz)
			return authzError(authz)
		}
	}
	if order.Error != nil {
		return &failure{class: classify(*order.Error, f.hostname).class, spent: true, err: *order.Error,
			message: classify(*order.Error, f.hostname).message}
	}
	return gone("the certificate authority has given the order up and does not say why")
}

// gone is the failure of an order that is of no use any more; the next try
// begins anew.
func gone(why string) *failure {
	return &failure{class: ClassPassing, spent: true, message: why + "; another order is placed"}
}

// again asks about an order that the CA was found working on. No order is placed
// here, because nothing was looked at that must be before one.
func (f *flow) again(ctx context.Context, acct acmez.Account) (acmez.Order, error) {
	if f.resume.Account != acct.Location {
		return acmez.Order{}, gone("the order was placed with another account")
	}
	order, err := f.look(ctx, acct, f.resume.URL)
	var p acmez.Problem
	switch {
	case errors.As(err, &p) && p.Status < 500 && p.Status != 429 && p.Type != acmez.ProblemTypeAccountDoesNotExist:
		return order, gone("the certificate authority does not know the order any more")
	case err != nil:
		return order, fmt.Errorf("reading order: %w", err)
	case order.Status == acmez.StatusInvalid:
		return order, f.invalid(ctx, acct, order)
	case order.Status == acmez.StatusPending:
		return order, nil
	case order.Status != acmez.StatusProcessing || f.resume.Method != "":
		f.proven = f.tidy(ctx, acct, order.Authorizations)
	}
	if !f.known && order.Status != acmez.StatusReady {
		return order, gone("the order's private key is lost")
	}
	return order, nil
}

// stillWorking leaves an order to its CA until it is asked again.
func (j *job) stillWorking(c *ca, f *failure) landing {
	if j.rec.Order == nil { // cannot be: what a CA works on was placed
		return landing{rec: j.rec, looked: true}
	}
	now, before := j.s.now(), *j.rec.Order
	o, at := before, f.working
	if o.Since == 0 {
		o.Since = now.Unix()
		count(c.key, at.method, outcomeWorking)
		j.s.log.Info("the certificate authority takes its time and is asked again", zap.String("hostname", j.hostname),
			zap.String("ca", c.key), zap.String("challenge", at.method), zap.Time("wants", f.until))
	}
	if o.Method != at.method {
		o.Method, o.Asked = at.method, 0
	}
	if at.begun {
		o.Begun = now.Unix()
	}
	o.Next = now.Add(askAgain(o.Asked, f.until.Sub(now))).Unix()
	o.Asked++
	news := o.Since != before.Since || o.Method != before.Method || o.Elsewhere != before.Elsewhere || j.rec.Trouble.tells()
	j.rec.Order, j.rec.Trouble = &o, j.rec.Trouble.calmed(now)
	// How often it was asked is not worth a write each time.
	return landing{rec: j.rec, save: news || o.Begun != before.Begun, looked: true, quiet: !news}
}

// overdue reports whether a CA works for so long that others are asked, once.
func (j *job) overdue(c *ca) bool {
	o := j.rec.Order
	return o != nil && o.Since != 0 && !o.Elsewhere && j.s.now().Sub(times.Unix(o.Since)) > c.auth.timeout()
}

// at reports whether the CA of a key is known to work on the order.
func (o *orderRef) at(key string) bool { return o != nil && o.Since != 0 && o.CA == key }

// tells reports whether there is a failure to tell of.
func (t *trouble) tells() bool { return t != nil && t.Message != "" }

// calmed is the trouble of a hostname whose order goes on: what CAs count and
// refuse alone.
func (t *trouble) calmed(now time.Time) *trouble {
	if t == nil || len(t.Failed)+len(t.Refused) == 0 {
		return nil
	}
	calm := *t
	calm.Message, calm.Mend, calm.Until = "", "", now.Unix()
	return &calm
}

// working is the order that its CA works on, nil if there is none.
func (e *entry) working() *orderRef {
	if l := e.loose; l != nil && l.rec.Order != nil && l.rec.Order.Since != 0 {
		return l.rec.Order
	}
	return nil
}

// told says what the CA is at with an order.
func (o *orderRef) told(host string) string {
	doing := "signing the certificate"
	if o.Method != "" {
		doing = "checking the " + o.Method + " challenge"
	}
	return fmt.Sprintf("%s has been %s since %s and is asked again at least every two minutes", host, doing, times.Stamp(times.Unix(o.Since)))
}

// workingMend is what there is to do about an order that its CA works on.
const workingMend = "Nobody needs to do anything; if it stays so for hours, the operator asks that certificate authority, or adds another `issuer apoxy` line"
