package caddyapoxy

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddytls"
)

// globalOption is a global option of Caddy's as somebody has it in the Caddyfile
// that ours is added to.
type globalOption struct {
	is, option string
	// site is the tls block of an own site that gets its certificate without a CA
	// outside: `tls internal` unless the option itself is of that kind.
	site string
	// ours is what the option must come to in the issuer of customers' hostnames.
	ours func(*Issuer) bool
}

const ownIssuer = "tls internal"

func globalOptions(root string) []globalOption {
	return []globalOption{
		{is: "none at all", site: ownIssuer},
		{"acme_ca", "acme_ca https://127.0.0.1:9/dir", ownIssuer, func(i *Issuer) bool { return i.CA == "https://127.0.0.1:9/dir" }},
		{"acme_ca_root", "acme_ca_root " + root, ownIssuer, func(i *Issuer) bool { return strings.Join(i.TrustedRootsPEMFiles, " ") == root }},
		{"acme_dns", "acme_dns apoxy", ownIssuer, func(i *Issuer) bool { return i.Challenges.DNS == nil }},
		{"acme_eab", "acme_eab {\n key_id K\n mac_key TWFj\n}", ownIssuer, func(i *Issuer) bool { return i.ExternalAccount != nil && i.ExternalAccount.KeyID == "K" }},
		{"cert_issuer", "cert_issuer internal", "", nil},
		{"cert_issuer acme", "cert_issuer acme {\n dir https://127.0.0.1:9/other\n}", ownIssuer, func(i *Issuer) bool { return i.CA == "https://127.0.0.1:9/other" }},
		{"cert_lifetime", "cert_lifetime 90h", ownIssuer, nil},
		{"email", "email ops@example.net", ownIssuer, func(i *Issuer) bool { return i.Email == "ops@example.net" }},
		{"key_type", "key_type p384", ownIssuer, nil},
		{"local_certs", "local_certs", "", nil},
		{"ocsp_interval", "ocsp_interval 1h", ownIssuer, nil},
		{"ocsp_stapling", "ocsp_stapling off", ownIssuer, nil},
		{"preferred_chains", "preferred_chains smallest", ownIssuer, func(i *Issuer) bool { return i.PreferredChains != nil && *i.PreferredChains.Smallest }},
		{"renew_interval", "renew_interval 1h", ownIssuer, nil},
		{"renewal_window_ratio", "renewal_window_ratio 0.5", ownIssuer, nil},
		{"storage_check", "storage_check off", ownIssuer, nil},
		{"storage_clean_interval", "storage_clean_interval off", ownIssuer, nil},
		{"dns", "dns apoxy", ownIssuer, nil},
		{"tls_resolvers", "tls_resolvers 127.0.0.1", ownIssuer, nil},
		{"tls_automate_names", "tls_automate_names automated.test", ownIssuer, nil},
		{"ech", "ech outer.localhost", ownIssuer, nil},
		{"default_sni", "default_sni own.example.org", ownIssuer, nil},
		{"fallback_sni", "fallback_sni own.example.org", ownIssuer, nil},
		{"auto_https", "auto_https disable_redirects", ownIssuer, nil},
		{"grace_period", "grace_period 1s", ownIssuer, nil},
		{"servers", "servers {\n protocols h1 h2\n}", ownIssuer, nil},
		{"everything of ACME", "acme_ca https://127.0.0.1:9/dir\nacme_ca_root " + root + "\nacme_dns apoxy\nemail ops@example.net\nkey_type p384\npreferred_chains smallest\nrenewal_window_ratio 0.4\nocsp_stapling off",
			ownIssuer, func(i *Issuer) bool {
				return i.CA == "https://127.0.0.1:9/dir" && i.Email == "ops@example.net" && len(i.TrustedRootsPEMFiles) == 1 && i.PreferredChains != nil
			}},
	}
}

// otherGlobalOptions say nothing of TLS, or stand in every case's Caddyfile.
const otherGlobalOptions = "debug http_port https_port default_bind shutdown_delay order storage skip_install_trust admin on_demand_tls metrics log persist_config"

// A later Caddy's option is a case of its own.
func TestEveryGlobalOptionOfCaddyIsTried(t *testing.T) {
	dir, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/caddyserver/caddy/v2").Output()
	if err != nil {
		t.Fatal(err)
	}
	source, err := os.ReadFile(filepath.Join(strings.TrimSpace(string(dir)), "caddyconfig/httpcaddyfile/options.go"))
	if err != nil {
		t.Fatal(err)
	}
	tried := map[string]bool{}
	for _, o := range globalOptions("root.pem") {
		tried[o.is] = true
	}
	for _, name := range strings.Fields(otherGlobalOptions) {
		tried[name] = true
	}
	registered := regexp.MustCompile(`RegisterGlobalOption\("(\w+)"`).FindAllSubmatch(source, -1)
	if len(registered) < 30 {
		t.Fatalf("found %d global options in Caddy's source", len(registered))
	}
	for _, r := range registered {
		if !tried[string(r[1])] {
			t.Errorf("the README's Caddyfile is not tried beside the global option %s", r[1])
		}
	}
}

