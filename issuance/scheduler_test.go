package issuance

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddyserver/certmagic"
	acmez "github.com/mholt/acmez/v3/acme"

	"github.com/apoxy-dev/caddy-apoxy/internal/acmetest"
	"github.com/apoxy-dev/caddy-apoxy/issuance/acme"
	"github.com/apoxy-dev/caddy-apoxy/issuance/certfiles"
	"github.com/apoxy-dev/caddy-apoxy/ownership"
)

// testIssuer is what caddyapoxy.Issuer is to certmagic.
type testIssuer struct{ w *world }

func (i *testIssuer) Issue(ctx context.Context, csr *x509.CertificateRequest) (*certmagic.IssuedCertificate, error) {
	return i.w.s.Issue(ctx, i.w.is, i, csr)
}

func (i *testIssuer) IssuerKey() string { return acme.Authority{Directory: i.w.ca.Directory()}.Key() }

func TestADelegatedHostnameGetsItsCertificateByDNS01(t *testing.T) {
	w := newWorld(t)
	w.dns.delegate("api.example.com")
	w.s.Want(Want{Hostname: "api.example.com", UID: "u1", DNS01: true})
	o := w.until("api.example.com", "certified", seen)
	if o.Challenge != "dns-01" || o.RecordUID != "u1" || o.Issuer != "Test Root 1" || o.SerialNumber == "" || o.Work != ownership.WorkNone {
		t.Errorf("observed %+v", o)
	}
	if !o.RenewalTime.After(time.Now().Add(55*24*time.Hour)) || !o.RenewalTime.Before(o.NotAfter) {
		t.Errorf("renewal at %v of %v", o.RenewalTime, o.NotAfter)
	}
	cert, err := w.magic.CacheManagedCertificate(context.Background(), "api.example.com")
	if err != nil {
		t.Fatalf("certmagic does not load it: %v", err)
	}
	if err := cert.Leaf.VerifyHostname("api.example.com"); err != nil {
		t.Error(err)
	}
	if w.zone.Len("api.example.com") != 0 {
		t.Error("the challenge value stayed behind")
	}
}

func TestAHostnameThatResolvesHereGetsItByHTTP01ThroughCertmagicsOwnHandler(t *testing.T) {
	w := newWorld(t)
	responder := certmagic.NewACMEIssuer(w.magic, certmagic.ACMEIssuer{CA: w.ca.Directory()})
	w.ca.Validate = func(host, kind, token, keyAuth string) *acmez.Problem {
		rec := httptest.NewRecorder()
		req := httptest.NewRequest(http.MethodGet, "http://"+host+"/.well-known/acme-challenge/"+token, nil)
		if kind == "http-01" && responder.HandleHTTPChallenge(rec, req) && rec.Body.String() == keyAuth {
			return nil
		}
		return &acmez.Problem{Type: acmez.ProblemTypeUnauthorized, Detail: "wrong answer " + rec.Body.String()}
	}
	w.s.Want(Want{Hostname: "www.example.com", UID: "u1", HTTP01: true})
	if o := w.until("www.example.com", "certified", seen); o.Challenge != "http-01" {
		t.Errorf("observed %+v", o)
	}
}

func TestNothingIsOrderedWithoutARecordOrAProof(t *testing.T) {
	w := newWorld(t)
	w.s.Want(Want{Hostname: "pending.example.com", UID: "u1"})
	w.until("pending.example.com", "looked for", func(o ownership.CertificateObservation) bool { return o.Outcome == ownership.Absent })
	err := w.magic.ObtainCertSync(context.Background(), "stranger.example.com")
	var noRetry certmagic.ErrNoRetry
	if !errors.As(err, &noRetry) || !strings.Contains(err.Error(), "no record asks for one") {
		t.Errorf("a stranger: %v", err)
	}
	w.s.Want(Want{Hostname: "lied.example.com", UID: "u1", DNS01: true}) // DNS says otherwise
	o := w.until("lied.example.com", "refused by the probe", func(o ownership.CertificateObservation) bool { return o.Message != "" && o.Work == ownership.WorkNone })
	if !strings.Contains(o.Message, "not delegated") {
		t.Errorf("message %q", o.Message)
	}
	if n := w.ca.Count(""); n != 0 {
		t.Errorf("%d requests reached the CA", n)
	}
}

