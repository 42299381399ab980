package caddyapoxy

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

func TestManagersAreIssuersInTheirOrder(t *testing.T) {
	w, https := newWorld(t), freePort(t)
	two := "get_certificate apoxy {\n\t\t\temail own@example.net\n\t\t}\n\t\tget_certificate apoxy https://127.0.0.1:9/two {\n\t\t\torder_budget 5 1h\n\t\t}"
	config := strings.Replace(readmeCaddyfile(t, w, https, "acme_ca https://127.0.0.1:9/one\n\temail ops@example.net\n\tkey_type p384", ""), "get_certificate apoxy", two, 1)
	if err := load(t, config); err != nil {
		t.Fatal(err)
	}
	policy := policyFor(t, "shop.customer.test")
	if len(policy.Issuers) != 2 || policy.KeyType != "p384" {
		t.Fatalf("the policy is %+v", policy)
	}
	first, second := policy.Issuers[0].(*Issuer), policy.Issuers[1].(*Issuer)
	if first.CA != "https://127.0.0.1:9/one" || first.Email != "own@example.net" || first.OrderBudget != 0 {
		t.Errorf("the first issuer is %+v", first)
	}
	if second.CA != "https://127.0.0.1:9/two" || second.Email != "ops@example.net" || second.OrderBudget != 5 {
		t.Errorf("the second issuer is %+v", second)
	}
}

// An issuer apoxy beside it, as of the global option cert_issuer, stands in for a
// manager without options, and takes no option of one away.
func TestManagersBesideAnIssuerApoxy(t *testing.T) {
	const global = "cert_issuer apoxy https://127.0.0.1:9/one {\n\temail ops@example.net\n\torder_budget 7 1h\n}"
	for _, c := range []struct {
		is, manager string
		want        []string // directory, email, budget
	}{
		{"without options", "get_certificate apoxy", []string{"https://127.0.0.1:9/one ops@example.net 7"}},
		{"with options", "get_certificate apoxy {\n\temail own@example.net\n\torder_budget 5 1h\n}", []string{"https://127.0.0.1:9/one own@example.net 5"}},
		{"two, the first without options", "get_certificate apoxy\nget_certificate apoxy https://127.0.0.1:9/two",
			[]string{"https://127.0.0.1:9/one ops@example.net 0", "https://127.0.0.1:9/two ops@example.net 0"}},
	} {
		t.Run(c.is, func(t *testing.T) {
			w, https := newWorld(t), freePort(t)
			if err := load(t, strings.Replace(readmeCaddyfile(t, w, https, global, ""), "get_certificate apoxy", c.manager, 1)); err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, issuer := range policyFor(t, "shop.customer.test").Issuers {
				i := issuer.(*Issuer)
				got = append(got, fmt.Sprint(i.CA, " ", i.Email, " ", i.OrderBudget))
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("the issuers are %q, want %q", got, c.want)
			}
		})
	}
}

// What is wrong is told with its mend, and never as something else.
func TestConfigurationsAreRefusedForWhatIsWrongInThem(t *testing.T) {
	const permission = "\ton_demand_tls {\n\t\tpermission apoxy {\n\t\t\twait 10s\n\t\t}\n\t}\n"
	for _, c := range []struct{ is, from, to, says, never string }{
		{"a manager without on_demand", "\t\ton_demand\n", "", "add `on_demand` beside it", ""},
		{"a manager without a permission", permission, "", "on_demand_tls { permission apoxy }", ""},
		{"an option of the manager", "get_certificate apoxy", "get_certificate apoxy {\n\t\t\tdir http://ca.example.net/dir\n\t\t}", "expected an https URL", "get_certificate apoxy:"},
		{"an option of the app", "dns 127", "proof {env.APOXY_NO_SUCH}x\n\t\tdns 127", "proof: expected cname or token", "needs the apoxy app"},
		{"a value that a placeholder gives", "edge 203.0.113.10", "edge {env.APOXY_TEST_EDGE}", "zone cname.example.net: edge", "needs the apoxy app"},
		{"no app", "\tapoxy {\n", "\tdebug\n\tapoxy {\n", "needs the apoxy app", ""},
	} {
		t.Run(c.is, func(t *testing.T) {
			t.Setenv("APOXY_TEST_EDGE", "not/a host")
			w, https := newWorld(t), freePort(t)
			config := readmeCaddyfile(t, w, https, "", "")
			if !strings.Contains(config, c.from) {
				t.Fatalf("the README's Caddyfile has no %q:\n%s", c.from, config)
			}
			var err error
			if c.is == "no app" {
				err = loadJSON(t, `{"admin":{"disabled":true},"apps":{"http":{"servers":{"s":{"listen":["127.0.0.1:0"],"routes":[{"handle":[{"handler":"apoxy"}]}]}}}}}`)
			} else {
				err = tryLoad(t, strings.Replace(config, c.from, c.to, 1))
			}
			if err == nil || !strings.Contains(err.Error(), c.says) || c.never != "" && strings.Contains(err.Error(), c.never) {
				t.Errorf("got %v\nwant %q and never %q", err, c.says, c.never)
			}
		})
	}
}

// tryLoad is load where adapting may fail, too.
func tryLoad(t *testing.T, config string) error {
	t.Helper()
	adapted, err := adapted(config)
	if err != nil {
		return err
	}
	return loadJSON(t, string(adapted))
}
