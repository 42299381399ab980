package acme

import (
	"errors"
	"fmt"
	"testing"

	acmez "github.com/mholt/acmez/v3/acme"
)

func TestClassify(t *testing.T) {
	problem := func(p acmez.Problem) error { return fmt.Errorf("doing: %w", p) }
	held := func(status int, detail string) error {
		return fmt.Errorf("doing: %w", &HeldError{Status: status, Problem: acmez.Problem{Detail: detail}})
	}
	ns := acmez.ProblemTypeNamespace
	for name, tt := range map[string]struct {
		err   error
		class Class
		scope Scope
	}{
		"too many orders stop the account":          {held(429, "too many new orders (300) from this account in the last 3h0m0s"), ClassLimited, ScopeCA},
		"too many certificates stop the domain":     {held(429, `too many certificates (50) already issued for "example.com" in the last 168h0m0s`), ClassLimited, ScopeDomain},
		"duplicates stop the name":                  {held(429, `too many certificates (5) already issued for this exact set of identifiers in the last 168h0m0s`), ClassLimited, ScopeName},
		"failed authorizations stop the name":       {held(429, `too many failed authorizations (5) for "api.example.com" in the last 1h0m0s`), ClassLimited, ScopeName},
		"a busy CA is left alone":                   {held(503, `"api.example.com"`), ClassLimited, ScopeCA},
		"a limit in unknown words stops the CA":     {held(429, "slow down"), ClassLimited, ScopeCA},
		"a failed validation is the customer's":     {problem(acmez.Problem{Type: ns + "connection", Resource: acmez.Authorization{}}), ClassCustomer, ""},
		"a wrong answer is the customer's":          {problem(acmez.Problem{Type: ns + "unauthorized", Resource: acmez.Authorization{}}), ClassCustomer, ""},
		"an account that may not is the operator's": {problem(acmez.Problem{Type: ns + "unauthorized"}), ClassOperator, ""},
		"CAA":                         {problem(acmez.Problem{Type: ns + "caa"}), ClassCAA, ""},
		"a high-risk name is refused": {problem(acmez.Problem{Type: ns + "rejectedIdentifier"}), ClassRefused, ""},
		"the CA's own trouble passes": {problem(acmez.Problem{Type: "about:blank", Status: 502}), ClassPassing, ""},
		"a missing external account":  {problem(acmez.Problem{Type: ns + "externalAccountRequired", Status: 403}), ClassOperator, ""},
		"a broken connection passes":  {errors.New("read tcp: connection reset by peer"), ClassPassing, ""},
	} {
		t.Run(name, func(t *testing.T) {
			f := Classify(tt.err, "api.example.com")
			if f.Class != tt.class || f.Scope != tt.scope || f.Message == "" {
				t.Errorf("got %s %s %q", f.Class, f.Scope, f.Message)
			}
		})
	}
}

func TestFoundAnother(t *testing.T) {
	for detail, want := range map[string]bool{
		`Incorrect TXT record "xyz" (and 1 more) found at _acme-challenge.api.example.com`:                                                          true,
		"Correct value not found for DNS challenge":                                                                                                 true,
		"The TXT record retrieved from _acme-challenge.api.example.com. at the time the challenge was validated did not contain the expected token": true,
		"No TXT record found at _acme-challenge.api.example.com":                                                                                    false,
		"DNS problem: NXDOMAIN looking up TXT for _acme-challenge.api.example.com":                                                                  false,
		"Invalid response from http://api.example.com/.well-known/acme-challenge/x: 404":                                                            false,
	} {
		if got := foundAnother(detail); got != want {
			t.Errorf("%q: %v", detail, got)
		}
	}
}

// What names a hostname is that one's, and the others go on.
func TestAProblemThatNamesAHostnameIsNotTheAccounts(t *testing.T) {
	for detail, want := range map[string]bool{
		"account is deactivated":                true,
		"not authorized":                        true,
		"not authorized for bank.example.com":   false,
		`no order for "BANK.example.com" today`: false,
	} {
		p := acmez.Problem{Type: acmez.ProblemTypeUnauthorized, Status: 403, Detail: detail}
		if got := accountFault(p, "bank.example.com") != ""; got != want {
			t.Errorf("%s: %v", detail, got)
		}
	}
}
