package issuance

import (
	"context"
	"errors"
	"fmt"
	"time"

	acmez "github.com/mholt/acmez/v3/acme"
	"go.uber.org/zap"

	"github.com/apoxy-dev/caddy-apoxy/internal/times"
	"github.com/apoxy-dev/caddy-apoxy/issuance/acme"
)

// ErrNoCertificate means that there is no certificate to revoke.
var ErrNoCertificate = errors.New("no certificate is stored")

// Revoke revokes a hostname's certificate at its CA, with a reason code of RFC 5280
// section 5.3.1, deletes it with its key, and evicts it from memory. A hostname that is
// still wanted gets another one, with another key, at once. The error is
// ErrNoCertificate if there is none; any other error means that it is not revoked.
func (s *Scheduler) Revoke(ctx context.Context, hostname string, reason int) error {
	t, err := s.entries.seize(ctx, hostname, nil, func(e *entry) error {
		if e == nil || !e.has() {
			return ErrNoCertificate
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("revoking the certificate of %s: %w", hostname, err)
	}
	j := s.job(t)
	before, out := j.rec, landing{rec: j.rec, unchanged: true}
	if err = j.revoke(ctx, reason); err == nil {
		out = landing{rec: dossier{Trouble: j.rec.Trouble}, save: true, looked: true}
		s.log.Info("certificate revoked", zap.String("hostname", hostname), zap.String("serial", j.rec.Serial), zap.Int("reason", reason))
	}
	j.clean(ctx, &before, &out.rec)
	t.ctx = context.WithoutCancel(ctx)
	s.land(t, out)
	if err != nil {
		return fmt.Errorf("revoking the certificate of %s: %w", hostname, err)
	}
	return nil
}

// revoke is the work of Revoke.
func (j *job) revoke(ctx context.Context, reason int) error {
	c := caOf(j.cas, j.rec.CA)
	if c == nil {
		return fmt.Errorf("its certificate authority %s is not configured any more", j.rec.CA)
	}
	st, err := c.Site(j.hostname).Load(ctx)
	if err != nil {
		return fmt.Errorf("reading it from storage: %w", err)
	}
	asked, tr, done := acme.WithTrace(ctx, j.now, j.gate(c))
	defer done()
	asked, cancel := context.WithTimeout(asked, time.Minute)
	defer cancel()
	acct, err := j.accountOf(asked, c)
	if err == nil {
		err = c.Client.RevokeCertificate(asked, acct, st.Leaf, acct.PrivateKey, reason)
	}
	if h := tr.Hold(); h != nil {
		return fmt.Errorf("%s asked to wait until %s", c.Auth.Host(), times.Stamp(j.limited(ctx, c, acme.Classify(h, j.hostname), j.hostname).Until))
	}
	var p acmez.Problem
	if err != nil && !(errors.As(err, &p) && p.Type == acmez.ProblemTypeAlreadyRevoked) {
		return acme.Classify(err, j.hostname)
	}
	// It is revoked, so it must not be served any longer even if deleting it fails.
	if err := c.Site(j.hostname).Delete(context.WithoutCancel(ctx)); err != nil {
		j.log.Error("deleting a revoked certificate failed", zap.String("hostname", j.hostname), zap.Error(err))
	}
	j.evict(j.hostname)
	return nil
}
