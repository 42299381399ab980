package issuance

import (
	"strings"
	"testing"
	"time"

	acmez "github.com/mholt/acmez/v3/acme"

	"github.com/apoxy-dev/caddy-apoxy/internal/acmetest"
	"github.com/apoxy-dev/caddy-apoxy/issuance/acme"
	"github.com/apoxy-dev/caddy-apoxy/ownership"
)

var (
	refusing = &acmetest.Answer{Status: 400, Problem: acmez.Problem{Type: acmez.ProblemTypeRejectedIdentifier, Detail: "high risk"}}
	failing  = &acmetest.Answer{Status: 500, Problem: acmez.Problem{Type: acmez.ProblemTypeServerInternal, Detail: "down"}}
)

// While the second CA is down for long the first, which has refused, is not asked
// with each try.
func TestACAThatRefusedIsNotAskedWhileAnotherFails(t *testing.T) {
	w := newWorld(t)
	other := w.second()
	w.ca.AnswerOrders(refusing)
	other.AnswerOrders(failing)
	w.dns.delegate("bank.example.com")
	w.s.Want(Want{Hostname: "bank.example.com", UID: "u1", DNS01: true})
	for range 3 {
		before := other.Count("order")
		w.wait("a try at the second", func() bool { return other.Count("order") > before }, func() string { return "" })
		w.until("bank.example.com", "failed", func(o ownership.CertificateObservation) bool {
			return o.Work == ownership.WorkFailed && !o.Until.IsZero()
		})
		w.advance(20 * time.Minute)
	}
	if got := w.ca.Count("order"); got != 1 {
		t.Errorf("%d orders at the CA that refused, want 1", got)
	}
	other.AnswerOrders(nil)
	w.advance(time.Hour)
	w.until("bank.example.com", "certified", seen)
}

// A second CA's refusal does not make that of a first final that only asked to
// wait: the hostname goes on with it, after a restart too.
func TestARefusalElsewhereDoesNotEndAHold(t *testing.T) {
	w := newWorld(t)
	w.ca.AnswerOrders(&acmetest.Answer{Status: 429, Header: map[string]string{"Retry-After": "600"}, Problem: acmez.Problem{Type: acmez.ProblemTypeRateLimited, Detail: "busy"}})
	other := w.second()
	other.AnswerOrders(refusing)
	w.dns.delegate("bank.example.com")
	w.s.Want(Want{Hostname: "bank.example.com", UID: "u1", DNS01: true})
	w.until("bank.example.com", "held", worked(ownership.WorkRateLimited))
	w.halt()
	w.start()
	w.is.Set("second", acme.Authority{Directory: other.Directory(), Email: "ops@example.net"}, w.magic, nil)
	w.s.Want(Want{Hostname: "bank.example.com", UID: "u1", DNS01: true})
	w.until("bank.example.com", "held", worked(ownership.WorkRateLimited))
	w.ca.AnswerOrders(nil)
	w.advance(15 * time.Minute)
	w.until("bank.example.com", "certified", seen)
	if got := other.Count("order"); got != 1 {
		t.Errorf("%d orders at the CA that refused, want 1", got)
	}
}

// A refusal is about the name: a change of DNS is no reason to try again.
func TestARefusalOutlastsAChangeOfDNS(t *testing.T) {
	w := newWorld(t)
	w.ca.AnswerOrders(refusing)
	w.dns.delegate("bank.example.com")
	w.s.Want(Want{Hostname: "bank.example.com", UID: "u1", DNS01: true})
	w.until("bank.example.com", "refused", worked(ownership.WorkFailed))
	w.s.Want(Want{Hostname: "bank.example.com", UID: "u1"})
	w.s.Want(Want{Hostname: "bank.example.com", UID: "u1", DNS01: true, HTTP01: true})
	if o := w.s.Observe("bank.example.com"); o.Work != ownership.WorkFailed || !strings.Contains(o.Message, "for good") {
		t.Errorf("observed %+v", o)
	}
	if got := w.ca.Count("order"); got != 1 {
		t.Errorf("%d orders", got)
	}
	w.ca.AnswerOrders(nil)
	w.s.Retry("bank.example.com")
	w.until("bank.example.com", "certified", seen)
}

// The pauses after what fails at a second CA, of up to hours, are not for the
// first, which only asked to wait.
func TestAFailureElsewhereDoesNotLengthenAHold(t *testing.T) {
	w := newWorld(t)
	w.ca.AnswerOrders(&acmetest.Answer{Status: 429, Header: map[string]string{"Retry-After": "600"}, Problem: acmez.Problem{Type: acmez.ProblemTypeRateLimited, Detail: "busy"}})
	other := w.second()
	other.AnswerOrders(&acmetest.Answer{Status: 403, Problem: acmez.Problem{Type: acmez.ProblemTypeBadCSR}})
	w.dns.delegate("api.example.com")
	w.s.Want(Want{Hostname: "api.example.com", UID: "u1", DNS01: true})
	for n := range 3 {
		w.wait("the failure", func() bool { return other.Count("order") == n+1 }, func() string { return "" })
		w.until("api.example.com", "failed", worked(ownership.WorkFailed))
		if n < 2 {
			w.s.Retry("api.example.com")
		}
	}
	w.ca.AnswerOrders(nil)
	w.advance(15 * time.Minute)
	w.until("api.example.com", "certified", seen)
	if got := other.Count("order"); got != 3 {
		t.Errorf("%d orders at the second CA, want 3", got)
	}
}
