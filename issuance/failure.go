package issuance

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	acmez "github.com/mholt/acmez/v3/acme"
	"golang.org/x/net/publicsuffix"

	"github.com/apoxy-dev/caddy-apoxy/internal/words"
)

// Class says who can do something about a failure.
type Class string

const (
	// ClassPassing: nobody needs to do anything (network, the CA's 5xx).
	ClassPassing Class = "passing"
	// ClassCustomer: the customer's DNS or web server must change.
	ClassCustomer Class = "customer"
	// ClassDNS: the records that any challenge needs are not there; nothing was
	// asked of a CA.
	ClassDNS Class = "dns"
	// ClassEdge: CAs cannot reach this server where customers' hostnames lead;
	// nothing was asked of one. The operator must mend it.
	ClassEdge Class = "edge"
	// ClassOperator: the account, the configuration or the store must be mended.
	ClassOperator Class = "operator"
	// ClassCAA: CAA records forbid every CA that may be used.
	ClassCAA Class = "caa"
	// ClassLimited: the CA asked to wait.
	ClassLimited Class = "limited"
	// ClassWorking: the CA has not decided yet and is asked again.
	ClassWorking Class = "working"
	// ClassRefused: the CA refuses this name for good.
	ClassRefused Class = "refused"
)

// scope is what a CA's limit stops.
type scope string

const (
	scopeName   scope = "name"   // one hostname
	scopeDomain scope = "domain" // the hostnames of a registered domain
	scopeCA     scope = "ca"     // everything asked of the CA with this account
	// scopeAccount is scopeCA for a fault of the account, while it is that one.
	scopeAccount scope = "account"
)

// failure is an error with what follows from it.
type failure struct {
	class Class
	// scope and until are set for ClassLimited; until may be zero.
	scope   scope
	until   time.Time
	message string
	// mend says, in a sentence, who must act and how; empty: as the class says.
	mend string
	// aborted: a handler of an event did not want it.
	aborted bool
	err     error
	// account: our account at the CA is at fault, and kept: that is in the ledger.
	account, kept bool
	// down: the CA gave no proper answer.
	down bool
	// spent: the order is of no use any more.
	spent bool
	// working is set for ClassWorking; until then is when the CA wants to be asked.
	working *progress
}

func (f *failure) Error() string { return f.message }
func (f *failure) Unwrap() error { return f.err }

// elsewhere reports whether another CA may well succeed.
func (f *failure) elsewhere() bool {
	if f.aborted {
		return false
	}
	switch f.class {
	case ClassCustomer, ClassDNS, ClassEdge, ClassWorking:
		return false
	}
	return true
}

// classify decides what an error of the flow means for the hostname.
func classify(err error, hostname string) *failure {
	if err == nil {
		return &failure{}
	}
	var held *heldError
	if errors.As(err, &held) {
		return &failure{class: ClassLimited, scope: limitScope(held, hostname), until: held.Until, message: held.Error(), err: err}
	}
	var f *failure
	if errors.As(err, &f) {
		return f
	}
	var p acmez.Problem
	if errors.As(err, &p) {
		return classifyProblem(p, err)
	}
	var ne net.Error
	switch {
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded), errors.As(err, &ne):
		return &failure{class: ClassPassing, message: "the certificate authority could not be reached: " + words.Cut(err.Error(), 300), err: err, down: true}
	}
	return &failure{class: ClassPassing, message: words.Cut(err.Error(), 300), err: err}
}

// caSays begins messages that are in a CA's words.
const caSays = "the certificate authority says: "

