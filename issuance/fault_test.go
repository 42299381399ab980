package issuance

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	acmez "github.com/mholt/acmez/v3/acme"

	"github.com/apoxy-dev/caddy-apoxy/internal/acmetest"
	"github.com/apoxy-dev/caddy-apoxy/internal/certtest"
	"github.com/apoxy-dev/caddy-apoxy/issuance/acme"
	"github.com/apoxy-dev/caddy-apoxy/ownership"
)

// A fault of the account costs one request at a time, not one for each hostname;
// what is said names the account and the mend; and another address ends it at
// once, for all.
func TestAFaultOfTheAccountHoldsTheAccount(t *testing.T) {
	for name, c := range map[string]struct {
		fault acmez.Problem
		says  string
	}{
		"deactivated": {acmez.Problem{Type: acmez.ProblemTypeUnauthorized, Status: 403, Detail: "Account is not valid, has status \"deactivated\""}, "sets another `email`"},
		"new terms":   {acmez.Problem{Type: acmez.ProblemTypeUserActionRequired, Status: 403, Detail: "terms have changed", Instance: "https://ca.test/terms"}, "agrees to the new terms at https://ca.test/terms"},
		"no external": {acmez.Problem{Type: acmez.ProblemTypeExternalAccountRequired, Status: 403, Detail: "no binding"}, "sets them as `eab KEY_ID MAC_KEY`"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.dns.delegate("first.example.com")
			w.s.Want(Want{Hostname: "first.example.com", UID: "u1", DNS01: true})
			w.until("first.example.com", "certified", seen)
			w.ca.RefuseAccounts(&c.fault)
			w.halt()
			w.start() // which does not know yet whether the account is taken
			before, many := w.ca.Count("order"), 60
			host := func(i int) string { return fmt.Sprintf("h%d.d%d.com", i, i) }
			for i := range many {
				w.dns.delegate(host(i))
				w.s.Want(Want{Hostname: host(i), UID: host(i), DNS01: true})
			}
			for i := range many {
				o := w.until(host(i), "told", worked(ownership.WorkFailed))
				if !strings.Contains(o.Message, w.ca.Server.URL+"/account/") || !strings.Contains(o.Message, "ops@example.net") {
					t.Fatalf("message %q does not name the account", o.Message)
				}
				if !strings.HasPrefix(o.Mend, "The operator ") || !strings.Contains(o.Mend, c.says) || o.Until.IsZero() {
					t.Fatalf("mend %q until %v", o.Mend, o.Until)
				}
			}
			if got := w.ca.Count("order") - before; got != 1 {
				t.Errorf("%d requests for orders, want 1", got)
			}
			w.advance(2 * time.Minute)
			w.wait("another probe", func() bool { return w.ca.Count("order")-before >= 2 }, func() string { return "" })
			w.until(host(3), "told again", worked(ownership.WorkFailed))
			if got := w.ca.Count("order") - before; got != 2 {
				t.Errorf("%d requests for orders, want 2", got)
			}
			reload(w, acme.Authority{Directory: w.ca.Directory(), Email: "new@example.net"})
			for i := range many {
				w.until(host(i), "certified", seen)
			}
		})
	}
}

// reload makes a load with another issuer line take the place of the present one.
func reload(w *world, a acme.Authority) {
	next, magic := &Issuers{}, certtest.Magic(w.t, filepath.Join(w.dir, "storage"))
	next.Set(w.magic.Issuers[0], a, magic, nil)
	w.s.SetIssuers(next)
	w.s.DropIssuers(w.is)
	w.is = next
}

// A registration that fails is not tried by each hostname, and fresh credentials
// end the pause.
func TestAnExternalAccountThatIsSpentHoldsTheAccount(t *testing.T) {
	w := newWorld(t)
	spent := true
	w.ca.Inject = func(path string) *acmetest.Answer {
		if path == "account" && spent {
			return &acmetest.Answer{Status: 400, Problem: acmez.Problem{Type: acmez.ProblemTypeMalformed, Detail: "external account key has been used"}}
		}
		return nil
	}
	a := acme.Authority{Directory: w.ca.Directory(), Email: "ops@example.net", ExternalAccount: &acmez.EAB{KeyID: "a", MACKey: "c2VjcmV0"}}
	reload(w, a)
	host := func(i int) string { return fmt.Sprintf("h%d.d%d.com", i, i) }
	for i := range batch + 50 {
		w.dns.delegate(host(i))
		w.s.Want(Want{Hostname: host(i), UID: host(i), DNS01: true})
	}
	for i := range batch + 50 {
		if o := w.until(host(i), "told", worked(ownership.WorkFailed)); !strings.Contains(o.Mend, "fresh credentials") || !strings.Contains(o.Message, "has been used") {
			t.Fatalf("%q, %q", o.Message, o.Mend)
		}
	}
	if got := w.ca.Count("account"); got != 1 {
		t.Errorf("%d registrations, want 1", got)
	}
	w.ca.Mu.Lock()
	spent = false
	w.ca.Mu.Unlock()
	a.ExternalAccount = &acmez.EAB{KeyID: "b", MACKey: "c2VjcmV0"}
	reload(w, a)
	for i := range batch + 50 {
		w.until(host(i), "certified", seen)
	}
}
