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
	// ClassPassing means that nobody needs to do anything: the network failed, or the
	// CA answered 5xx.
	ClassPassing Class = "passing"
	// ClassCustomer means that the customer must change DNS or a web server: the CA's
	// validation failed.
	ClassCustomer Class = "customer"
	// ClassDNS means that DNS lacks the records that a challenge needs. No CA was asked.
	ClassDNS Class = "dns"
	// ClassEdge means that CAs cannot reach this server at the addresses that
	// customers' hostnames lead to, which the operator must mend. No CA was asked.
	ClassEdge Class = "edge"
	// ClassOperator means that the operator must mend the account, the configuration
	// or the storage.
	ClassOperator Class = "operator"
	// ClassCAA means that CAA records forbid the CA to issue.
	ClassCAA Class = "caa"
	// ClassLimited means that the CA asked to wait, see Failure.Scope.
	ClassLimited Class = "limited"
	// ClassWorking means that the CA has not decided yet; it is to be asked again, see
	// Failure.Working.
	ClassWorking Class = "working"
	// ClassRefused means that the CA refuses this hostname for good.
	ClassRefused Class = "refused"
)

// Scope is what must wait when a CA asks to wait.
type Scope string

const (
	ScopeName   Scope = "name"   // one hostname
	ScopeDomain Scope = "domain" // the hostnames of a registered domain
	ScopeCA     Scope = "ca"     // everything asked of the CA with this account
	// ScopeAccount is everything asked of the CA with an account that is at fault, as
	// long as the issuer line names that account.
	ScopeAccount Scope = "account"
)

// Failure is an error together with what follows from it.
type Failure struct {
	// Class says who can do something about it.
	Class Class
	// Message says what happened, for status and log.
	Message string
	// Mend says in a sentence who must act and how; empty: the class says it.
	Mend string
	// Err is the cause, for the log; nil: Message is all.
	Err error
	// Scope is what must wait; set for ClassLimited alone.
	Scope Scope
	// Until is when the CA takes requests again (ClassLimited) or wants to be asked
	// about the order again (ClassWorking). Zero: it did not say.
	Until time.Time
	// Working is what the CA is doing; set for ClassWorking alone.
	Working *Progress
	// Account reports that our account at the CA is at fault, which stops every
	// hostname there. Kept is set by the caller that has noted it, so that it is noted
	// once.
	Account, Kept bool
	// Down reports that the CA did not answer, or answered 5xx.
	Down bool
	// Spent reports that the order cannot come to a certificate any more.
	Spent bool
	// Aborted reports that a handler of an event of Caddy forbade the order.
	Aborted bool
}

// Failed makes a Failure of an error. what says what was being done; empty: the error
// says it. The error's text is cut, because it may be a stranger's.
func Failed(class Class, what string, err error) *Failure {
	if what != "" {
		what += ": "
	}
	return &Failure{Class: class, Err: err, Message: what + words.Cut(err.Error(), 200)}
}

// accountFailed is Failed for a fault of the account; mend says what the operator does.
func accountFailed(what string, err error, mend string) *Failure {
	f := Failed(ClassOperator, what, err)
	f.Account, f.Mend = true, mend
	return f
}

func (f *Failure) Error() string { return f.Message }
func (f *Failure) Unwrap() error { return f.Err }

// Elsewhere reports whether another CA may succeed where this one failed.
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

// Classify makes a Failure of any error that a request to a CA came to, for the
// hostname that it was made for. A nil error gives an empty Failure.
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
	says := words.Cut(saidOf(p), 300)
	f := &Failure{Class: ClassOperator, Err: err, Message: "the certificate authority says: " + says}
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

// limitScope reads from the text of a CA what must wait. Let's Encrypt's texts are
// known. Any other text that names the hostname stops that one, and one that does not
// stops the CA: a scope that is too wide costs time, one that is too narrow may cost
// the account.
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

// RegisteredDomain is the domain under which CAs count a hostname: the public suffix
// and one label more, or the hostname itself if it has none.
func RegisteredDomain(hostname string) string {
	bare := strings.TrimPrefix(hostname, "*.")
	d, err := publicsuffix.EffectiveTLDPlusOne(bare)
	if err != nil {
		return bare
	}
	return d
}
