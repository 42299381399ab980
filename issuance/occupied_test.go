package issuance

import (
	"strings"
	"testing"

	acmez "github.com/mholt/acmez/v3/acme"

	"github.com/apoxy-dev/caddy-apoxy/ownership"
)

// What no look of ours has seen, a CA may.
func TestACAThatFindsAnotherValueIsSaidToHaveMetACDN(t *testing.T) {
	w := newWorld(t)
	w.ca.Validate = func(string, string, string, string) *acmez.Problem {
		return &acmez.Problem{Type: acmez.ProblemTypeUnauthorized, Status: 403, Detail: `Incorrect TXT record "` + strings.Repeat("x", 400) + `" found`}
	}
	w.dns.delegate("api.example.com")
	w.s.Want(Want{Hostname: "api.example.com", UID: "u1", DNS01: true})
	o := w.until("api.example.com", "failed", worked(ownership.WorkFailed))
	if !strings.Contains(o.Mend, "Universal SSL") || !strings.Contains(o.Mend, "The customer ends that") {
		t.Errorf("the mend is %q", o.Mend)
	}
}
