package issuance

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/certmagic"
	acmez "github.com/mholt/acmez/v3/acme"

	"github.com/apoxy-dev/caddy-apoxy/internal/acmetest"
	"github.com/apoxy-dev/caddy-apoxy/issuance/acme"
	"github.com/apoxy-dev/caddy-apoxy/ownership"
)

func TestAnOrderHeldMidwayIsTakenUpWhenTheHoldIsOver(t *testing.T) {
	for _, at := range []string{"authz", "chal", "finalize", "cert"} {
		t.Run("at "+at, func(t *testing.T) {
			w := newWorld(t)
			until := time.Now().Add(2 * time.Second).Truncate(time.Second)
			w.ca.Inject = func(path string) *acmetest.Answer {
				if strings.HasPrefix(path, at+"/") && time.Now().Before(until) {
					return &acmetest.Answer{Status: 503, Header: map[string]string{"Retry-After": until.UTC().Format("Mon, 02 Jan 2006 15:04:05 GMT")},
						Problem: acmez.Problem{Type: acmez.ProblemTypeServerInternal, Detail: "busy"}}
				}
				return nil
			}
			w.dns.delegate("api.example.com")
			w.s.Want(Want{Hostname: "api.example.com", UID: "u1", DNS01: true})
			w.until("api.example.com", "certified", seen)
			if time.Now().Before(until) {
				t.Error("the hold was not waited for")
			}
			if w.ca.Placed() != 1 {
				t.Errorf("%d orders", w.ca.Placed())
			}
		})
	}
}

func TestHandshakesForAHostnameInTroubleFailAtOnceWithoutAnOrder(t *testing.T) {
	w := newWorld(t)
	w.s.Want(Want{Hostname: "www.example.com", UID: "u1", HTTP01: true})
	w.until("www.example.com", "failed", worked(ownership.WorkFailed))
	placed := w.ca.Placed()
	for range 20 {
		began := time.Now()
		err := w.magic.ObtainCertAsync(context.Background(), "www.example.com")
		var noRetry certmagic.ErrNoRetry
		if !errors.As(err, &noRetry) || !strings.Contains(err.Error(), "the last try failed") {
			t.Fatalf("got %v", err)
		}
		if took := time.Since(began); took > 2*time.Second {
			t.Errorf("took %v", took)
		}
	}
	if w.ca.Placed() != placed {
		t.Errorf("%d orders", w.ca.Placed()-placed)
	}
}

func TestARenewalThatReplacesIsNotCountedAgainstTheBudget(t *testing.T) {
	w := newWorld(t)
	w.is.Set(w.magic.Issuers[0], acme.Authority{Directory: w.ca.Directory(), Email: "ops@example.net", Budget: acme.Budget{Orders: 1, Per: time.Hour}}, w.magic, nil)
	due := true
	w.ca.Windows = func(nb, na time.Time) (time.Time, time.Time) {
		if due {
			due = false
			return nb.Add(-2 * time.Hour), nb.Add(-time.Hour)
		}
		return na.Add(-30 * 24 * time.Hour), na.Add(-29 * 24 * time.Hour)
	}
	w.dns.delegate("api.example.com")
	w.s.Want(Want{Hostname: "api.example.com", UID: "u1", DNS01: true})
	w.wait("the renewal", func() bool { return w.ca.Placed() == 2 }, func() string { return "" })
}

func TestARefusedHostnameIsNotTriedAgainByItself(t *testing.T) {
	w := newWorld(t)
	w.ca.Inject = func(path string) *acmetest.Answer {
		if path == "order" {
			return &acmetest.Answer{Status: 400, Problem: acmez.Problem{Type: acmez.ProblemTypeRejectedIdentifier, Detail: "high risk"}}
		}
		return nil
	}
	w.dns.delegate("bank.example.com")
	w.s.Want(Want{Hostname: "bank.example.com", UID: "u1", DNS01: true})
	o := w.until("bank.example.com", "refused", worked(ownership.WorkFailed))
	if !o.Until.IsZero() || !strings.Contains(o.Message, "refuses this hostname for good: high risk; it is not tried again by itself") {
		t.Errorf("observed %+v", o)
	}
}

// A CA that is down costs a few requests, not some for every hostname, and
// what waited for it resumes.
func TestACAThatIsDownIsNotHammered(t *testing.T) {
	w := newWorld(t)
	down := true
	w.ca.Inject = func(path string) *acmetest.Answer {
		if down && path == "order" {
			return &acmetest.Answer{Status: 500, Problem: acmez.Problem{Type: acmez.ProblemTypeServerInternal, Detail: "down"}}
		}
		return nil
	}
	const n = 200
	host := func(i int) string { return fmt.Sprintf("h%d.d%d.com", i, i) }
	for i := range n {
		w.dns.delegate(host(i))
		w.s.Want(Want{Hostname: host(i), UID: "u", DNS01: true})
	}
	var o ownership.CertificateObservation
	w.wait("all to know", func() bool {
		for i := range n {
			if o = w.s.Observe(host(i)); o.Work != ownership.WorkFailed {
				return false
			}
		}
		return true
	}, func() string { return fmt.Sprintf("%+v", o) })
	if got := w.ca.Count("order"); got > 3*(defaultConcurrency+downAfter) { // acmez tries each three times
		t.Errorf("%d requests for orders", got)
	}
	w.ca.Mu.Lock()
	down = false
	w.ca.Mu.Unlock()
	for i := range n {
		w.until(host(i), "certified", seen)
	}
}

// A limit of one hostname stops the questions about its renewal window, too.
func TestAHeldHostnameIsNotPolledForItsWindow(t *testing.T) {
	w := newWorld(t)
	for _, host := range []string{"held.example.com", "free.example.org"} {
		w.dns.delegate(host)
		w.s.Want(Want{Hostname: host, UID: host, DNS01: true})
		w.until(host, "certified", seen)
	}
	c := w.is.cas()[0]
	if _, err := w.s.ledger.put(context.Background(), c, acme.ScopeName, "held.example.com", time.Now().Add(24*time.Hour), "too many", time.Now()); err != nil {
		t.Fatal(err)
	}
	polls := func(host string, after time.Duration) func() bool {
		return func() bool {
			w.s.entries.mu.Lock()
			defer w.s.entries.mu.Unlock()
			_, poll := w.s.entries.of.get(host).poll()
			return poll.After(time.Now().Add(after))
		}
	}
	asked := w.ca.Count("ari")
	w.advance(8 * time.Hour)
	w.wait("the held one to be put off", polls("held.example.com", 23*time.Hour), func() string { return "" })
	w.wait("the other one to be polled", polls("free.example.org", 8*time.Hour), func() string { return "" })
	if got := w.ca.Count("ari") - asked; got != 1 {
		t.Errorf("%d polls, want that of the one that is not held", got)
	}
}