func TestAHandshakeThatReachesIssueObtainsAndIsRecorded(t *testing.T) {
	w := newWorld(t)
	w.dns.delegate("lost.example.com")
	w.s.Want(Want{Hostname: "lost.example.com", UID: "u1", DNS01: true})
	first := w.until("lost.example.com", "certified", seen)
	// Storage is lost behind our back; certmagic asks for the name.
	if err := certfiles.At(w.magic.Storage, w.is.cas()[0].Key, "lost.example.com").Delete(context.Background()); err != nil {
		t.Fatal(err)
	}
	if err := w.magic.ObtainCertSync(context.Background(), "lost.example.com"); err != nil {
		t.Fatal(err)
	}
	o := w.until("lost.example.com", "replaced", func(o ownership.CertificateObservation) bool { return o.SerialNumber != first.SerialNumber })
	st, err := certfiles.At(w.magic.Storage, w.is.cas()[0].Key, "lost.example.com").Load(context.Background())
	if err != nil || st.Meta.Provenance == nil || st.Meta.Provenance.UID != "u1" || o.Outcome != ownership.Seen {
		t.Errorf("stored %+v, %v; observed %+v", st.Meta.Provenance, err, o)
	}
	// And what is there is the scheduler's to renew.
	err = w.magic.RenewCertSync(context.Background(), "lost.example.com", true)
	var noRetry certmagic.ErrNoRetry
	if !errors.As(err, &noRetry) || w.ca.Placed() != 2 {
		t.Errorf("renewing: %v, %d orders", err, w.ca.Placed())
	}
}

func TestACertificateIsFoundAgainInStorageWhenTheIndexIsLost(t *testing.T) {
	w := newWorld(t)
	w.dns.delegate("api.example.com")
	w.s.Want(Want{Hostname: "api.example.com", UID: "u1", Owner: "acme", DNS01: true})
	before := w.until("api.example.com", "certified", seen)
	w.halt()
	w.dir = t.TempDir() // another store, the same storage
	w.start()
	w.s.Want(Want{Hostname: "api.example.com", UID: "u1", Owner: "acme"})
	o := w.until("api.example.com", "found", seen)
	if o.SerialNumber != before.SerialNumber || o.Challenge != "dns-01" || w.ca.Placed() != 1 {
		t.Errorf("observed %+v after %d orders", o, w.ca.Placed())
	}
	// For another tenant it is no proof, and a new one is obtained.
	w.s.Want(Want{Hostname: "api.example.com", UID: "u2", Owner: "other", DNS01: true})
	o = w.until("api.example.com", "issued anew", func(o ownership.CertificateObservation) bool { return seen(o) && o.RecordUID == "u2" })
	if o.SerialNumber == before.SerialNumber {
		t.Error("the other tenant's certificate passed on")
	}
}

func TestARestartKnowsEverythingWithoutStorage(t *testing.T) {
	w := newWorld(t)
	w.dns.delegate("api.example.com")
	w.s.Want(Want{Hostname: "api.example.com", UID: "u1", DNS01: true})
	before := w.until("api.example.com", "certified", seen)
	w.halt()
	w.start()
	w.s.Want(Want{Hostname: "api.example.com", UID: "u1"})
	o := w.until("api.example.com", "known", seen)
	if o != before {
		t.Errorf("observed\n%+v, before\n%+v", o, before)
	}
}

func TestACAThatAsksToWaitIsLeftAlone(t *testing.T) {
	for name, in := range map[string]acmetest.Answer{
		"429 with seconds": {Status: 429, Header: map[string]string{"Retry-After": "3600"}, Problem: acmez.Problem{Type: acmez.ProblemTypeRateLimited, Detail: "too many new orders (300) from this account"}},
		"503 with a date":  {Status: 503, Header: map[string]string{"Retry-After": time.Now().Add(time.Hour).UTC().Format(http.TimeFormat)}, Problem: acmez.Problem{Type: acmez.ProblemTypeServerInternal, Detail: "busy"}},
		"429 in words":     {Status: 429, Problem: acmez.Problem{Type: acmez.ProblemTypeRateLimited, Detail: "too many, retry after " + time.Now().Add(time.Hour).UTC().Format("2006-01-02 15:04:05") + " UTC"}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.ca.Inject = func(path string) *acmetest.Answer {
				if path == "order" {
					return &in
				}
				return nil
			}
			for _, h := range []string{"a.example.com", "b.example.org"} {
				w.dns.delegate(h)
			}
			w.s.Want(Want{Hostname: "a.example.com", UID: "u1", DNS01: true})
			o := w.until("a.example.com", "held", worked(ownership.WorkRateLimited))
			if d := time.Until(o.Until); d < 58*time.Minute || d > 61*time.Minute {
				t.Errorf("held for %v: %q", d, o.Message)
			}
			n := w.ca.Count("")
			if w.ca.Count("order") != 1 {
				t.Errorf("%d requests for an order", w.ca.Count("order"))
			}
			w.s.Want(Want{Hostname: "b.example.org", UID: "u2", DNS01: true})
			w.until("b.example.org", "held", worked(ownership.WorkRateLimited))
			w.halt() // and over a restart
			w.start()
			w.s.Want(Want{Hostname: "a.example.com", UID: "u1", DNS01: true})
			w.s.Retry("a.example.com")
			w.until("a.example.com", "held after the restart", worked(ownership.WorkRateLimited))
			if w.ca.Count("") != n {
				t.Errorf("%d requests while held", w.ca.Count("")-n)
			}
		})
	}
}

