package issuance

import (
	"cmp"
	"context"
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"net/http"
	"slices"
	"time"

	"github.com/apoxy-dev/caddy-apoxy/internal/times"
	"github.com/apoxy-dev/caddy-apoxy/internal/words"
	"github.com/apoxy-dev/caddy-apoxy/issuance/certfiles"
	"go.uber.org/zap"
	"golang.org/x/crypto/ocsp"
)

// ocspRecord is what the index keeps of a certificate that names an OCSP
// responder; other certificates have none. Times are Unix seconds, 0 for none.
type ocspRecord struct {
	// Poll is when to ask the responder, Asked when it was asked last.
	Poll  int64 `json:"poll"`
	Asked int64 `json:"asked,omitempty"`
	// Revoked is when the CA revoked the certificate, and Reason its code (RFC
	// 5280 section 5.3.1). Due is when it is to be replaced.
	Revoked int64 `json:"revoked,omitempty"`
	Reason  int   `json:"reason,omitempty"`
	Due     int64 `json:"due,omitempty"`
	// Burnt is the SHA-256 of the public key (SubjectPublicKeyInfo) if that
	// was the reason: nothing is signed for it again.
	Burnt string `json:"burnt,omitempty"`
	// Replaced is when a revoked certificate was replaced last.
	Replaced int64 `json:"replaced,omitempty"`
}

func (o *ocspRecord) revoked() bool { return o != nil && o.Revoked != 0 }

// ocspApart is how far apart the replacements of revoked certificates of one
// hostname are: a responder that revokes whatever is issued must not use up
// the CA's limits.
const ocspApart = 6 * time.Hour

// succeed is the record of the certificate that follows the one of o. The
// responder is asked soon for the first time, but not at once: CAs tell theirs
// a little later.
func (o *ocspRecord) succeed(leaf *x509.Certificate, hostname string, now time.Time) *ocspRecord {
	if len(leaf.OCSPServer) == 0 {
		return nil
	}
	half := 30 * time.Second
	next := &ocspRecord{Poll: now.Add(half + time.Duration(times.Fraction(hostname)*float64(half))).Unix()}
	switch {
	case o.revoked():
		next.Replaced = now.Unix()
	case o != nil:
		next.Replaced = o.Replaced
	}
	return next
}

// withdraw is the record of a certificate that its CA has revoked.
func (o ocspRecord) withdraw(r *ocsp.Response, leaf *x509.Certificate, now time.Time) *ocspRecord {
	o.Poll, o.Reason, o.Due = 0, r.RevocationReason, now.Unix()
	o.Revoked = max(r.RevokedAt.Unix(), 1)
	if o.Replaced != 0 {
		o.Due = max(o.Due, times.Unix(o.Replaced).Add(ocspApart).Unix())
	}
	if r.RevocationReason == ocsp.KeyCompromise {
		o.Burnt = spkiDigest(leaf.RawSubjectPublicKeyInfo)
	}
	return &o
}

// burnt is the digest of the certificate's key if that is compromised.
func (r *record) burnt() string {
	if r.OCSP == nil {
		return ""
	}
	return r.OCSP.Burnt
}

// burns reports whether a private key belongs to a public key by its digest.
func burns(key crypto.PrivateKey, burnt string) bool {
	signer, ok := key.(crypto.Signer)
	if !ok || burnt == "" {
		return false
	}
	spki, err := x509.MarshalPKIXPublicKey(signer.Public())
	return err == nil && spkiDigest(spki) == burnt
}

func spkiDigest(spki []byte) string {
	d := sha256.Sum256(spki)
	return hex.EncodeToString(d[:])
}

// nextOCSP is when a responder is asked again: halfway to the next update that
// it promises, at least a minute and at most twelve hours from now, up to a
// tenth earlier by seed; six hours if it promises none.
func nextOCSP(now, thisUpdate, nextUpdate time.Time, seed string) time.Time {
	at := now.Add(6 * time.Hour)
	if !nextUpdate.IsZero() {
		if at = thisUpdate.Add(nextUpdate.Sub(thisUpdate) / 2); at.Before(now) {
			at = now.Add(nextUpdate.Sub(now) / 2)
		}
	}
	at = times.Clamp(at, now, now.Add(12*time.Hour))
	at = at.Add(-time.Duration(times.Fraction(seed) * float64(at.Sub(now)) / 10))
	return times.Clamp(at, now.Add(time.Minute), now.Add(12*time.Hour))
}

// laterOCSP is when a certificate is asked about again after a failure.
func laterOCSP(now time.Time, seed string) time.Time {
	return now.Add(time.Hour + time.Duration(times.Fraction(seed)*float64(30*time.Minute)))
}

// poll is what the index asks others for next of its own accord, and when.
func (r *record) poll() (step, time.Time) {
	st, at := stepNone, time.Time{}
	if r.ARI != nil {
		st, at = stepARI, times.Unix(r.ARI.Poll)
	}
	// Responders do not know expired certificates.
	if o := r.OCSP; o != nil && !o.revoked() && o.Poll < r.NotAfter && (st == stepNone || o.Poll < r.ARI.Poll) {
		st, at = stepOCSP, times.Unix(o.Poll)
	}
	return st, at
}

