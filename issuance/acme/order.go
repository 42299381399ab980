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

// Order is an unfinished order at a CA, as it is kept so that it can be resumed.
// Times are Unix seconds.
type Order struct {
	// CA is the key of the CA, see Authority.Key.
	CA string `json:"ca"`
	// Account is the URL of the account that placed the order.
	Account string `json:"account"`
	// URL is that of the order.
	URL string `json:"url"`
	// Placed is when it was placed.
	Placed int64 `json:"placed"`
	// Since is when the CA was first found to be still at work on it; 0: it was not.
	Since int64 `json:"since,omitempty"`
	// Next is when the CA is to be asked about it again; Asked is how often it has
	// been asked since it began what it is working on.
	Next  int64 `json:"next,omitempty"`
	Asked int   `json:"asked,omitempty"`
	// Method is the challenge type that the CA is validating; empty: it is signing.
	// Begun is when it was told to validate last.
	Method string `json:"method,omitempty"`
	Begun  int64  `json:"begun,omitempty"`
	// Elsewhere reports that the CA took so long that the other CAs were asked, too.
	Elsewhere bool `json:"elsewhere,omitempty"`
}

// AtWork reports whether the CA with this key is known to be working on the order. A
// nil order is none.
func (o *Order) AtWork(key string) bool { return o != nil && o.Since != 0 && o.CA == key }

// Doing says in a sentence what the CA, named by its host, is doing with the order.
func (o *Order) Doing(host string) string {
	doing := "signing the certificate"
	if o.Method != "" {
		doing = "checking the " + o.Method + " challenge"
	}
	return fmt.Sprintf("%s has been %s since %s and is asked again at least every two minutes", host, doing, times.Stamp(times.Unix(o.Since)))
}

// order returns the order to go on with: the earlier one if that can still come to a
// certificate, or a new one.
func (f *Flow) order(ctx context.Context, acct acmez.Account) (acmez.Order, error) {
	if f.Repeated {
		return f.again(ctx, acct)
	}
	if r := f.Resume; r != nil && r.CA == f.CA.Key && r.Account == acct.Location {
		order, ok, err := f.resume(ctx, acct)
		if ok || err != nil {
			return order, err
		}
		f.Resume, f.proven = nil, ""
	}
	return f.place(ctx, acct)
}

// resume looks whether the earlier order can be gone on with. false: the CA has given
// it up or does not know it, or it was signed for a key that is lost.
func (f *Flow) resume(ctx context.Context, acct acmez.Account) (acmez.Order, bool, error) {
	order, err := f.state(ctx, acct, f.Resume.URL)
	switch {
	case forgotten(err):
		return order, false, nil
	case err != nil:
		return order, false, err
	case order.Status == acmez.StatusPending:
		return order, true, nil
	}
	f.proven = f.tidy(ctx, acct, order.Authorizations)
	signed := order.Status == acmez.StatusValid || order.Status == acmez.StatusProcessing
	return order, order.Status == acmez.StatusReady || signed && f.Known, nil
}

// forgotten reports whether a CA that was asked about an order says that there is
// none: it refuses the question, and neither the account nor the CA's own state is
// the reason.
func forgotten(err error) bool {
	var p acmez.Problem
	return errors.As(err, &p) && p.Status < 500 && p.Status != 429 && !accountUnknown(err)
}

// place places a new order.
func (f *Flow) place(ctx context.Context, acct acmez.Account) (acmez.Order, error) {
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
	order, err := call(ctx, f.CA, "placing order", func(ctx context.Context) (acmez.Order, error) {
		return f.CA.Client.NewOrder(ctx, acct, want)
	})
	if f.Replaces != "" && refusesReplaces(err) {
		f.CA.log.Warn("the certificate authority does not take an order that names the certificate it replaces; it is placed without",
			zap.String("hostname", f.Hostname), zap.String("replaces", f.Replaces), zap.Error(err))
		f.Replaces = ""
		return f.place(ctx, acct)
	}
	if err == nil {
		f.Placed(ctx, Order{CA: f.CA.Key, Account: acct.Location, URL: order.Location, Placed: time.Now().Unix()})
	}
	return order, err
}

// refusesReplaces reports whether a CA may have refused an order because of the
// certificate that it names as replaced (RFC 9773 section 5): that one is replaced
// already, belongs to another account, or is not found any more. The RFC has a
// problem type for the first of these alone.
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

// again asks about an order that was left to the CA. It places no other one, because
// what must be checked before an order (DNS, CAA, reachability) was not checked.
func (f *Flow) again(ctx context.Context, acct acmez.Account) (acmez.Order, error) {
	if f.Resume.Account != acct.Location {
		return acmez.Order{}, spent("the order was placed with another account")
	}
	order, err := f.state(ctx, acct, f.Resume.URL)
	switch {
	case forgotten(err):
		return order, spent("the certificate authority does not know the order any more")
	case err != nil:
		return order, err
	case order.Status == acmez.StatusInvalid:
		return order, f.invalid(ctx, acct, order)
	case order.Status == acmez.StatusPending:
		return order, nil
	case order.Status != acmez.StatusProcessing || f.Resume.Method != "":
		f.proven = f.tidy(ctx, acct, order.Authorizations)
	}
	if !f.Known && order.Status != acmez.StatusReady {
		return order, spent("the order's private key is lost")
	}
	return order, nil
}

// invalid returns why the CA has given an order up: what a challenge failed on, else
// the error of the order.
func (f *Flow) invalid(ctx context.Context, acct acmez.Account, order acmez.Order) error {
	for _, url := range order.Authorizations {
		authz, err := f.authorization(ctx, acct, url)
		if err == nil && authz.Status == acmez.StatusInvalid {
			f.withdrawAll(ctx, authz)
			return authzError(authz)
		}
	}
	if order.Error == nil {
		return spent("the certificate authority has given the order up and does not say why")
	}
	failure := Classify(*order.Error, f.Hostname)
	failure.Spent, failure.Down = true, false // the CA is up: it has decided
	return failure
}

// spent is the failure of an order that cannot come to a certificate any more. The
// next try places another one.
func spent(why string) *Failure {
	return &Failure{Class: ClassPassing, Spent: true, Message: why + "; another order is placed"}
}
