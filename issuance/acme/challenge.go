package acme

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	acmez "github.com/mholt/acmez/v3/acme"
	"go.uber.org/zap"

	"github.com/apoxy-dev/caddy-apoxy/internal/times"
	"github.com/apoxy-dev/caddy-apoxy/internal/words"
)

// Challenges publishes DNS-01 values in our zone Z, for hostnames N.
type Challenges interface {
	// Present adds a value to _acme-challenge.N.Z beside those that are there
	// and returns once every name server of ours answers it.
	Present(ctx context.Context, hostname, value string) error
	// CleanUp removes the value. It is no error if there is none.
	CleanUp(ctx context.Context, hostname, value string) error
}

// authorize proves control for one authorization and returns the challenge type that
// did; empty if it was valid already and does not say by which.
func (f *Flow) authorize(ctx context.Context, acct acmez.Account, url string) (string, error) {
	authz, err := f.authorization(ctx, acct, url)
	if err != nil {
		return "", err
	}
	if authz.Status != acmez.StatusPending {
		if f.Resume != nil { // an earlier flow may have left its challenge in place
			f.withdrawAll(ctx, authz)
		}
		if authz.Status == acmez.StatusValid {
			return provenBy(authz), nil
		}
		return "", authzError(authz)
	}
	chal, err := f.pick(authz)
	if err != nil {
		return "", err
	}
	f.Began(chal.Type)
	cleanUp, err := f.present(ctx, chal)
	if err != nil {
		return "", Failed(ClassPassing, "putting the challenge in place failed", err)
	}
	at := Progress{Method: chal.Type, Begun: f.idle(chal)}
	if at.Begun {
		err = f.initiate(ctx, acct, chal)
	}
	switch {
	case err != nil:
	case f.Repeated:
		err = f.atWork(ctx, at)
	default:
		err = f.await(ctx, acct, url, at)
	}
	var working *Failure
	if !errors.As(err, &working) || working.Class != ClassWorking {
		cleanUp() // but not while the CA is still going to look at it
	}
	return chal.Type, err
}

// idle reports whether the CA must be told to validate: in the first flow, and again
// WaitTimeout after it was told last, because some CAs lose a validation and leave it
// pending.
func (f *Flow) idle(chal acmez.Challenge) bool {
	if f.Repeated {
		return f.Now().Sub(times.Unix(f.Resume.Begun)) > f.CA.Auth.WaitTimeout()
	}
	return chal.Status != acmez.StatusProcessing
}

// pick returns the challenge of the best type that the CA offers.
func (f *Flow) pick(authz acmez.Authorization) (acmez.Challenge, error) {
	var offered []string
	for _, m := range f.Methods {
		for _, c := range authz.Challenges {
			if c.Type == m && (c.Status == acmez.StatusPending || c.Status == acmez.StatusProcessing || c.Status == "") {
				return c, nil
			}
		}
	}
	for _, c := range authz.Challenges {
		offered = append(offered, c.Type)
	}
	return acmez.Challenge{}, &Failure{Class: ClassOperator,
		Message: fmt.Sprintf("the certificate authority offers %v, of which none can be used here (usable: %v)", offered, f.Methods)}
}

// present puts the answer to a challenge where the CA will look for it: into our zone,
// or into storage, from where every node's Caddy answers. cleanUp removes it again.
func (f *Flow) present(ctx context.Context, chal acmez.Challenge) (cleanUp func(), err error) {
	cleanUp = func() { f.withdraw(ctx, chal) }
	if chal.Type == acmez.ChallengeTypeDNS01 {
		if f.Challenges == nil {
			return nil, errors.New("there is no zone to publish the challenge in")
		}
		err = f.Challenges.Present(ctx, f.Hostname, chal.DNS01KeyAuthorization())
	} else {
		err = f.CA.Challenges().Put(ctx, f.Hostname, chal)
	}
	if err != nil {
		cleanUp()
		return nil, err
	}
	return cleanUp, nil
}

// authzError is the error of the first challenge that failed in an authorization; its
// Resource is the authorization, which tells Classify that a validation failed.
func authzError(authz acmez.Authorization) error {
	i := slices.IndexFunc(authz.Challenges, func(c acmez.Challenge) bool { return c.Error != nil })
	if i < 0 {
		return &Failure{Class: ClassPassing, Message: "the authorization is " + words.Cut(authz.Status, 40)}
	}
	p := *authz.Challenges[i].Error
	p.Resource = authz
	return fmt.Errorf("%s: %w", authz.Challenges[i].Type, p)
}

// tidy removes the challenges of a resumed order that need no answer any more: a
// process may have ended before it removed them. It returns the challenge type that
// control was proven by, empty for none.
func (f *Flow) tidy(ctx context.Context, acct acmez.Account, authorizations []string) (method string) {
	for _, url := range authorizations {
		authz, err := f.authorization(ctx, acct, url)
		if err != nil {
			f.CA.log.Debug("a resumed order could not be read, so challenges of it may be left in place", zap.String("hostname", f.Hostname), zap.Error(err))
			return method
		}
		f.withdrawAll(ctx, authz)
		method = provenBy(authz)
	}
	return method
}

// provenBy is the challenge type that made an authorization valid, if any did.
func provenBy(authz acmez.Authorization) string {
	for _, c := range authz.Challenges {
		if c.Status == acmez.StatusValid {
			return c.Type
		}
	}
	return ""
}

// withdrawAll removes the answers to every challenge of an authorization.
func (f *Flow) withdrawAll(ctx context.Context, authz acmez.Authorization) {
	for _, c := range authz.Challenges {
		f.withdraw(ctx, c)
	}
}

// withdraw removes the answer to a challenge, even if ctx has ended. It is no error if
// there is none.
func (f *Flow) withdraw(ctx context.Context, chal acmez.Challenge) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 15*time.Second)
	defer cancel()
	var err error
	switch chal.Type {
	case acmez.ChallengeTypeDNS01:
		if f.Challenges != nil {
			err = f.Challenges.CleanUp(ctx, f.Hostname, chal.DNS01KeyAuthorization())
		}
	case acmez.ChallengeTypeHTTP01, acmez.ChallengeTypeTLSALPN01:
		err = f.CA.Challenges().Remove(ctx, f.Hostname)
	}
	if err != nil {
		f.CA.log.Warn("removing a challenge failed", zap.String("hostname", f.Hostname), zap.Error(err))
	}
}
