package acme

import (
	"context"
	"errors"
	"fmt"

	acmez "github.com/mholt/acmez/v3/acme"
)

func (f *Flow) download(ctx context.Context, acct acmez.Account, order acmez.Order) ([]acmez.Certificate, error) {
	ctx, cancel, err := f.CA.within(ctx)
	if err != nil {
		return nil, err
	}
	defer cancel()
	chains, err := f.CA.Client.GetCertificateChain(ctx, acct, order.Certificate)
	if err != nil {
		return nil, fmt.Errorf("downloading certificate: %w", err)
	}
	return chains, nil
}

// finalize asks once for the certificate to be signed and returns the order as
// it then is; processing, if the CA says that it is not ready.
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
	// The client's PollTimeout has acmez return after the first answer, with an
	// error of its own words if the order is not final. What the CA or the network
	// said is wrapped in its error, and leaves the order as it was.
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

// state reads an order.
func (f *Flow) state(ctx context.Context, acct acmez.Account, url string) (acmez.Order, error) {
	ctx, cancel, err := f.CA.within(ctx)
	if err != nil {
		return acmez.Order{}, err
	}
	defer cancel()
	order, err := f.CA.Client.GetOrder(ctx, acct, acmez.Order{Location: url})
	order.Location = url
	return order, err
}

func (f *Flow) authorization(ctx context.Context, acct acmez.Account, url string) (acmez.Authorization, error) {
	ctx, cancel, err := f.CA.within(ctx)
	if err != nil {
		return acmez.Authorization{}, err
	}
	defer cancel()
	authz, err := f.CA.Client.GetAuthorization(ctx, acct, url)
	if err != nil {
		return authz, fmt.Errorf("reading authorization: %w", err)
	}
	return authz, nil
}

// initiate tells the CA to validate.
func (f *Flow) initiate(ctx context.Context, acct acmez.Account, chal acmez.Challenge) error {
	ctx, cancel, err := f.CA.within(ctx)
	if err != nil {
		return err
	}
	defer cancel()
	if _, err := f.CA.Client.InitiateChallenge(ctx, acct, chal); err != nil {
		return fmt.Errorf("starting challenge: %w", err)
	}
	return nil
}