// pollOCSP asks the certificate's responder whether its CA has revoked it. Any
// answer that does not count changes nothing.
func (j *job) pollOCSP(ctx context.Context) landing {
	now := j.s.now()
	l := landing{rec: j.rec, quiet: true}
	o := *j.rec.OCSP
	o.Asked = now.Unix()
	l.rec.OCSP = &o
	r, leaf, err := j.askOCSP(ctx, now)
	var held *responderHeld
	switch {
	case errors.As(err, &held):
		o.Poll = held.until.Add(resumeJitter(time.Hour, times.Fraction(j.hostname))).Unix()
	case err != nil:
		countOCSP(ocspFailed)
		o.Poll = laterOCSP(now, j.hostname).Unix()
		j.s.log.Debug("an OCSP responder could not be believed and is asked again later",
			zap.String("hostname", j.hostname), zap.Time("at", times.Unix(o.Poll)), zap.Error(err))
	case r == nil: // turned off, or there is nothing to ask about
		o.Poll = now.Add(12 * time.Hour).Unix()
	case r.Status == ocsp.Revoked && !neverIssued(r):
		countOCSP(ocspRevoked)
		l.rec.OCSP = o.withdraw(r, leaf, now)
		l.rec.hasten()
		l.save, l.quiet = true, false
		j.revoked(ctx, cmp.Or(j.home(), j.cas[0]), r)
		j.s.log.Warn("the certificate authority has revoked a certificate, which is replaced",
			zap.String("hostname", j.hostname), zap.String("serial", j.rec.Serial), zap.Time("revoked_at", r.RevokedAt),
			zap.String("reason", reasonName(r.RevocationReason)), zap.Time("renewal", times.Unix(l.rec.Renewal)))
	case r.Status == ocsp.Good:
		countOCSP(ocspGood)
		o.Poll, l.save = nextOCSP(now, r.ThisUpdate, r.NextUpdate, j.hostname).Unix(), true
	default:
		countOCSP(ocspUnknown)
		o.Poll = laterOCSP(now, j.hostname).Unix()
	}
	return l
}

// askOCSP asks for the status of the certificate that the index knows; nil
// without an error if nobody can be asked.
func (j *job) askOCSP(ctx context.Context, now time.Time) (*ocsp.Response, *x509.Certificate, error) {
	c := j.cas[0] // should the CA not be configured any more
	if i := slices.IndexFunc(j.cas, func(c *ca) bool { return c.key == j.rec.CA }); i >= 0 {
		c = j.cas[i]
	}
	if c.cfg.OCSP.DisableStapling {
		return nil, nil, nil
	}
	leaf, issuer := certfiles.Issued(ctx, c.storage(), j.rec.CA, j.hostname, j.rec.Serial)
	if leaf == nil {
		return nil, nil, errors.New("reading the certificate to ask about: it is not in storage")
	}
	if issuer == nil || len(leaf.OCSPServer) == 0 {
		return nil, nil, nil
	}
	name := leaf.OCSPServer[0]
	if over, ok := c.cfg.OCSP.ResponderOverrides[name]; ok {
		if name = over; name == "" {
			return nil, nil, nil
		}
	}
	to, err := checkResponder(name)
	if err != nil {
		return nil, nil, err
	}
	if until, held := j.s.responders.held(to.Host, now); held {
		return nil, nil, &responderHeld{to.Host, until}
	}
	proxy := c.cfg.OCSP.HTTPProxy
	if proxy == nil {
		proxy = http.ProxyFromEnvironment
	}
	r, err := askResponder(ctx, to, proxy, leaf, issuer, now)
	var fault *responderError
	switch {
	case ctx.Err() != nil: // stopped: nothing was learnt
	case errors.As(err, &fault):
		until := j.s.responders.failed(to.Host, fault.after, j.s.now())
		j.s.log.Warn("an OCSP responder does not answer and is left alone for a while",
			zap.String("responder", words.Cut(to.Host, 100)), zap.Time("until", until), zap.Error(err))
	default:
		j.s.responders.answered(to.Host)
	}
	return r, leaf, err
}

// suspect has the responder asked now: certmagic wanted a certificate that is
// not due replaced, as it does once its own staple says "revoked".
func (s *Scheduler) suspect(hostname string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.entries[hostname]
	if e == nil || !e.wanted || e.flight != nil {
		return
	}
	r := e.record()
	if r.OCSP == nil || r.OCSP.revoked() {
		return
	}
	now := s.now()
	o := *r.OCSP
	if o.Asked != 0 && now.Before(times.Unix(o.Asked).Add(time.Minute)) {
		return
	}
	o.Poll = now.Unix()
	r.OCSP = &o
	e.set(e.want(), r)
	s.place(e, now)
	s.poke()
}
