package issuance

import (
	"cmp"
	"context"
	"crypto/x509"
	"errors"
	"time"

	"go.uber.org/zap"
	"golang.org/x/crypto/ocsp"

	"github.com/apoxy-dev/caddy-apoxy/internal/times"
	"github.com/apoxy-dev/caddy-apoxy/internal/words"
	"github.com/apoxy-dev/caddy-apoxy/issuance/revocation"
)

// burnt is the digest of the certificate's public key if its private key is compromised,
// else empty, see revocation.OCSP.
func (r *dossier) burnt() string {
	if r.OCSP == nil {
		return ""
	}
	return r.OCSP.Burnt
}

// poll is what to ask about the certificate next, its CA (ARI) or its responder (OCSP),
// and when; stepNone: nothing.
func (r *dossier) poll() (step, time.Time) {
	st, at := stepNone, time.Time{}
	if r.ARI != nil {
		st, at = stepARI, times.Unix(r.ARI.Poll)
	}
	// Nothing is asked about an expired certificate: responders need not know it.
	if o := r.OCSP; o != nil && !o.IsRevoked() && o.Poll < r.NotAfter && (st == stepNone || o.Poll < r.ARI.Poll) {
		st, at = stepOCSP, times.Unix(o.Poll)
	}
	return st, at
}

// pollOCSP asks the certificate's responder whether its CA has revoked it. An answer that
// is not acceptable changes only when to ask again.
func (j *job) pollOCSP(ctx context.Context) landing {
	now := j.now()
	l := landing{rec: j.rec, unchanged: true}
	o := *j.rec.OCSP
	o.Asked = now.Unix()
	l.rec.OCSP = &o
	r, leaf, err := j.askOCSP(ctx, now)
	var held *revocation.ResponderHeld
	switch {
	case errors.As(err, &held):
		o.Poll = held.Until.Add(resumeJitter(time.Hour, times.Fraction(j.hostname))).Unix()
	case err != nil:
		countOCSP(ocspFailed)
		o.Poll = revocation.AskLater(now, j.hostname).Unix()
		j.log.Debug("an OCSP responder gave no acceptable answer and is asked again later",
			zap.String("hostname", j.hostname), zap.Time("at", times.Unix(o.Poll)), zap.Error(err))
	case r == nil: // OCSP is turned off, or there is nobody to ask
		o.Poll = now.Add(12 * time.Hour).Unix()
	case r.Status == ocsp.Revoked && !revocation.NeverIssued(r):
		countOCSP(ocspRevoked)
		l.rec.OCSP = o.Withdraw(r, leaf, now)
		l.rec.hasten()
		l.save, l.unchanged = true, false
		j.revoked(ctx, cmp.Or(j.home(), j.cas[0]), r)
		j.log.Warn("the certificate authority has revoked a certificate, which is replaced",
			zap.String("hostname", j.hostname), zap.String("serial", j.rec.Serial), zap.Time("revoked_at", r.RevokedAt),
			zap.String("reason", revocation.ReasonName(r.RevocationReason)), zap.Time("renewal", times.Unix(l.rec.Renewal)))
	case r.Status == ocsp.Good:
		countOCSP(ocspGood)
		o.Poll, l.save = revocation.AskNext(now, r.ThisUpdate, r.NextUpdate, j.hostname).Unix(), true
	default:
		countOCSP(ocspUnknown)
		o.Poll = revocation.AskLater(now, j.hostname).Unix()
	}
	return l
}

// askOCSP asks for the status of the certificate of the dossier, and returns it with the
// certificate; nil without an error if nobody is to be asked.
func (j *job) askOCSP(ctx context.Context, now time.Time) (*ocsp.Response, *x509.Certificate, error) {
	c := cmp.Or(caOf(j.cas, j.rec.CA), j.cas[0]) // if the CA is not configured any more
	if c.cfg.OCSP.DisableStapling {
		return nil, nil, nil
	}
	leaf, issuer := j.site(c).Issued(ctx, j.rec.Serial)
	if leaf == nil {
		return nil, nil, errors.New("reading the certificate to ask about: it is not in storage")
	}
	r, err := j.responders.Ask(ctx, leaf, issuer, c.cfg.OCSP.ResponderOverrides, c.cfg.OCSP.HTTPProxy, now)
	var fault *revocation.ResponderError
	if errors.As(err, &fault) && !fault.Until.IsZero() {
		j.log.Warn("an OCSP responder does not answer and is left alone for a while",
			zap.String("responder", words.Cut(fault.Host, 100)), zap.Time("until", fault.Until), zap.Error(err))
	}
	return r, leaf, err
}

// suspect has the responder of a hostname's certificate asked now. certmagic wanted a
// certificate replaced that is not due, which it does when its staple says "revoked".
func (s *Scheduler) suspect(hostname string) {
	s.entries.amend(hostname, func(e *entry, r *dossier) bool {
		now := s.now()
		if !e.wanted || r.OCSP == nil || r.OCSP.IsRevoked() || r.OCSP.Asked != 0 && now.Before(times.Unix(r.OCSP.Asked).Add(time.Minute)) {
			return false
		}
		o := *r.OCSP
		o.Poll = now.Unix()
		r.OCSP = &o
		return true
	})
}
