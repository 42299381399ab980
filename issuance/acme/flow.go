package acme

import (
	"context"
	"errors"
	"time"

	acmez "github.com/mholt/acmez/v3/acme"

	"github.com/apoxy-dev/caddy-apoxy/internal/words"
)

// Flow is one run through RFC 8555 section 7.1 for one hostname.
type Flow struct {
	CA         *CA
	Challenges Challenges
	Hostname   string
	// Methods are the challenge types that can succeed, best first.
	Methods []string
	// Replaces is the ARI identifier of the certificate to be replaced (RFC
	// 9773 section 5).
	Replaces string
	// Resume is an order of before, nil for none.
	Resume *Order
	// CSR gives the request in DER; called once the order is ready. known: the
	// key of an order of before is still there.
	CSR   func(ctx context.Context) ([]byte, error)
	Known bool
	// Alone runs what shows whether the CA accepts the account.
	Alone func(ctx context.Context, do func() (accepted bool, err error)) error
	// Allow is asked before a new order is placed, placed told once it is.
	Allow  func(ctx context.Context, replaces bool) error
	Placed func(ctx context.Context, ref Order)
	// Began is told which challenge is being tried.
	Began func(method string)
	// Patience is how long the CA is waited for here; repeated: it was found at
	// work before, so it is asked once.
	Patience time.Duration
	Repeated bool
	Now      func() time.Time
	// proven is the challenge type of an order of before that needs no more.
	proven string
}

// Result is what a flow obtained.
type Result struct {
	Chain  acmez.Certificate
	Method string
}

// Run obtains the certificate. Errors carry acmez.Problem, *heldError or *failure.
func (f *Flow) Run(ctx context.Context) (Result, error) {
	for attempt := 0; ; attempt++ {
		var acct acmez.Account
		var order acmez.Order
		err := f.Alone(ctx, func() (accepted bool, err error) {
			acct, order, err = f.begin(ctx, attempt > 1)
			return err == nil, err
		})
		var res Result
		if err == nil {
			res, err = f.once(ctx, acct, order)
		}
		var p acmez.Problem
		if err == nil || attempt > 1 || !errors.As(err, &p) || p.Type != acmez.ProblemTypeAccountDoesNotExist || errors.As(err, new(*Failure)) {
			return res, err
		}
		if err := f.CA.forgetAccount(ctx, acct); err != nil {
			return res, &Failure{Class: ClassOperator, Message: words.Cut(err.Error(), 200), Err: err}
		}
		if f.Repeated {
			return res, gone("the certificate authority does not know the account any more")
		}
		f.Resume = nil
	}
}

// begin finds or registers the account and takes up, or places, the order with
// it. A fault of the account comes back as such; last: an account that the CA does
// not know is one, though it could be registered anew.
func (f *Flow) begin(ctx context.Context, last bool) (acmez.Account, acmez.Order, error) {
	acct, err := f.CA.account(ctx)
	if err != nil {
		if fault := f.CA.faulty(err, acct, f.Hostname, true); fault != nil {
			err = fault
		}
		return acct, acmez.Order{}, err
	}
	order, err := f.order(ctx, acct)
	var p acmez.Problem
	if unknown := errors.As(err, &p) && p.Type == acmez.ProblemTypeAccountDoesNotExist; unknown && !last && f.CA.Auth.AccountKeyPEM == "" {
		return acct, order, err
	}
	if fault := f.CA.faulty(err, acct, f.Hostname, false); fault != nil {
		err = fault
	}
	return acct, order, err
}

func (f *Flow) once(ctx context.Context, acct acmez.Account, order acmez.Order) (Result, error) {
	var res Result
	var err error
	res.Method = f.proven
	if order.Status == acmez.StatusPending {
		for _, url := range order.Authorizations {
			method, err := f.authorize(ctx, acct, url)
			if err != nil {
				return res, err
			}
			if method != "" {
				res.Method = method
			}
		}
	}
	if order.Status != acmez.StatusValid {
		if order, err = f.finish(ctx, acct, order); err != nil {
			return res, err
		}
	}
	chains, err := f.download(ctx, acct, order)
	if err != nil {
		return res, err
	}
	if len(chains) == 0 {
		return res, errors.New("downloading certificate: the certificate authority sent none")
	}
	res.Chain = choose(chains, f.CA.Auth.PreferredChains)
	return res, nil
}
