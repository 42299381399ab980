package issuance

import (
	"context"
	"errors"
	"strings"
	"time"

	acmez "github.com/mholt/acmez/v3/acme"
	"go.uber.org/zap"

	"github.com/apoxy-dev/caddy-apoxy/internal/times"
	"github.com/apoxy-dev/caddy-apoxy/internal/words"
	"github.com/apoxy-dev/caddy-apoxy/issuance/acme"
	"github.com/apoxy-dev/caddy-apoxy/ownership"
)

// probeTimeout bounds the looks at DNS before an order.
const probeTimeout = 25 * time.Second

// methods returns the challenge types that can succeed at a CA now, best
// first: DNS-01 where the delegation is right, because it works before the
// cutover and from everywhere, else HTTP-01, then TLS-ALPN-01. A failure says
// why there is none; then nothing is asked of the CA. pressing: a certificate
// expires soon, so where nothing can be told the CA decides.
func (ts *tools) methods(ctx context.Context, c *ca, w Want, pressing bool) ([]string, *acme.Failure) {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	var methods []string
	var bogus error
	now := ts.now()
	early := times.Unix(w.DNS01From).After(now)
	w = w.at(now)
	if ts.cfg.Challenges != nil && !early && ts.delegated(ctx, w, &bogus) {
		methods = append(methods, acmez.ChallengeTypeDNS01)
	}
	wildcard := strings.HasPrefix(w.Hostname, "*.")
	if !wildcard && ts.arrives(ctx, w, &bogus) {
		if !c.Auth.DisableHTTP01 {
			methods = append(methods, acmez.ChallengeTypeHTTP01)
		}
		if !c.Auth.DisableTLSALPN01 {
			methods = append(methods, acmez.ChallengeTypeTLSALPN01)
		}
	}
	if len(methods) == 0 {
		msg := "no challenge can succeed: _acme-challenge." + strings.TrimPrefix(w.Hostname, "*.") +
			" is not delegated, and the hostname does not lead here, or not only here"
		if wildcard {
			msg = "a wildcard needs DNS-01: delegate _acme-challenge." + strings.TrimPrefix(w.Hostname, "*.")
		}
		if early {
			msg = "the hostname does not lead here, or not only here, and for DNS-01 resolvers may hold old answers until " + times.Stamp(times.Unix(w.DNS01From))
		}
		if bogus != nil {
			return nil, &acme.Failure{Class: acme.ClassDNS, Err: bogus, Message: words.Cut(bogus.Error(), 200) + ", so no certificate authority would believe it and none was asked",
				Mend: "Whoever runs that zone has it signed anew, or the DS record at the registry removed"}
		}
		return nil, &acme.Failure{Class: acme.ClassDNS, Message: msg}
	}
	return ts.permitted(ctx, c, w, methods, pressing)
}

// delegated asks DNS now; if that cannot tell, what the Want says holds. An
// answer that CAs would not believe is none, and noted in bogus.
func (ts *tools) delegated(ctx context.Context, w Want, bogus *error) bool {
	p := ts.prober.Load()
	if p == nil || *p == nil {
		return w.DNS01
	}
	ok, err := (*p).Delegated(ctx, w.Hostname)
	switch {
	case errors.Is(err, ownership.ErrBogus):
		*bogus = err
		return false
	case err != nil:
		ts.log.Debug("the delegation could not be looked up", zap.String("hostname", w.Hostname), zap.Error(err))
		return w.DNS01
	}
	return ok
}

// arrives asks DNS now, if the Want says that the hostname leads here; if that
// cannot tell, the Want is believed. bogus is as in delegated.
func (ts *tools) arrives(ctx context.Context, w Want, bogus *error) bool {
	p := ts.prober.Load()
	if !w.HTTP01 || p == nil || *p == nil {
		return w.HTTP01
	}
	ok, err := (*p).Arrives(ctx, w.Hostname)
	switch {
	case errors.Is(err, ownership.ErrBogus):
		*bogus = err
		return false
	case err != nil:
		ts.log.Debug("the hostname could not be looked up", zap.String("hostname", w.Hostname), zap.Error(err))
		return true
	}
	return ok
}

// permitted leaves the challenge types that CAA records permit (RFC 8659, RFC
// 8657). Where they cannot be looked up no CA may issue (RFC 8659 section 3), so
// none is asked, unless it is pressing. A CA that does not say by which name they
// speak of it, such as one's own in a world of its own, is left to check itself.
func (ts *tools) permitted(ctx context.Context, c *ca, w Want, methods []string, pressing bool) ([]string, *acme.Failure) {
	p := ts.prober.Load()
	if p == nil || *p == nil {
		return methods, nil
	}
	set, err := (*p).CAA(ctx, w.Hostname)
	switch {
	case err != nil && !pressing:
		if names, ierr := c.CaaIdentities(ctx); ierr == nil && len(names) == 0 {
			return methods, nil
		}
		return nil, &acme.Failure{Class: acme.ClassDNS, Err: err, Message: words.Cut(err.Error(), 200) +
			"; without an answer no certificate authority may issue, so none was asked",
			Mend: "Whoever runs that name server makes it answer questions of type CAA, if only that there is nothing"}
	case err != nil || set.Outcome != ownership.Seen:
		return methods, nil
	}
	identities, err := c.CaaIdentities(ctx)
	if err != nil {
		return nil, acme.Classify(err, w.Hostname)
	}
	by := ownership.Issuer{Identities: identities, Account: c.Location(), Methods: methods}
	verdict := ownership.JudgeCAA(w.Hostname, set, by)
	if verdict.NeedsAccount { // from storage, or registered for it
		acct, err := ts.accountOf(ctx, c)
		if err != nil {
			return nil, acme.Classify(err, w.Hostname)
		}
		by.Account = acct.Location
		verdict = ownership.JudgeCAA(w.Hostname, set, by)
	}
	if !verdict.Allowed {
		return nil, &acme.Failure{Class: acme.ClassCAA, Message: "those " + verdict.Found, Mend: verdict.Mend}
	}
	return verdict.Methods, nil
}