// readmeCaddyfile is the first Caddyfile of the README on ports of this test,
// with further global options and sites.
func readmeCaddyfile(t *testing.T, w world, https, globals, sites string) string {
	t.Helper()
	readme, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	block := regexp.MustCompile("(?s)```caddyfile\n(.*?)```").FindSubmatch(readme)
	if block == nil {
		t.Fatal("the README shows no Caddyfile")
	}
	own := fmt.Sprintf("{\nadmin off\npersist_config off\nskip_install_trust\nstorage file_system %s\nhttp_port %s\nhttps_port %s\ndefault_bind 127.0.0.1\n%s\n\tapoxy {\ndns %s\nresolvers %s\nstore bolt %s\n",
		w.dir, port(t, w.web), port(t, https), globals, w.dns, w.dns, filepath.Join(w.dir, "apoxy.db"))
	rest, found := strings.CutPrefix(string(block[1]), "{\n\tapoxy {\n")
	if !found {
		t.Fatalf("the README's Caddyfile does not begin with the option apoxy:\n%s", block[1])
	}
	return string(caddyfile.Format([]byte(own + rest + sites)))
}

func port(t *testing.T, address string) string {
	t.Helper()
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// The README's Caddyfile is added to what people have: it loads beside each
// global option, which still says how own sites get their certificates, and says
// it of customers' hostnames where it can.
func TestTheREADMEsCaddyfileLivesBesideEveryGlobalOption(t *testing.T) {
	root := filepath.Join(t.TempDir(), "root.pem")
	if err := os.WriteFile(root, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: selfSigned(t)}), 0o600); err != nil {
		t.Fatal(err)
	}
	w, https := newWorld(t), freePort(t)
	for _, o := range globalOptions(root) {
		t.Run(o.is, func(t *testing.T) {
			site := fmt.Sprintf("own.example.org {\n%s\nrespond hello\n}\n", o.site)
			if err := load(t, readmeCaddyfile(t, w, https, o.option, site)); err != nil {
				t.Fatal(err)
			}
			until(t, "the own site's certificate", func() bool { return shakes(https, "own.example.org") })
			policy := policyFor(t, "shop.customer.test")
			if len(policy.Issuers) != 1 || !policy.OnDemand {
				t.Fatalf("customers' hostnames have %d issuers, on demand %v", len(policy.Issuers), policy.OnDemand)
			}
			ours, ok := policy.Issuers[0].(*Issuer)
			if !ok || o.ours != nil && !o.ours(ours) {
				t.Errorf("customers' hostnames have the issuer %T %+v", policy.Issuers[0], policy.Issuers[0])
			}
			if got := running(t).Issuance().Authorities(); len(got) != 1 {
				t.Errorf("the scheduler orders of %v", got)
			}
		})
	}
}

// Global options go on saying what they say of own sites without a tls block.
func TestOwnSitesKeepTheGlobalOptions(t *testing.T) {
	w, https := newWorld(t), freePort(t)
	globals := "acme_ca https://127.0.0.1:9/dir\nkey_type p384"
	if err := load(t, readmeCaddyfile(t, w, https, globals, "own.example.org {\nrespond hello\n}\n")); err != nil {
		t.Fatal(err)
	}
	policy := policyFor(t, "own.example.org")
	acme, ok := policy.Issuers[0].(*caddytls.ACMEIssuer)
	if !ok || acme.CA != "https://127.0.0.1:9/dir" || policy.KeyType != "p384" || policy.OnDemand {
		t.Errorf("the own site has %+v with %+v", policy, policy.Issuers[0])
	}
}

// shakes reports whether a handshake for a hostname gets a certificate of its own.
func shakes(address, hostname string) bool {
	dialer := &net.Dialer{Timeout: time.Second}
	conn, err := tls.DialWithDialer(dialer, "tcp", address, &tls.Config{ServerName: hostname, InsecureSkipVerify: true})
	if err != nil {
		return false
	}
	defer conn.Close()
	return conn.ConnectionState().PeerCertificates[0].VerifyHostname(hostname) == nil
}

// policyFor is the automation policy in force for a hostname.
func policyFor(t *testing.T, hostname string) *caddytls.AutomationPolicy {
	t.Helper()
	app, err := caddy.ActiveContext().AppIfConfigured("tls")
	if err != nil {
		t.Fatal(err)
	}
	policy := policyOf(app.(*caddytls.TLS), hostname)
	if policy == nil {
		t.Fatalf("no policy is for %s", hostname)
	}
	return policy
}

// selfSigned is a root certificate, in DER.
func selfSigned(t *testing.T) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	root := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "root"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, root, root, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}
