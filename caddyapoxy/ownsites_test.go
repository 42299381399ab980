package caddyapoxy

import (
	"bytes"
	"crypto/x509"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const wildcardSite = `*.example.org {
	tls {
		on_demand
		%s apoxy
	}
	import edge
}
`

// Own sites beside those of records, with what the log says of each at the start
// and whether a handshake gets a certificate.
func TestOwnSitesThatGetNoCertificateAreNamedAtTheStart(t *testing.T) {
	for _, c := range []struct {
		is, globals, sites string
		says               string // of own.example.org; empty: nothing
	}{
		{"below a wildcard of records", "", wildcardSite + "own.example.org {\n\ttls internal\n}\n", "write `tls force_automate`"},
		{"below one, without a tls block", "local_certs", wildcardSite + "own.example.org {\n}\n", "write `tls force_automate`"},
		{"below one of two labels", "local_certs", strings.Replace(wildcardSite, "*.", "*.*.", 1) + "own.example.org {\n}\n", ""},
		{"force_automate alone", "local_certs", wildcardSite + "own.example.org {\n\ttls force_automate\n}\n", ""},
		{"force_automate with a block", "", wildcardSite + "own.example.org {\n\ttls force_automate {\n\t\tissuer internal\n\t}\n}\n", ""},
		{"tls_automate_names", "local_certs\n\ttls_automate_names own.example.org", wildcardSite + "own.example.org {\n}\n", ""},
		{"below a wildcard that has a certificate", "local_certs", "*.example.org {\n}\nown.example.org {\n}\n", ""},
		{"on demand", "", "own.example.org {\n\ttls {\n\t\ton_demand\n\t\tissuer internal\n\t}\n}\n", "take `on_demand` out"},
		{"of our issuer", "", "own.example.org {\n\ttls {\n\t\tissuer apoxy\n\t}\n}\n", "give that site its own issuer"},
		{"of our issuer by a global option", "cert_issuer apoxy", "own.example.org {\n}\n", "give that site its own issuer"},
		{"of our issuer and another", "", "own.example.org {\n\ttls {\n\t\tissuer apoxy\n\t\tissuer internal\n\t}\n}\n", ""},
		{"by itself", "local_certs", "own.example.org {\n}\n", ""},
		{"of plain HTTP", "", wildcardSite + "http://own.example.org {\n}\n", ""},
	} {
		for _, form := range []string{"issuer", "get_certificate"} {
			if form == "issuer" && !strings.Contains(c.sites, "%s") {
				continue
			}
			t.Run(c.is+" with "+form, func(t *testing.T) {
				w, https := newWorld(t), freePort(t)
				file := filepath.Join(w.dir, "log")
				sites := c.sites
				if strings.Contains(sites, "%s") {
					sites = fmt.Sprintf(sites, form)
				}
				if err := load(t, readmeCaddyfile(t, w, https, c.globals+"\n\tlog {\n\t\toutput file "+file+"\n\t}", sites)); err != nil {
					t.Fatal(err)
				}
				said, err := os.ReadFile(file)
				if err != nil {
					t.Fatal(err)
				}
				warned := bytes.Contains(said, []byte("a site of the configuration gets no certificate"))
				if warned != (c.says != "") || !bytes.Contains(said, []byte(c.says)) || warned && !bytes.Contains(said, []byte(`"site":"own.example.org"`)) {
					t.Errorf("the log says\n%s\nwant of the site: %q", lines(said, "certificate"), c.says)
				}
				if c.says == "" && !strings.Contains(c.sites, "http://") {
					until(t, "the own site's certificate", func() bool { return shakes(https, "own.example.org") })
				}
				if c.says != "" && shakes(https, "own.example.org") {
					t.Error("the site has a certificate")
				}
			})
		}
	}
}

// lines are those of a log that have a word.
func lines(log []byte, word string) string {
	var found []string
	for line := range strings.Lines(string(log)) {
		if strings.Contains(line, word) {
			found = append(found, line)
		}
	}
	return strings.Join(found, "")
}

// Who is told to create a record for a site's hostname would be refused.
func TestIssuingForAnOwnSiteSaysToGiveItAnIssuer(t *testing.T) {
	w, https := newWorld(t), freePort(t)
	if err := load(t, readmeCaddyfile(t, w, https, "cert_issuer apoxy", "own.example.org {\n}\n")); err != nil {
		t.Fatal(err)
	}
	if _, err := running(t).held.scheduler.Indexed(t.Context()); err != nil { // it is read by then
		t.Fatal(err)
	}
	issuer := policyFor(t, "own.example.org").Issuers[0]
	for name, want := range map[string]string{
		"own.example.org":    "the site own.example.org of the configuration answers for it, and no DomainRecord can: give that site its own issuer",
		"shop.customer.test": "create a DomainRecord",
	} {
		_, err := issuer.Issue(t.Context(), &x509.CertificateRequest{DNSNames: []string{name}})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("issuing for %s: %v, want %q", name, err, want)
		}
	}
}
