package issuance

import (
	"errors"
	"fmt"
	"testing"
	"time"

	acmez "github.com/mholt/acmez/v3/acme"

	"github.com/apoxy-dev/caddy-apoxy/issuance/revocation"
)

// FuzzRetryDetail reads the time in a CA's words within bounds.
func FuzzRetryDetail(f *testing.F) {
	for _, s := range []string{"retry after 2026-01-02 04:00:00 UTC", "retry after 9999-01-02T04:00:00Z"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if at := parseRetryDetail(s, epoch); !at.IsZero() && (at.Before(epoch) || at.After(epoch.Add(longestHold))) {
			t.Errorf("%q: %v", s, at)
		}
	})
}

func windowOf(start, end time.Time) revocation.Window { return revocation.Window{Start: start, End: end} }

func TestRenewalTime(t *testing.T) {
	day := 24 * time.Hour
	for name, tt := range map[string]struct {
		life     time.Duration
		ratio    float64
		ari      revocation.Window
		from, to time.Duration // after notBefore
	}{
		"two thirds of 90 days":                     {90 * day, 0, revocation.Window{}, 60 * day, 63 * day},
		"half of six days":                          {6 * day, 0, revocation.Window{}, 3 * day, 3*day + 5*time.Hour},
		"the operator's ratio":                      {90 * day, 0.5, revocation.Window{}, 45 * day, 48 * day},
		"within the CA's window":                    {90 * day, 0, windowOf(epoch.Add(10 * day), epoch.Add(12 * day)), 10 * day, 12 * day},
		"a window in the past is due":               {90 * day, 0, windowOf(epoch.Add(-2 * day), epoch.Add(-day)), -2 * day, -day},
		"a window past expiry is cut":               {90 * day, 0, windowOf(epoch.Add(200 * day), epoch.Add(201 * day)), 81 * day, 81 * day},
		"an upside-down window is ignored":          {90 * day, 0, windowOf(epoch.Add(12 * day), epoch.Add(10 * day)), 60 * day, 63 * day},
		"a certificate without a lifetime is due":   {0, 0, revocation.Window{}, 0, 1},
		"a ratio that makes no sense is not obeyed": {90 * day, 7, revocation.Window{}, 60 * day, 63 * day},
	} {
		t.Run(name, func(t *testing.T) {
			var sum time.Duration
			for i := range 100 {
				seed := fmt.Sprint("host", i)
				at := renewalTime(epoch, epoch.Add(tt.life), tt.ratio, tt.ari, seed)
				if got := at.Sub(epoch); got < tt.from || got > tt.to {
					t.Fatalf("%v after issuance", got)
				}
				if again := renewalTime(epoch, epoch.Add(tt.life), tt.ratio, tt.ari, seed); !again.Equal(at) {
					t.Fatal("the point moves")
				}
				sum += at.Sub(epoch) - tt.from
			}
			if width := tt.to - tt.from; width > 2*time.Hour && width <= 3*day && tt.ari.End.Before(epoch.Add(90*day)) {
				if mean := sum / 100; mean < width*35/100 || mean > width*65/100 {
					t.Errorf("bunched: mean %v of %v", mean, width)
				}
			}
		})
	}
}

func TestClassify(t *testing.T) {
	problem := func(p acmez.Problem) error { return fmt.Errorf("doing: %w", p) }
	held := func(status int, detail string) error {
		return fmt.Errorf("doing: %w", &heldError{Status: status, Problem: acmez.Problem{Detail: detail}})
	}
	ns := acmez.ProblemTypeNamespace
	for name, tt := range map[string]struct {
		err   error
		class Class
		scope scope
	}{
		"too many orders stop the account":          {held(429, "too many new orders (300) from this account in the last 3h0m0s"), ClassLimited, scopeCA},
		"too many certificates stop the domain":     {held(429, `too many certificates (50) already issued for "example.com" in the last 168h0m0s`), ClassLimited, scopeDomain},
		"duplicates stop the name":                  {held(429, `too many certificates (5) already issued for this exact set of identifiers in the last 168h0m0s`), ClassLimited, scopeName},
		"failed authorizations stop the name":       {held(429, `too many failed authorizations (5) for "api.example.com" in the last 1h0m0s`), ClassLimited, scopeName},
		"a busy CA is left alone":                   {held(503, `"api.example.com"`), ClassLimited, scopeCA},
		"a limit in unknown words stops the CA":     {held(429, "slow down"), ClassLimited, scopeCA},
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
			f := classify(tt.err, "api.example.com")
			if f.class != tt.class || f.scope != tt.scope || f.message == "" {
				t.Errorf("got %s %s %q", f.class, f.scope, f.message)
			}
		})
	}
}

func TestBackoffGrowsAndEnds(t *testing.T) {
	for _, c := range []Class{ClassPassing, ClassCustomer, ClassCAA, ClassDNS, ClassOperator} {
		var last time.Duration
		for n := 1; n < 20; n++ {
			d := backoff(c, n, 0)
			if d < last || d <= 0 || d > 24*time.Hour {
				t.Errorf("%s %d: %v after %v", c, n, d, last)
			}
			if spread := backoff(c, n, 0.999); spread > d*6/5 {
				t.Errorf("%s %d: %v spread from %v", c, n, spread, d)
			}
			last = d
		}
	}
	if backoff(ClassRefused, 1, 0) != 0 {
		t.Error("a refused name is tried again")
	}
}

// A hostname whose facts flap is still never validated a fifth time in an hour.
func TestFailedValidationsAreSpared(t *testing.T) {
	e := &entry{hostname: "a.example.com", wanted: true, looked: true, soon: true}
	var failed []int64
	for i := range maxFailed {
		failed = append(failed, epoch.Add(time.Duration(i)*time.Minute).Unix())
		e.set(Want{DNS01: true}, record{Trouble: &trouble{Class: ClassCustomer, Failed: failed}})
	}
	st, at := e.next(epoch.Add(10 * time.Minute))
	if st != stepOrder || !at.Equal(epoch.Add(time.Hour)) {
		t.Errorf("%v at %v", st, at)
	}
}

func TestAuthorityNames(t *testing.T) {
	le := Authority{}
	for name, want := range map[string]bool{"": true, "letsencrypt": true, "LetsEncrypt": true, "acme-v02.api.letsencrypt.org": true,
		"https://acme-v02.api.letsencrypt.org/directory": true, "acme-v02.api.letsencrypt.org-directory": true, "zerossl": false, "x": false} {
		if le.Named(name) != want {
			t.Errorf("%q: %v", name, !want)
		}
	}
	if b := le.budget(); b.Orders != 297 || b.Per != 3*time.Hour {
		t.Errorf("Let's Encrypt's budget is %v", b)
	}
	if b := (Authority{Directory: "https://ca.test/dir"}).budget(); b.Orders != 0 {
		t.Errorf("an unknown CA's budget is %v", b)
	}
}
