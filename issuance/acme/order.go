package acme

import (
	"context"
	"errors"
	"fmt"
	"time"

	acmez "github.com/mholt/acmez/v3/acme"
	"go.uber.org/zap"

	"github.com/apoxy-dev/caddy-apoxy/internal/times"
)

// Order is an order at a CA that may be taken up again.
type Order struct {
	CA      string `json:"ca"`
	Account string `json:"account"`
	URL     string `json:"url"`
	// Placed is when, in Unix seconds, as all times here.
	Placed int64 `json:"placed"`
	// Since is when the CA was first found to be still at work; 0: it was not.
	Since int64 `json:"since,omitempty"`
	// Next is when it is asked again, after Asked times.
	Next  int64 `json:"next,omitempty"`
	Asked int   `json:"asked,omitempty"`
	// Method is the challenge that it validates, last begun at Begun; empty while
	// it signs.
	Method string `json:"method,omitempty"`
	Begun  int64  `json:"begun,omitempty"`
	// Elsewhere: the other CAs were asked meanwhile.
	Elsewhere bool `json:"elsewhere,omitempty"`
}

// AtWork reports whether the CA of a key is known to work on the order.
func (o *Order) AtWork(key string) bool { return o != nil && o.Since != 0 && o.CA == key }

// Told says what the CA is at with an order.
func (o *Order) Told(host string) string {
	doing := "signing the certificate"
	if o.Method != "" {
		doing = "checking the " + o.Method + " challenge"
	}
	return fmt.Sprintf("%s has been %s since %s and is asked again at least every two minutes", host, doing, times.Stamp(times.Unix(o.Since)))
}

// order takes up the order of before, if it is still of use, or places one.
func (f *Flow) order(ctx context.Context, acct acmez.Account) (acmez.Order, error) {
	if f.Repeated {
		return f.again(ctx, acct)
	}
	if r := f.Resume; r != nil && r.CA == f.CA.Key && r.Account == acct.Location {
		order, err := f.state(ctx, acct, r.URL)
		var p acmez.Problem
		switch {
		case err != nil && !errors.As(err, &p):
			return order, fmt.Errorf("taking up order: %w", err)
		case err != nil && (p.Status >= 500 || p.Status == 429 || p.Type == acmez.ProblemTypeAccountDoesNotExist):
			return order, fmt.Errorf("taking up order: %w", err)
		case err != nil: // gone
		case order.Status == acmez.StatusPending:
			return order, nil
		default:
			f.proven = f.tidy(ctx, acct, order.Authorizations)
			if order.Status == acmez.StatusReady || (order.Status == acmez.StatusValid || order.Status == acmez.StatusProcessing) && f.Known {
				return order, nil
			}
		}
		// Invalid, or signed for a key that was lost: start anew.
		f.Resume, f.proven = nil, ""
	}
	if err := f.Allow(ctx, f.Replaces != ""); err != nil {
		return acmez.Order{}, err
	}
	want := acmez.Order{
		Profile:     f.CA.Auth.Profile,
		Replaces:    f.Replaces,
		Identifiers: []acmez.Identifier{{Type: "dns", Value: f.Hostname}},
	}
	if f.CA.Auth.Lifetime > 0 {
		until := time.Now().Add(f.CA.Auth.Lifetime).Truncate(time.Second)
		want.NotAfter = &until
	}
	call, cancel, err := f.CA.within(ctx)
	if err != nil {
		return acmez.Order{}, err
	}
	order, err := f.CA.Client.NewOrder(call, acct, want)
	cancel()
	if f.Replaces != "" && refusesReplaces(err) {
		f.CA.log.Warn("the certificate authority does not take an order that names the certificate it replaces; it is placed without",
			zap.String("hostname", f.Hostname), zap.String("replaces", f.Replaces), zap.Error(err))
		f.Replaces = ""
		return f.order(ctx, acct)
	}
	if err != nil {
		return order, fmt.Errorf("placing order: %w", err)
	}
	ref := Order{CA: f.CA.Key, Account: acct.Location, URL: order.Location, Placed: time.Now().Unix()}
	f.Placed(ctx, ref)
	return order, nil
}

// refusesReplaces reports whether an order may have been refused for the
// certificate that it names as replaced (RFC 9773 section 5): replaced already,
// another account's, or one that the CA does not find any more. The RFC has a
// problem type for the first alone.
func refusesReplaces(err error) bool {
	var p acmez.Problem
	if !errors.As(err, &p) {
		return false
	}
	switch p.Type {
	case acmez.ProblemTypeAlreadyReplaced, acmez.ProblemTypeMalformed, acmez.ProblemTypeUnauthorized, acmez.ProblemTypeServerInternal:
		return true
	}
	return false
}

// again asks about an order that the CA was found working on. No order is placed
// here, because nothing was looked at that must be before one.
func (f *Flow) again(ctx context.Context, acct acmez.Account) (acmez.Order, error) {
	if f.Resume.Account != acct.Location {
		return acmez.Order{}, gone("the order was placed with another account")
	}
	order, err := f.state(ctx, acct, f.Resume.URL)
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
	case order.Status != acmez.StatusProcessing || f.Resume.Method != "":
		f.proven = f.tidy(ctx, acct, order.Authorizations)
	}
	if !f.Known && order.Status != acmez.StatusReady {
		return order, gone("the order's private key is lost")
	}
	return order, nil
}

// invalid says why a CA has given an order up.
func (f *Flow) invalid(ctx context.Context, acct acmez.Account, order acmez.Order) error {
	for _, url := range order.Authorizations {
		authz, err := f.authorization(ctx, acct, url)
		if err == nil && authz.Status == acmez.StatusInvalid {
			f.withdrawAll(ctx, authz)
			return authzError(authz)
		}
	}
	if order.Error != nil {
		return &Failure{Class: Classify(*order.Error, f.Hostname).Class, Spent: true, Err: *order.Error,
			Message: Classify(*order.Error, f.Hostname).Message}
	}
	return gone("the certificate authority has given the order up and does not say why")
}

// gone is the failure of an order that is of no use any more; the next try
// begins anew.
func gone(why string) *Failure {
	return &Failure{Class: ClassPassing, Spent: true, Message: why + "; another order is placed"}
}
