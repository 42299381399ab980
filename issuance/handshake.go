package issuance

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"time"

	"github.com/caddyserver/certmagic"
	acmez "github.com/mholt/acmez/v3/acme"

	"github.com/apoxy-dev/caddy-apoxy/internal/times"
	"github.com/apoxy-dev/caddy-apoxy/internal/words"
	"github.com/apoxy-dev/caddy-apoxy/issuance/acme"
	"github.com/apoxy-dev/caddy-apoxy/issuance/certfiles"
)

// Issue obtains the certificate for a request of certmagic, which asks its issuers on a
// handshake if neither its memory nor storage has a good one. member identifies the
// issuer line. certmagic has made the private key and holds the hostname's lock in
// storage, which order takes, too, so there is no second order. Nothing is ordered for a
// hostname without a Want, for one whose certificate Run renews, or while the hostname
// or the CA must wait. Every error is a certmagic.ErrNoRetry, because certmagic would
// otherwise let the client wait and repeat the request itself.
func (s *Scheduler) Issue(ctx context.Context, is *Issuers, member any, csr *x509.CertificateRequest) (*certmagic.IssuedCertificate, error) {
	issued, err := s.issue(ctx, is, member, csr)
	if err != nil {
		return nil, certmagic.ErrNoRetry{Err: err}
	}
	return issued, nil
}