func TestALimitOfOneDomainStopsNoOther(t *testing.T) {
	w := newWorld(t)
	w.ca.Inject = func(path string) *acmetest.Answer {
		if path == "order" && w.ca.Requests["order"] == 1 {
			return &acmetest.Answer{Status: 429, Header: map[string]string{"Retry-After": "3600"},
				Problem: acmez.Problem{Type: acmez.ProblemTypeRateLimited, Detail: `too many certificates (50) already issued for "example.com" in the last 168h0m0s`}}
		}
		return nil
	}
	for _, h := range []string{"a.example.com", "b.example.com", "c.example.org"} {
		w.dns.delegate(h)
	}
	w.s.Want(Want{Hostname: "a.example.com", UID: "1", DNS01: true})
	w.until("a.example.com", "held", worked(ownership.WorkRateLimited))
	w.s.Want(Want{Hostname: "b.example.com", UID: "2", DNS01: true})
	w.s.Want(Want{Hostname: "c.example.org", UID: "3", DNS01: true})
	w.until("c.example.org", "certified", seen)
	w.until("b.example.com", "held too", worked(ownership.WorkRateLimited))
	if w.ca.Count("order") == 0 || w.ca.Placed() != 1 {
		t.Errorf("%d orders", w.ca.Placed())
	}
}

func TestCAAIsCheckedBeforeAnOrder(t *testing.T) {
	w := newWorld(t)
	w.ca.Identities = []string{"ca.test"}
	w.dns.delegate("api.example.com")
	w.dns.caa["api.example.com"] = caaSet("other.test")
	w.s.Want(Want{Hostname: "api.example.com", UID: "u1", DNS01: true})
	o := w.until("api.example.com", "forbidden", worked(ownership.WorkCAAForbids))
	if !strings.Contains(o.Mend, `example.com. CAA 0 issue "ca.test"`) {
		t.Errorf("mend %q", o.Mend)
	}
	if w.ca.Count("order") != 0 {
		t.Error("an order was placed")
	}
	w.dns.mu.Lock()
	delete(w.dns.caa, "api.example.com")
	w.dns.mu.Unlock()
	w.s.Retry("api.example.com")
	w.until("api.example.com", "certified", seen)
	got := w.s.CAAIssuers()
	if len(got) != 1 || !slices.Equal(got[0].Identities, []string{"ca.test"}) || !strings.HasPrefix(got[0].Account, w.ca.Server.URL+"/account/") ||
		!slices.Equal(got[0].Methods, []string{"dns-01", "http-01", "tls-alpn-01"}) || !slices.Contains(got[0].Names, "127.0.0.1") {
		t.Errorf("issuers %+v", got)
	}
}

func TestAFailedValidationWaitsForDNSToChange(t *testing.T) {
	w := newWorld(t)
	w.s.Want(Want{Hostname: "www.example.com", UID: "u1", HTTP01: true})
	o := w.until("www.example.com", "failed", worked(ownership.WorkFailed))
	if !strings.Contains(o.Message, "no answer to tls-alpn-01") || time.Until(o.Until) < 30*time.Second {
		t.Errorf("observed %+v", o)
	}
	if w.ca.Placed() != 2 || w.ca.Order(1).Kind != "tls-alpn-01" {
		t.Errorf("%d orders, the last by %s", w.ca.Placed(), w.ca.Order(w.ca.Placed()-1).Kind)
	}
	w.dns.delegate("www.example.com")
	w.s.Want(Want{Hostname: "www.example.com", UID: "u1", HTTP01: true, DNS01: true})
	w.until("www.example.com", "certified", seen)
}

