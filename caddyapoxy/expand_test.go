package caddyapoxy

import (
	"encoding/pem"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
	"github.com/apoxy-dev/caddy-apoxy/target"
)

// placeheld is a Caddyfile in which a placeholder stands wherever an option of
// ours takes a text, and what the environment says of each.
func placeheld(t *testing.T) (config string, env map[string]string) {
	t.Helper()
	w, https := newWorld(t), freePort(t)
	root := filepath.Join(w.dir, "root.pem")
	if err := os.WriteFile(root, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: selfSigned(t)}), 0o600); err != nil {
		t.Fatal(err)
	}
	zonefile := filepath.Join(w.dir, "customer.test.zone")
	if err := os.WriteFile(zonefile, []byte("@ IN SOA ns h 1 2 3 4 5\n@ IN NS ns\nns IN A 192.0.2.1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	secret := filepath.Join(w.dir, "proof")
	if err := os.WriteFile(secret, []byte("token\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, dnsPort, _ := net.SplitHostPort(w.dns)
	return fmt.Sprintf(`{
	admin off
	persist_config off
	skip_install_trust
	storage file_system %s
	http_port %s
	https_port %s
	default_bind 127.0.0.1
	apoxy {
		zone {env.AP_ZONE} {
			nameserver {env.AP_NS} {env.AP_NS_ADDRESS}
			edge {env.AP_EDGE}
			hostmaster {env.AP_HOSTMASTER}
			caa 0 issue {env.AP_CAA}
			caa 0 {env.AP_CAA_TAG} "mailto:security@example.net"
		}
		zonefile {env.AP_FILE_ZONE} {env.AP_FILE}
		dns {env.AP_DNS_HOST}:%s
		resolvers {env.AP_RESOLVER}
		private_networks {env.AP_NETWORK}
		proof {file.%s}
		store bolt {env.AP_STORE}
	}
	on_demand_tls {
		permission apoxy
	}
}
http:// {
	apoxy {
		gateway {env.AP_GATEWAY} {
			respond "hello"
		}
		proxy {env.AP_PROXY} {
			to 127.0.0.1:9
		}
	}
}
https:// {
	tls {
		on_demand
		issuer apoxy {
			email {env.AP_EMAIL}
			dir {env.AP_DIR}
			profile {env.AP_PROFILE}
			trusted_roots {env.AP_ROOT}
			trusted_roots_pki {env.AP_PKI}
			preferred_chains {
				any_common_name {env.AP_CHAIN}
			}
		}
	}
	respond "hello"
}
`, w.dir, port(t, w.web), port(t, https), dnsPort, secret), map[string]string{
			"AP_ZONE": "cname.example.net", "AP_NS": "ns1.example.net", "AP_NS_ADDRESS": "192.0.2.1", "AP_EDGE": "192.0.2.2",
			"AP_HOSTMASTER": "dns@example.net", "AP_CAA": "letsencrypt.org", "AP_CAA_TAG": "iodef", "AP_FILE_ZONE": "customer.test",
			"AP_FILE": zonefile, "AP_DNS_HOST": "127.0.0.1", "AP_RESOLVER": w.dns, "AP_NETWORK": "10.0.0.0/8",
			"AP_STORE": filepath.Join(w.dir, "apoxy.db"), "AP_GATEWAY": "default", "AP_PROXY": "api", "AP_EMAIL": "ops@example.net",
			"AP_DIR": "https://127.0.0.1:9/dir", "AP_PROFILE": "shortlived", "AP_ROOT": root, "AP_PKI": "local", "AP_CHAIN": "Root X",
		}
}

func TestPlaceholdersAreExpandedInEveryOption(t *testing.T) {
	config, env := placeheld(t)
	for name, value := range env {
		t.Setenv(name, value)
	}
	if err := load(t, config); err != nil {
		t.Fatal(err)
	}
	app := running(t)
	issuer := policyFor(t, "shop.customer.test").Issuers[0].(*Issuer)
	_, gateway := app.targets.Health(target.Ref{Kind: v1alpha3.KindGateway, Name: "default"})
	_, proxy := app.targets.Health(target.Ref{Kind: v1alpha3.KindProxy, Name: "api"})
	got := fmt.Sprint(app.zone.Name, app.zone.Nameservers, app.zone.EdgeAddrs, app.zone.Hostmaster, app.zone.CAA, app.ZoneFiles, app.DNS, app.Resolvers,
		app.privateNetworks, app.settings.ProofToken, app.store.Key(), gateway, proxy,
		issuer.authority.Email, issuer.authority.Directory, issuer.authority.Profile, issuer.TrustedRootsPEMFiles, issuer.TrustedRootsPKI, issuer.authority.PreferredChains)
	for name, value := range env {
		if name != "AP_GATEWAY" && name != "AP_PROXY" && !strings.Contains(got, value) {
			t.Errorf("%s, %s, is not in %s", name, value, got)
		}
	}
	if strings.Contains(got, "{env.") || !app.settings.ProofToken || !gateway || !proxy {
		t.Errorf("left over or missing: %s", got)
	}
}

// A placeholder may stand for a part of a value, of whatever kind that is.
func TestPlaceholdersStandForParts(t *testing.T) {
	config, env := placeheld(t)
	for name, value := range env {
		t.Setenv(name, value)
	}
	_, dnsPort, _ := net.SplitHostPort(env["AP_RESOLVER"])
	for name, value := range map[string]string{"AP_END": "2", "AP_FLAG": "0", "AP_PORT": dnsPort, "AP_BITS": "8", "AP_USER": "dns"} {
		t.Setenv(name, value)
	}
	for from, to := range map[string]string{
		"{env.AP_NS_ADDRESS}":    "192.0.2.{env.AP_END}",
		"edge {env.AP_EDGE}":     "edge 192.0.2.{env.AP_END} 2001:db8::{env.AP_END}\n\t\t\tedge_check 192.0.2.{env.AP_END}",
		"{env.AP_HOSTMASTER}":    "{env.AP_USER}@example.net",
		"caa 0 issue":            "caa {env.AP_FLAG} issue",
		"dns {env.AP_DNS_HOST}:": "dns 127.0.0.1:{env.AP_PORT} #",
		"{env.AP_RESOLVER}":      "127.0.0.1:{env.AP_PORT}",
		"{env.AP_NETWORK}":       "10.0.0.0/{env.AP_BITS}",
	} {
		if !strings.Contains(config, from) {
			t.Fatalf("the configuration has no %q", from)
		}
		config = strings.Replace(config, from, to, 1)
	}
	if err := load(t, config); err != nil {
		t.Fatal(err)
	}
	app := running(t)
	got := fmt.Sprint(app.zone.Nameservers, app.zone.EdgeAddrs, app.edgeCheck.addrs, app.zone.Hostmaster, app.zone.CAA[0], app.DNS, app.Resolvers, app.privateNetworks)
	want := fmt.Sprintf(`[{%s [192.0.2.2]}] [192.0.2.2 2001:db8::2] [192.0.2.2]dns@example.net0 issue "letsencrypt.org"[127.0.0.1:%s] [127.0.0.1:%[2]s] [10.0.0.0/8]`,
		env["AP_NS"], dnsPort)
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// A placeholder that stands for nothing is never taken for an option left out.
func TestAPlaceholderThatStandsForNothingIsRefused(t *testing.T) {
	config, env := placeheld(t)
	for unset := range env {
		t.Run(unset, func(t *testing.T) {
			for name, value := range env {
				if name == unset {
					value = ""
				}
				t.Setenv(name, value)
			}
			if err := load(t, config); err == nil || !strings.Contains(err.Error(), "{env."+unset+"}") || !strings.Contains(err.Error(), "empty") {
				t.Errorf("got %v", err)
			}
		})
	}
}
