package issuance

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/apoxy-dev/caddy-apoxy/issuance/acme"

	acmez "github.com/mholt/acmez/v3/acme"
	"go.uber.org/zap"

	"github.com/apoxy-dev/caddy-apoxy/internal/times"
	"github.com/apoxy-dev/caddy-apoxy/issuance/certfiles"
)

// ErrNoCertificate: there is nothing to revoke.
var ErrNoCertificate = errors.New("no certificate is stored")

// Revoke revokes a hostname's certificate at its CA, deletes it and its key,
// and drops it from memory. A hostname that is still wanted gets a new one,
// with a new key, at once. ErrNoCertificate if there is none; otherwise an
// error means that the certificate still stands.
func (s *Scheduler) Revoke(ctx context.Context, hostname string, reason int) error {
	e, j, err := s.seize(ctx, hostname)
	if err != nil {
		return fmt.Errorf("revoking the certificate of %s: %w", hostname, err)
	}
	before, out := j.rec, landing{rec: j.rec, quiet: true}
	if err = j.revoke(ctx, reason); err == nil {
		out = landing{rec: record{Trouble: j.rec.Trouble}, save: true, looked: true}
		s.log.Info("certificate revoked", zap.String("hostname", hostname), zap.String("serial", j.rec.Serial), zap.Int("reason", reason))
	}
	j.clean(ctx, &before, &out.rec)
	s.land(context.WithoutCancel(ctx), e, out)
	if err != nil {
		return fmt.Errorf("revoking the certificate of %s: %w", hostname, err)
	}
	return nil
}

// seize takes a hostname with a certificate up, after any work under way.
func (s *Scheduler) seize(ctx context.Context, hostname string) (*entry, *job, error) {
	for {
		s.mu.Lock()
		e := s.entries[hostname]
		if e == nil || !e.has() {
			s.mu.Unlock()
			return nil, nil, ErrNoCertificate
		}
		if f := e.flight; f != nil {
			s.mu.Unlock()
			select {
			case <-f.done:
				continue
			case <-ctx.Done():
				return nil, nil, ctx.Err()
			}
		}
		s.unplace(e)
		e.flight = &flight{began: s.now(), cancel: func() {}, done: make(chan struct{})}
		s.looking++
		j := &job{s: s, hostname: hostname, want: e.want(), rec: e.record(), flight: e.flight, cas: s.cas()}
		s.mu.Unlock()
		return e, j, nil
	}
}

func (j *job) revoke(ctx context.Context, reason int) error {
	c := caOf(j.cas, j.rec.CA)
	if c == nil {
		return fmt.Errorf("its certificate authority %s is not configured any more", j.rec.CA)
	}
	st, err := certfiles.Load(ctx, c.Storage(), c.Key, j.hostname)
	if err != nil {
		return fmt.Errorf("reading it from storage: %w", err)
	}
	asked, tr, done := acme.WithTrace(ctx, j.s.now, j.gate(c))
	defer done()
	asked, cancel := context.WithTimeout(asked, time.Minute)
	defer cancel()
	acct, err := j.s.accountOf(asked, c)
	if err == nil {
		err = c.Client.RevokeCertificate(asked, acct, st.Leaf, acct.PrivateKey, reason)
	}
	if h := tr.Hold(); h != nil {
		return fmt.Errorf("%s asked to wait until %s", c.Auth.Host(), times.Stamp(j.s.limited(ctx, c, acme.Classify(h, j.hostname), j.hostname).Until))
	}
	var p acmez.Problem
	if err != nil && !(errors.As(err, &p) && p.Type == acmez.ProblemTypeAlreadyRevoked) {
		return acme.Classify(err, j.hostname)
	}
	// It is revoked; whatever fails now, nothing may serve it any longer.
	staples := certfiles.Staples(ctx, c.Storage(), c.Key, j.hostname)
	if err := errors.Join(certfiles.Delete(context.WithoutCancel(ctx), c.Storage(), c.Key, j.hostname),
		certfiles.DeleteKeys(context.WithoutCancel(ctx), c.Storage(), staples)); err != nil {
		j.s.log.Error("deleting a revoked certificate failed", zap.String("hostname", j.hostname), zap.Error(err))
	}
	j.evict()
	return nil
}
