package acme

import (
	"context"
	"errors"
	"time"

	acmez "github.com/mholt/acmez/v3/acme"
)

// Flow obtains one certificate for one hostname at one CA (RFC 8555 section 7.1). It
// is used once. All fields but Resume, Replaces, Known, Repeated and Patience must be
// set; Challenges may be nil where Methods has no DNS-01.
type Flow struct {
	CA *CA
	// Challenges publishes DNS-01 values.
	Challenges Challenges
	// Hostname is the one to obtain a certificate for, as an A-label.
	Hostname string
	// Methods are the challenge types that can succeed, best first. The first one
	// that the CA offers is used.
	Methods []string
	// Replaces is the ARI identifier of the certificate that the order replaces (RFC
	// 9773 section 5); empty: none. If the CA refuses it, the order is placed without.
	Replaces string
	// Resume is an earlier order for the hostname that is not finished, nil for none.
	// One at another CA, or of another account, is left alone.
	Resume *Order
	// Known reports whether CSR asks for the key that Resume was placed for. Without
	// that key a certificate that is signed already is of no use.
	Known bool
	// CSR returns the certificate request in DER. It is called once the order is
	// ready to be signed.
	CSR func(ctx context.Context) ([]byte, error)
	// Alone runs do, see CA.Alone.
	Alone func(ctx context.Context, do func() (accepted bool, err error)) error
	// Allow is asked before a new order is placed; its error ends the flow. replaces:
	// the order names a certificate that it replaces.
	Allow func(ctx context.Context, replaces bool) error
	// Placed is told of a new order, so that it can be kept and resumed later.
	Placed func(ctx context.Context, ref Order)
	// Began is told the challenge type that is tried.
	Began func(method string)
	// Patience is how long to wait for the CA to validate, and again for it to sign.
	// After that the flow ends with a Failure of ClassWorking.
	Patience time.Duration
	// Repeated reports that Resume was left to the CA before (ClassWorking). It is
	// then only asked about: no new order is placed.
	Repeated bool
	// Now tells the time that Resume.Begun is compared with.
	Now func() time.Time

	// proven is the challenge type that control was proven by in the resumed order.
	proven string
}

// Result is what a flow obtained.
type Result struct {
	// Chain is the certificate with the chain that was chosen.
	Chain acmez.Certificate
	// Method is the challenge type that proved control; empty if the CA did not ask
	// for a proof and does not say which one it relies on.
	Method string
}

// Run obtains the certificate. Its error carries an acmez.Problem, a *HeldError or a
// *Failure where one of them is the cause; Classify tells them apart. If the CA does
// not know the account, another one is registered and the order is placed anew.
func (f *Flow) Run(ctx context.Context) (Result, error) {
	const attempts = 3
	for attempt := 1; ; attempt++ {
		var acct acmez.Account
		var order acmez.Order
		err := f.Alone(ctx, func() (accepted bool, err error) {
			acct, order, err = f.begin(ctx, attempt == attempts)
			return err == nil, err
		})
		var res Result
		if err == nil {
			res, err = f.prove(ctx, acct, order)
		}
		if attempt == attempts || !accountUnknown(err) || errors.As(err, new(*Failure)) {
			return res, err
		}
		if err := f.CA.forgetAccount(ctx, acct); err != nil {
			return res, Failed(ClassOperator, "", err)
		}
		if f.Repeated {
			return res, spent("the certificate authority does not know the account any more")
		}
		f.Resume = nil
	}
}

// accountUnknown reports whether the CA does not know the account (RFC 8555 section
// 6.7).
func accountUnknown(err error) bool {
	var p acmez.Problem
	return errors.As(err, &p) && p.Type == acmez.ProblemTypeAccountDoesNotExist
}

// begin finds or registers the account, and resumes or places the order with it. If
// the account is at fault the error is a *Failure with Account set. An account that
// the CA does not know is at fault only if there is no other to register in its
// place: its key is configured, or this is the last attempt.
func (f *Flow) begin(ctx context.Context, last bool) (acmez.Account, acmez.Order, error) {
	var order acmez.Order
	acct, err := f.CA.account(ctx)
	registering := err != nil
	if !registering {
		order, err = f.order(ctx, acct)
		if accountUnknown(err) && !last && f.CA.Auth.AccountKeyPEM == "" {
			return acct, order, err
		}
	}
	if fault := f.CA.faulty(err, acct, f.Hostname, registering); fault != nil {
		err = fault
	}
	return acct, order, err
}

// prove proves control of the hostname, has the certificate signed and downloads it.
func (f *Flow) prove(ctx context.Context, acct acmez.Account, order acmez.Order) (Result, error) {
	res := Result{Method: f.proven}
	var err error
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