func classifyProblem(p acmez.Problem, err error) *failure {
	f := &failure{class: ClassOperator, err: err}
	says := words.Cut(p.Detail, 300)
	if says == "" {
		says = words.Cut(strings.TrimPrefix(p.Type, acmez.ProblemTypeNamespace), 100)
	}
	f.message = caSays + says
	switch p.Type {
	case acmez.ProblemTypeRateLimited:
		f.class, f.scope = ClassLimited, scopeCA
	case acmez.ProblemTypeServerInternal, acmez.ProblemTypeBadNonce:
		f.class, f.down = ClassPassing, p.Status >= 500
	case acmez.ProblemTypeCAA:
		f.class = ClassCAA
	case acmez.ProblemTypeConnection, acmez.ProblemTypeDNS, acmez.ProblemTypeTLS,
		acmez.ProblemTypeUnauthorized, acmez.ProblemTypeIncorrectResponse:
		f.class = ClassCustomer
		if _, authz := p.Resource.(acmez.Authorization); !authz && p.Type == acmez.ProblemTypeUnauthorized {
			f.class = ClassOperator // the account, not a validation
		} else if foundAnother(p.Detail) {
			f.mend = occupiedMend
		}
	case acmez.ProblemTypeRejectedIdentifier, acmez.ProblemTypeUnsupportedIdentifier:
		f.class = ClassRefused
		f.message = "the certificate authority refuses this hostname for good: " + says
	default:
		if p.Status >= 500 {
			f.class, f.down = ClassPassing, true
		}
	}
	return f
}

// limitScope reads the scope of a limit off the CA's words; Let's Encrypt's
// are matched, whatever names the hostname stops that one, and anything else
// stops the CA: too wide costs time, too narrow costs the account.
func limitScope(h *heldError, hostname string) scope {
	detail := strings.ToLower(h.Problem.Detail)
	domain := registeredDomain(hostname)
	bare := strings.TrimPrefix(hostname, "*.")
	switch {
	case h.Status != 429:
		return scopeCA
	case strings.Contains(detail, "exact set of"):
		return scopeName
	case strings.Contains(detail, "failed authorizations") && strings.Contains(detail, quoted(bare)):
		return scopeName
	case strings.Contains(detail, "certificates") && strings.Contains(detail, quoted(domain)):
		return scopeDomain
	case strings.Contains(detail, quoted(bare)), strings.Contains(detail, quoted(hostname)):
		return scopeName
	}
	for _, sub := range h.Problem.Subproblems {
		if strings.EqualFold(strings.TrimPrefix(sub.Identifier.Value, "*."), bare) {
			return scopeName
		}
	}
	return scopeCA
}

func quoted(s string) string { return `"` + s + `"` }

// registeredDomain is the domain that CAs count a hostname under.
func registeredDomain(hostname string) string {
	bare := strings.TrimPrefix(hostname, "*.")
	d, err := publicsuffix.EffectiveTLDPlusOne(bare)
	if err != nil {
		return bare
	}
	return d
}

var backoffs = map[Class][]time.Duration{
	ClassPassing:  {5 * time.Second, 15 * time.Second, time.Minute, 3 * time.Minute, 10 * time.Minute, 30 * time.Minute, time.Hour},
	ClassCustomer: {time.Minute, 5 * time.Minute, 20 * time.Minute, time.Hour, 3 * time.Hour, 6 * time.Hour, 12 * time.Hour, 24 * time.Hour},
	ClassDNS:      {30 * time.Second, time.Minute, 2 * time.Minute, 5 * time.Minute, 15 * time.Minute, time.Hour},
	ClassEdge:     {30 * time.Second, time.Minute, 2 * time.Minute},
	ClassCAA:      {30 * time.Second, time.Minute, 2 * time.Minute, 5 * time.Minute, 15 * time.Minute, time.Hour},
	ClassOperator: {time.Minute, 10 * time.Minute, time.Hour, 6 * time.Hour},
	ClassLimited:  {10 * time.Minute, 30 * time.Minute, time.Hour, 3 * time.Hour},
}

// backoff is how long the n-th failure in a row (from 1) of a class keeps a
// name waiting; f in [0,1) spreads it by up to a fifth. Zero for ClassRefused:
// not again by itself.
func backoff(c Class, n int, f float64) time.Duration {
	steps := backoffs[c]
	if len(steps) == 0 {
		return 0
	}
	d := steps[min(max(n, 1), len(steps))-1]
	return d + time.Duration(f*float64(d)/5)
}

// errUnknownName refuses to order for a hostname that no record asks for.
func errUnknownName(hostname string) error {
	return fmt.Errorf("ordering a certificate for %q: no record asks for one; create a DomainRecord with spec.tls", words.Cut(hostname, 253))
}