func TestAnIdleCertificateIsRenewedWithReplacesAndLeavesMemory(t *testing.T) {
	w := newWorld(t)
	past := true
	w.ca.Windows = func(nb, na time.Time) (time.Time, time.Time) {
		if past {
			past = false // revoked, says the CA: renew at once
			return nb.Add(-2 * time.Hour), nb.Add(-time.Hour)
		}
		return na.Add(-30 * 24 * time.Hour), na.Add(-29 * 24 * time.Hour)
	}
	w.dns.delegate("idle.example.com")
	w.s.Want(Want{Hostname: "idle.example.com", UID: "u1", DNS01: true})
	w.wait("two orders", func() bool { return w.ca.Placed() == 2 }, func() string { return "" })
	w.until("idle.example.com", "renewed", func(o ownership.CertificateObservation) bool {
		return seen(o) && o.Work == ownership.WorkNone && time.Until(o.RenewalTime) > 24*time.Hour
	})
	if r := w.ca.Order(1).Replaces; r == "" {
		t.Error("the renewal replaces nothing")
	}
}

// A CA may not know the certificate that is to be replaced: it forgot it, or
// another account has it.
func TestARenewalThatMayNotReplaceIsPlacedWithout(t *testing.T) {
	for name, p := range map[string]acmez.Problem{
		"replaced already":          {Type: acmez.ProblemTypeAlreadyReplaced, Status: 409},
		"another account's":         {Type: acmez.ProblemTypeUnauthorized, Status: 403},
		"not found":                 {Type: acmez.ProblemTypeMalformed, Status: 404},
		"not found, in other words": {Type: acmez.ProblemTypeServerInternal, Status: 500, Detail: "could not find an order for the given certificate"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.ca.Replaces = &p
			var once sync.Once
			w.ca.Windows = func(nb, na time.Time) (start, end time.Time) {
				start, end = na.Add(-30*24*time.Hour), na.Add(-29*24*time.Hour)
				once.Do(func() { start, end = nb.Add(-2*time.Hour), nb.Add(-time.Hour) }) // revoked, says the CA
				return start, end
			}
			w.dns.delegate("idle.example.com")
			w.s.Want(Want{Hostname: "idle.example.com", UID: "u1", DNS01: true})
			w.wait("two orders", func() bool { return w.ca.Placed() == 2 }, func() string { return fmt.Sprint(w.ca.Placed()) })
			w.until("idle.example.com", "renewed", func(o ownership.CertificateObservation) bool {
				return seen(o) && o.Work == ownership.WorkNone && time.Until(o.RenewalTime) > 24*time.Hour
			})
			if r := w.ca.Order(1).Replaces; r != "" {
				t.Errorf("the order names %q", r)
			}
		})
	}
}

func TestAPlacedOrderIsTakenUpAgainAfterACrash(t *testing.T) {
	for _, at := range []string{"authz", "chal", "finalize", "cert"} {
		t.Run("at "+at, func(t *testing.T) {
			w := newWorld(t)
			hit := make(chan struct{}, 1)
			broken := true
			w.ca.Inject = func(path string) *acmetest.Answer {
				if broken && strings.HasPrefix(path, at+"/") {
					select {
					case hit <- struct{}{}:
					default:
					}
					return &acmetest.Answer{Status: 500, Problem: acmez.Problem{Type: acmez.ProblemTypeServerInternal, Detail: "down"}}
				}
				return nil
			}
			w.dns.delegate("api.example.com")
			w.s.Want(Want{Hostname: "api.example.com", UID: "u1", DNS01: true})
			<-hit
			w.halt()
			w.ca.Mu.Lock()
			broken = false
			w.ca.Mu.Unlock()
			w.start()
			w.s.Want(Want{Hostname: "api.example.com", UID: "u1", DNS01: true})
			w.s.Retry("api.example.com")
			w.until("api.example.com", "certified", seen)
			if w.ca.Placed() != 1 {
				t.Errorf("%d orders", w.ca.Placed())
			}
			if w.zone.Len("api.example.com") != 0 {
				t.Error("the challenge value stayed behind")
			}
		})
	}
}

func TestAnAccountThatIsGoneIsRegisteredAnew(t *testing.T) {
	w := newWorld(t)
	w.dns.delegate("a.example.com")
	w.dns.delegate("b.example.com")
	w.s.Want(Want{Hostname: "a.example.com", UID: "u1", DNS01: true})
	w.until("a.example.com", "certified", seen)
	w.ca.Mu.Lock()
	clear(w.ca.Accounts)
	w.ca.Mu.Unlock()
	w.s.Want(Want{Hostname: "b.example.com", UID: "u2", DNS01: true})
	w.until("b.example.com", "certified", seen)
}
