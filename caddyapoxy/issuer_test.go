package caddyapoxy

import (
	"context"
	"encoding/json"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyevents"
	"github.com/caddyserver/certmagic"

	"github.com/apoxy-dev/caddy-apoxy/issuance"
	"github.com/apoxy-dev/caddy-apoxy/issuance/acme"
	"github.com/apoxy-dev/caddy-apoxy/issuance/certfiles"
)

func TestIssuerTakesWhatTheACMEIssuerTakesAndABudget(t *testing.T) {
	for name, tt := range map[string]struct {
		in, want string // JSON, or with "error: " part of the error
	}{
		"nothing":                      {`apoxy`, `{}`},
		"a directory as the argument":  {`apoxy https://ca.test/dir`, `{"ca":"https://ca.test/dir"}`},
		"acme's options and a budget":  {"apoxy {\n dir https://ca.test/dir\n order_budget 300 3h\n email ops@example.net\n eab kid mac\n}", `{"ca":"https://ca.test/dir","email":"ops@example.net","external_account":{"key_id":"kid","mac_key":"mac"},"order_budget":300,"order_budget_per":10800000000000}`},
		"a budget without a span":      {"apoxy {\n order_budget 50\n}", `{"order_budget":50,"order_budget_per":10800000000000}`},
		"chains in a block of its own": {"apoxy {\n order_budget 5 1h\n preferred_chains {\n  any_common_name X\n }\n profile shortlived\n}", `{"profile":"shortlived","preferred_chains":{"any_common_name":["X"]},"order_budget":5,"order_budget_per":3600000000000}`},
		"a budget of nothing":          {"apoxy {\n email a@b.c\n order_budget 0 3h\n}", `error: order_budget "0": expected a number of orders above zero, such as 300, at Testfile:3`},
		"a span that is none":          {"apoxy {\n order_budget 10 soon\n}", `error: order_budget "soon": expected a duration above zero, such as 3h, at Testfile:2`},
		"a budget without a number":    {"apoxy {\n order_budget\n}", `error: order_budget expects`},
		"an option nobody knows":       {"apoxy {\n email a@b.c\n colour red\n}", `error: unrecognized ACME issuer property: colour, at Testfile:3`},
		"order_budget is no sub-word":  {"apoxy {\n trusted_roots order_budget x\n}", `{"trusted_roots_pem_files":["order_budget","x"]}`},
	} {
		t.Run(name, func(t *testing.T) {
			var iss Issuer
			err := iss.UnmarshalCaddyfile(caddyfile.NewTestDispenser(tt.in))
			if want, bad := strings.CutPrefix(tt.want, "error: "); bad {
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Fatalf("got %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			got, err := json.Marshal(&iss)
			if err != nil {
				t.Fatal(err)
			}
			if string(got) != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
}

type fakeIssuanceApp struct{ s *issuance.Scheduler }

func (a *fakeIssuanceApp) Issuance() *issuance.Scheduler { return a.s }

func (a *fakeIssuanceApp) Shows(context.Context, string) certfiles.Shown { return certfiles.ShowAny }

func (a *fakeIssuanceApp) UploadFor(context.Context, string) string { return "" }

func (a *fakeIssuanceApp) ServedBy(string) (string, bool) { return "", false }

// A configuration's issuers take over when it has started, and give back when
// it is cleaned up; one that never started changes nothing.
func TestIssuerGroupsFollowConfigurations(t *testing.T) {
	s := issuance.New(issuance.Config{})
	group := func(directory string) (*issuerGroup, *Issuer) {
		g, err := joinIssuerGroup(&fakeIssuanceApp{s}, newEvents(t))
		if err != nil {
			t.Fatal(err)
		}
		iss := &Issuer{group: g, authority: acme.Authority{Directory: directory}}
		g.Set(iss, iss.authority, &certmagic.Config{}, nil)
		return g, iss
	}
	current := func() string { return strings.Join(s.Authorities(), " ") }
	one, issOne := group("https://one.test/dir")
	if current() != "" {
		t.Errorf("before the start: %s", current())
	}
	one.Handle(context.Background(), caddy.Event{})
	two, issTwo := group("https://two.test/dir")
	issTwo.Cleanup() // failed to load
	if two.Handle(context.Background(), caddy.Event{}); current() != "one.test-dir" {
		t.Errorf("after a failed load: %s", current())
	}
	three, _ := group("https://three.test/dir")
	three.Handle(context.Background(), caddy.Event{})
	issOne.Cleanup()
	if current() != "three.test-dir" {
		t.Errorf("after a reload: %s", current())
	}
}

func TestIssuerSharesItsKeyWithTheACMEIssuer(t *testing.T) {
	iss := Issuer{authority: acme.Authority{Directory: "https://ca.test/acme/dir"}}
	if got, want := iss.IssuerKey(), (&certmagic.ACMEIssuer{CA: "https://ca.test/acme/dir"}).IssuerKey(); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func newEvents(t *testing.T) *caddyevents.App {
	ctx, cancel := caddy.NewContext(caddy.Context{Context: context.Background()})
	t.Cleanup(cancel)
	app := new(caddyevents.App)
	if err := app.Provision(ctx); err != nil {
		t.Fatal(err)
	}
	return app
}
