package issuance

import (
	"context"
	"time"

	acmez "github.com/mholt/acmez/v3/acme"
	"go.uber.org/zap"

	"github.com/apoxy-dev/caddy-apoxy/issuance/certfiles"
)

// tidy takes back what an order of before may have left in place: a process
// that died between putting a challenge in place and removing it. It returns the
// challenge type that control was proven by, if it was.
func (f *flow) tidy(ctx context.Context, acct acmez.Account, authorizations []string) (method string) {
	for _, url := range authorizations {
		authz, err := f.authorization(ctx, acct, url)
		if err != nil {
			f.ca.log.Debug("what an order of before left in place is not known", zap.String("hostname", f.hostname), zap.Error(err))
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
func (f *flow) withdrawAll(ctx context.Context, authz acmez.Authorization) {
	for _, c := range authz.Challenges {
		f.withdraw(ctx, c)
	}
}

// withdraw removes the answer to a challenge; none is no error.
func (f *flow) withdraw(ctx context.Context, chal acmez.Challenge) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 15*time.Second)
	defer cancel()
	var err error
	switch chal.Type {
	case acmez.ChallengeTypeDNS01:
		if f.challenges != nil {
			err = f.challenges.CleanUp(ctx, f.hostname, chal.DNS01KeyAuthorization())
		}
	case acmez.ChallengeTypeHTTP01, acmez.ChallengeTypeTLSALPN01:
		err = f.ca.storage().Delete(ctx, certfiles.ChallengeKey(f.ca.key, f.hostname))
	}
	if err != nil {
		f.ca.log.Warn("removing a challenge failed", zap.String("hostname", f.hostname), zap.Error(err))
	}
}
