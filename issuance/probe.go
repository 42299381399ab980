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

// probeTimeout is the time for asking DNS before an order.
const probeTimeout = 25 * time.Second

// methods returns the challenge types that can succeed at a CA now, best first: DNS-01
// where the delegation is right, because it works before the cutover and does not depend
// on the edge, then HTTP-01 and TLS-ALPN-01 where the hostname leads to the edge. If
// there is none the Failure says why, and the CA is not asked. pressing: a certificate
// expires soon, so if CAA cannot be looked up the CA is to decide.
func (ts *tools) methods(ctx context.Context, c *ca, w Want, pressing bool) ([]string, *acme.Failure) {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	var methods []string
	var bogus error
	now := ts.now()
	early := times.Unix(w.DNS01From).After(now)
	w = w.at(now)
	delegated := func(p Prober) (bool, error) { return p.Delegated(ctx, w.Hostname) }
	arrives := func(p Prober) (bool, error) { return p.Arrives(ctx, w.Hostname) }
	if ts.cfg.Challenges != nil && !early && ts.found(w.Hostname, "the delegation", w.DNS01, &bogus, delegated) {
		methods = append(methods, acmez.ChallengeTypeDNS01)
	}
	wildcard := strings.HasPrefix(w.Hostname, "*.")
	if !wildcard && w.HTTP01 && ts.found(w.Hostname, "the hostname", true, &bogus, arrives) {
		methods = append(methods, c.Auth.Methods()[1:]...) // the first is DNS-01
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

// found asks DNS now by ask. Where DNS cannot tell, and without a Prober, the answer is
// believed. An answer that no CA would believe, because its DNSSEC signatures do not
// hold, counts as no and is put into bogus. what is looked up, for the log.
func (ts *tools) found(hostname, what string, believed bool, bogus *error, ask func(Prober) (bool, error)) bool {
	p := ts.asked()
	if p == nil {
		return believed
	}
	ok, err := ask(p)
	switch {
	case errors.Is(err, ownership.ErrBogus):
		*bogus = err
		return false
	case err != nil:
		ts.log.Debug(what+" could not be looked up", zap.String("hostname", hostname), zap.Error(err))
		return believed
	}
	return ok
}

// asked is the Prober, nil if there is none.
func (ts *tools) asked() Prober {
	if p := ts.prober.Load(); p != nil {
		return *p
	}
	return nil
}

// permitted returns those of methods that CAA records permit (RFC 8659, RFC 8657). If
// they cannot be looked up no CA may issue (RFC 8659 section 3), so the CA is not asked,
// unless it is pressing. A CA whose issuer domain name is not known, such as a private
// one, checks CAA itself.
func (ts *tools) permitted(ctx context.Context, c *ca, w Want, methods []string, pressing bool) ([]string, *acme.Failure) {
	p := ts.asked()
	if p == nil {
		return methods, nil
	}
	set, err := p.CAA(ctx, w.Hostname)
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
	if verdict.NeedsAccount { // a record names accounts, so ours must be known
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
