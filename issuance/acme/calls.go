package acme

import (
	"context"
	"errors"
	"fmt"

	acmez "github.com/mholt/acmez/v3/acme"
)

// call makes one call to a CA, within callTimeout; what names it in an error.
func call[T any](ctx context.Context, c *CA, what string, do func(context.Context) (T, error)) (out T, err error) {
	ctx, cancel, err := c.within(ctx)
	if err != nil {
		return out, err
	}
	defer cancel()
	if out, err = do(ctx); err != nil {
		return out, fmt.Errorf("%s: %w", what, err)
	}
	return out, nil
}

// download returns the certificate of a valid order with each chain that the CA
// offers for it.
func (f *Flow) download(ctx context.Context, acct acmez.Account, order acmez.Order) ([]acmez.Certificate, error) {
	return call(ctx, f.CA, "downloading certificate", func(ctx context.Context) ([]acmez.Certificate, error) {
		return f.CA.Client.GetCertificateChain(ctx, acct, order.Certificate)
	})
}

// state reads an order.
func (f *Flow) state(ctx context.Context, acct acmez.Account, url string) (acmez.Order, error) {
	order, err := call(ctx, f.CA, "reading order", func(ctx context.Context) (acmez.Order, error) {
		return f.CA.Client.GetOrder(ctx, acct, acmez.Order{Location: url})
	})
	order.Location = url
	return order, err
}

// authorization reads an authorization.
func (f *Flow) authorization(ctx context.Context, acct acmez.Account, url string) (acmez.Authorization, error) {
	return call(ctx, f.CA, "reading authorization", func(ctx context.Context) (acmez.Authorization, error) {
		return f.CA.Client.GetAuthorization(ctx, acct, url)
	})
}

// initiate tells the CA to validate a challenge.
func (f *Flow) initiate(ctx context.Context, acct acmez.Account, chal acmez.Challenge) error {
	_, err := call(ctx, f.CA, "starting challenge", func(ctx context.Context) (acmez.Challenge, error) {
		return f.CA.Client.InitiateChallenge(ctx, acct, chal)
	})
	return err
}

// finalize asks once for the certificate to be signed and returns the order as it is
// then. Where the CA answers that the order is not ready, its status is processing.
func (f *Flow) finalize(ctx context.Context, acct acmez.Account, order acmez.Order) (acmez.Order, error) {
	der, err := f.CSR(ctx)
	if err != nil {
		return order, err
	}
	ctx, cancel, err := f.CA.within(ctx)
	if err != nil {
		return order, err
	}
	defer cancel()
	// With the client's PollTimeout acmez returns after the first answer. If the order
	// is not final then, acmez returns an error that wraps none, and the order. If the
	// CA or the network failed, that is wrapped in its error, and the order is as it was.
	url := order.Location
	order.Status = acmez.StatusProcessing
	done, err := f.CA.Client.FinalizeOrder(ctx, acct, order, der)
	if done.Location == "" {
		done.Location = url
	}
	if err != nil && done.Status != acmez.StatusInvalid && (errors.Unwrap(err) != nil || ctx.Err() != nil) {
		return done, fmt.Errorf("finalizing order: %w", err)
	}
	return done, nil
}
