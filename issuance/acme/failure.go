package acme

import (
	"context"
	"errors"
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

// Scope is what a CA's limit stops.
type Scope string

const (
	ScopeName   Scope = "name"   // one hostname
	ScopeDomain Scope = "domain" // the hostnames of a registered domain
	ScopeCA     Scope = "ca"     // everything asked of the CA with this account
	// ScopeAccount is scopeCA for a fault of the account, while it is that one.
	ScopeAccount Scope = "account"
)

// Failure is an error with what follows from it.
type Failure struct {
	Class Class
	// Scope and until are set for ClassLimited; until may be zero.
	Scope   Scope
	Until   time.Time
	Message string
	// Mend says, in a sentence, who must act and how; empty: as the class says.
	Mend string
	// Aborted: a handler of an event did not want it.
	Aborted bool
	Err     error
	// Account: our account at the CA is at fault, and kept: that is in the ledger.
	Account, Kept bool
	// Down: the CA gave no proper answer.
	Down bool
	// Spent: the order is of no use any more.
	Spent bool
	// Working is set for ClassWorking; until then is when the CA wants to be asked.
	Working *progress
}

func (f *Failure) Error() string { return f.Message }
func (f *Failure) Unwrap() error { return f.Err }

// Elsewhere reports whether another CA may well succeed.
func (f *Failure) Elsewhere() bool {
	if f.Aborted {
		return false
	}
	switch f.Class {
	case ClassCustomer, ClassDNS, ClassEdge, ClassWorking:
		return false
	}
	return true
}

// Classify decides what an error of the flow means for the hostname.
func Classify(err error, hostname string) *Failure {
	if err == nil {
		return &Failure{}
	}
	var held *HeldError
	if errors.As(err, &held) {
		return &Failure{Class: ClassLimited, Scope: limitScope(held, hostname), Until: held.Until, Message: held.Error(), Err: err}
	}
	var f *Failure
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
		return &Failure{Class: ClassPassing, Message: "the certificate authority could not be reached: " + words.Cut(err.Error(), 300), Err: err, Down: true}
	}
	return &Failure{Class: ClassPassing, Message: words.Cut(err.Error(), 300), Err: err}
}

func classifyProblem(p acmez.Problem, err error) *Failure {
	f := &Failure{Class: ClassOperator, Err: err}
	says := words.Cut(p.Detail, 300)
	if says == "" {
		says = words.Cut(strings.TrimPrefix(p.Type, acmez.ProblemTypeNamespace), 100)
	}
	f.Message = "the certificate authority says: " + says
	switch p.Type {
	case acmez.ProblemTypeRateLimited:
		f.Class, f.Scope = ClassLimited, ScopeCA
	case acmez.ProblemTypeServerInternal, acmez.ProblemTypeBadNonce:
		f.Class, f.Down = ClassPassing, p.Status >= 500
	case acmez.ProblemTypeCAA:
		f.Class = ClassCAA
	case acmez.ProblemTypeConnection, acmez.ProblemTypeDNS, acmez.ProblemTypeTLS,
		acmez.ProblemTypeUnauthorized, acmez.ProblemTypeIncorrectResponse:
		f.Class = ClassCustomer
		if _, authz := p.Resource.(acmez.Authorization); !authz && p.Type == acmez.ProblemTypeUnauthorized {
			f.Class = ClassOperator // the account, not a validation
		} else if foundAnother(p.Detail) {
			f.Mend = occupiedMend
		}
	case acmez.ProblemTypeRejectedIdentifier, acmez.ProblemTypeUnsupportedIdentifier:
		f.Class = ClassRefused
		f.Message = "the certificate authority refuses this hostname for good: " + says
	default:
		if p.Status >= 500 {
			f.Class, f.Down = ClassPassing, true
		}
	}
	return f
}

// limitScope reads the scope of a limit off the CA's words; Let's Encrypt's
// are matched, whatever names the hostname stops that one, and anything else
// stops the CA: too wide costs time, too narrow costs the account.
func limitScope(h *HeldError, hostname string) Scope {
	detail := strings.ToLower(h.Problem.Detail)
	domain := RegisteredDomain(hostname)
	bare := strings.TrimPrefix(hostname, "*.")
	switch {
	case h.Status != 429:
		return ScopeCA
	case strings.Contains(detail, "exact set of"):
		return ScopeName
	case strings.Contains(detail, "failed authorizations") && strings.Contains(detail, quoted(bare)):
		return ScopeName
	case strings.Contains(detail, "certificates") && strings.Contains(detail, quoted(domain)):
		return ScopeDomain
	case strings.Contains(detail, quoted(bare)), strings.Contains(detail, quoted(hostname)):
		return ScopeName
	}
	for _, sub := range h.Problem.Subproblems {
		if strings.EqualFold(strings.TrimPrefix(sub.Identifier.Value, "*."), bare) {
			return ScopeName
		}
	}
	return ScopeCA
}

func quoted(s string) string { return `"` + s + `"` }

// RegisteredDomain is the domain that CAs count a hostname under.
func RegisteredDomain(hostname string) string {
	bare := strings.TrimPrefix(hostname, "*.")
	d, err := publicsuffix.EffectiveTLDPlusOne(bare)
	if err != nil {
		return bare
	}
	return d
}
