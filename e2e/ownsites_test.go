package e2e

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/apoxy-dev/caddy-apoxy/e2e/testnet"
)

// An existing Caddyfile with the global options of its own, to which the product is
// added: they go on giving own sites their certificates, and reach customers'.
func TestOwnSitesBesideTheProduct(t *testing.T) {
	n := network(t)
	p := start(t, n, settings{})
	customer := customer(t, n, "ownsites")
	at := " A " + testnet.ProductAddr
	host, tenant := "shop."+customer.name, "a.tenants."+customer.name
	customer.set(t, "www"+at, "admin.tenants"+at, "named.tenants"+at)

	config, err := os.ReadFile(p.config())
	if err != nil {
		t.Fatal(err)
	}
	options := fmt.Sprintf("\tacme_ca %s\n\tacme_ca_root %s\n\temail ops@example.net\n\tkey_type p384\n\tocsp_stapling off\n\trenewal_window_ratio 0.4\n\tpreferred_chains smallest\n", p.ca.Directory, p.ca.Trust)
	sites := fmt.Sprintf(`www.%[1]s {
	respond "own"
}
*.tenants.%[1]s {
	tls {
		on_demand
		get_certificate apoxy
	}
	import edge
}
admin.tenants.%[1]s {
	tls force_automate
	respond "own"
}
named.tenants.%[1]s {
	tls force_automate {
		issuer acme
	}
	respond "own"
}
`, customer.name)
	now := strings.Replace(string(config), "\tpersist_config off\n", "\tpersist_config off\n"+options, 1) + sites
	now = regexp.MustCompile(`(?s)issuer apoxy \{.*?\n\t\t\}`).ReplaceAllString(now, "get_certificate apoxy")
	if strings.Contains(now, "issuer apoxy") || !strings.Contains(now, options) {
		t.Fatalf("the configuration became\n%s", now)
	}
	if err := os.WriteFile(p.config(), []byte(now), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := p.reload(t.Context()); err != nil {
		t.Fatal(err)
	}

	records := []string{"www" + at, "admin.tenants" + at, "named.tenants" + at}
	for _, name := range []string{host, tenant} {
		records = append(records, p.create(t, name, true).line(t, "ACMEChallenge"))
	}
	customer.set(t, records...)
	for _, name := range []string{host, tenant} {
		p.await(t, name, 30*time.Second, "the certificate", is("TLSReady=True"))
	}
	for name, want := range map[string]string{
		"www." + customer.name: "own", "admin.tenants." + customer.name: "own", "named.tenants." + customer.name: "own", host: ours, tenant: ours,
	} {
		eventually(t, 30*time.Second, "the certificate of "+name, func() error {
			state, err := p.handshake(name)
			if err != nil {
				return err
			}
			key, ok := state.PeerCertificates[0].PublicKey.(*ecdsa.PublicKey)
			if !ok || key.Curve != elliptic.P384() {
				return fmt.Errorf("its key is a %T, want one on P-384 as key_type says", state.PeerCertificates[0].PublicKey)
			}
			return nil
		})
		if answer := p.ask(t, "https", name, name); answer.StatusCode != 200 || (answer.Header.Get("X-Hostname") == "") == (want == ours) {
			t.Errorf("%s answers %d with X-Hostname %q", name, answer.StatusCode, answer.Header.Get("X-Hostname"))
		}
	}
}