func (s *Scheduler) issue(ctx context.Context, is *Issuers, member any, csr *x509.CertificateRequest) (*certmagic.IssuedCertificate, error) {
	c := is.member(member)
	if c == nil {
		return nil, errors.New("issuing: the issuer has no certmagic configuration yet")
	}
	if len(csr.DNSNames) != 1 || len(csr.IPAddresses)+len(csr.URIs)+len(csr.EmailAddresses) > 0 {
		return nil, fmt.Errorf("issuing: a request for exactly one hostname is expected, got %d", len(csr.DNSNames))
	}
	hostname := csr.DNSNames[0]
	lost := s.lost(ctx, hostname)
	if err := s.refusal(c, hostname, lost); err != nil {
		if errors.As(err, new(*renewedError)) {
			s.suspect(hostname)
		}
		if lost != nil {
			s.noteInTime(ctx, lost, missing)
		}
		return nil, err // without waiting for a place among the handshakes
	}
	select {
	case s.handshakes <- struct{}{}:
		defer func() { <-s.handshakes }()
	case <-ctx.Done():
		return nil, fmt.Errorf("issuing for %s: %w", hostname, ctx.Err())
	}
	t, err := s.entries.seize(ctx, hostname, c, func(e *entry) error {
		if err := lost.excuses(s.entries.refuses(e, c, hostname), e); err != nil {
			return err
		}
		if e.flight() == nil && lost.matches(e) {
			rec := e.dossier()
			rec.miss(s.now())
			e.set(e.want(), rec)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return s.issueTaken(ctx, c, t, csr.Raw)
}

// issueTaken obtains the certificate of a hostname in flight, for a request in DER.
func (s *Scheduler) issueTaken(ctx context.Context, c *ca, t taken, request []byte) (*certmagic.IssuedCertificate, error) {
	j := s.job(t)
	began, before := s.now(), j.rec
	s.cfg.OnChange(j.hostname)
	staples := c.Site(j.hostname).Staples(ctx)
	res, f := j.obtain(ctx, c, given{request})
	out := landing{rec: j.rec, save: true, looked: true}
	switch {
	case f == nil:
		if err := j.note(c, res); err != nil {
			f = acme.Failed(acme.ClassPassing, "", err)
			out = j.failed(ctx, c, res.Method, f)
			break
		}
		j.removed(certfiles.DeleteKeys(context.WithoutCancel(ctx), c.Storage(), staples))
		j.issued(c, res, began)
		out.rec = j.rec
	case notNow(f):
		out = landing{rec: j.rec, save: j.rec.Order != nil}
	default:
		out = j.failed(ctx, c, j.method, f)
	}
	j.clean(ctx, &before, &out.rec)
	t.ctx = context.WithoutCancel(ctx) // the result counts even if the client has left
	s.land(t, out)
	if f != nil {
		return nil, fmt.Errorf("issuing for %s: %w", j.hostname, f)
	}
	return &certmagic.IssuedCertificate{Certificate: res.Chain.ChainPEM, Metadata: j.metadata(res)}, nil
}

// refusal is refuses where the lock is not held.
func (s *Scheduler) refusal(c *ca, hostname string, lost *job) (err error) {
	s.entries.read(hostname, func(e *entry) { err = lost.excuses(s.entries.refuses(e, c, hostname), e) })
	return err
}

// lost returns what is known of a hostname if storage lacks its certificate and that was
// not noted before; nil: otherwise. The handshake that asks holds the hostname's lock,
// so only it can order another one.
func (s *Scheduler) lost(ctx context.Context, hostname string) *job {
	j := s.snapshot(hostname)
	if j == nil || j.rec.gone() {
		return nil
	}
	if where, err := s.ask(ctx, j); err != nil || where != missing {
		s.Stored(ctx, hostname) // notes what else was found
		return nil
	}
	return j
}

// matches reports whether an entry still has the certificate that was lost.
func (j *job) matches(e *entry) bool {
	return j != nil && e.serialNumber() == j.rec.Serial && !e.gone()
}

// excuses returns nil in place of a renewedError if the certificate was lost, so that
// another one may be ordered. If too many were lost before, the error says when the next
// one may be. Any other error is returned as it is. The lock of the entries must be held.
func (j *job) excuses(err error, e *entry) error {
	if !errors.As(err, new(*renewedError)) || !j.matches(e) {
		return err
	}
	now, rec := j.now(), e.dossier()
	if rec.miss(now); now.Before(times.Unix(rec.Renewal)) {
		return lostAgain(e.hostname, rec.Renewal)
	}
	return nil
}

// lostAgain is the error of a handshake while the pause after a loss lasts.
func lostAgain(hostname string, renewal int64) error {
	return fmt.Errorf("issuing for %s: storage has lost its certificate over and over; the next is ordered at %s", hostname, times.Stamp(times.Unix(renewal)))
}

// renewedError means that there is a certificate, which Run renews.
type renewedError struct {
	hostname string
	renewal  time.Time
}

func (r *renewedError) Error() string {
	return fmt.Sprintf("issuing for %s: the scheduler renews it, next at %s", r.hostname, times.Stamp(r.renewal))
}

// refuses says why a handshake may not cause an order; nil: it may. es.mu must be held.
func (es *entries) refuses(e *entry, c *ca, hostname string) error {
	if !es.loaded {
		return fmt.Errorf("issuing for %s: the index of certificates is still being read", hostname)
	}
	if e == nil || !e.wanted {
		return errUnknownName(hostname)
	}
	if e.flight() != nil {
		return nil // seize waits for it and asks again
	}
	if es.closed {
		return fmt.Errorf("issuing for %s: storage is still being compared with the index of certificates", e.hostname)
	}
	now := es.now()
	if !c.Auth.Named(e.asks()) {
		return fmt.Errorf("issuing for %s: the record asks for the certificate authority %q", e.hostname, words.Cut(e.asks(), 100))
	}
	if h, held := es.ledger.held(c, e.hostname, now); held {
		return fmt.Errorf("issuing for %s: %s is left alone until %s: %s", e.hostname, c.Auth.Host(), times.Stamp(h.Until), h.Reason)
	}
	if o := e.working(); o.AtWork(c.Key) {
		return fmt.Errorf("issuing for %s: %s", e.hostname, o.Doing(c.Auth.Host()))
	}
	if from := e.startable(); from.After(now) {
		return fmt.Errorf("issuing for %s: resolvers may hold old answers about it until %s", e.hostname, times.Stamp(from))
	}
	if t := troubleOf(e); t != nil && (t.Until == 0 || times.Unix(t.Until).After(now)) {
		return fmt.Errorf("issuing for %s: the last try failed: %s", e.hostname, t.Message)
	}
	if e.trouble().refusedBy(c) {
		return fmt.Errorf("issuing for %s: %s refuses this hostname for good", e.hostname, c.Auth.Host())
	}
	if !e.proven() {
		return nil
	}
	renewal, notAfter := e.times()
	if e.gone() && now.Before(times.Unix(renewal)) {
		return lostAgain(e.hostname, renewal)
	}
	if !e.gone() && now.Before(times.Unix(notAfter)) {
		return &renewedError{hostname: e.hostname, renewal: times.Unix(renewal)}
	}
	return nil
}

// given is a certificate request that certmagic made.
type given struct{ der []byte }

func (g given) csr(context.Context) ([]byte, error) { return g.der, nil }
func (given) known(context.Context) bool            { return false }

// RenewalInfo returns the renewal information of a hostname from memory. certmagic's own
// use of ARI is turned off, so no request is made for it. The error is
// acmez.ErrUnsupported if there is none.
func (s *Scheduler) RenewalInfo(hostname string) (acmez.RenewalInfo, error) {
	var info acmez.RenewalInfo
	var r dossier
	s.entries.read(hostname, func(e *entry) {
		if e != nil {
			r = e.dossier()
		}
	})
	a := r.ARI
	if a == nil {
		return info, fmt.Errorf("renewal information of %s: %w", hostname, acmez.ErrUnsupported)
	}
	poll := times.Unix(a.Poll)
	info.SuggestedWindow.Start, info.SuggestedWindow.End = times.Unix(a.Start), times.Unix(a.End)
	info.UniqueIdentifier, info.RetryAfter, info.SelectedTime = a.ID, &poll, times.Unix(r.Renewal)
	return info, nil
}

// errUnknownName is the error of a hostname for which no record wants a certificate.
func errUnknownName(hostname string) error {
	return fmt.Errorf("ordering a certificate for %q: no record asks for one; create a DomainRecord with spec.tls", words.Cut(hostname, 253))
}
