package e2e

import (
	"context"
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf16"

	"github.com/apoxy-dev/caddy-apoxy/e2e/testnet"
)

// What clients ask before they show anything: may I, and who am I. kubectl sends
// these questions as protobuf.
func TestClientsAskWhatTheyMay(t *testing.T) {
	n := network(t)
	p := start(t, n, settings{})
	ask := func(t *testing.T, args ...string) (string, error) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		out, err := p.kubectl(ctx, "", append([]string{"auth"}, args...)...)
		return strings.TrimSpace(out), err
	}
	for _, c := range []struct {
		is     string
		args   []string
		answer string
	}{
		{"records are listed", []string{"can-i", "list", "domainrecords"}, "yes"},
		{"records are watched, by their short name", []string{"can-i", "watch", "dr"}, "yes"},
		{"a record is deleted by its name", []string{"can-i", "delete", "dr/api.example.com"}, "yes"},
		{"everything is done with records", []string{"can-i", "*", "domainrecords"}, "yes"},
		{"a status is patched", []string{"can-i", "patch", "domainrecords", "--subresource=status"}, "yes"},
		{"the version is read", []string{"can-i", "get", "/version"}, "yes"},
		{"pods are not there", []string{"can-i", "list", "pods"}, "no"},
		{"nor is everything", []string{"can-i", "*", "*"}, "no"},
		{"nor are Caddy's own paths", []string{"can-i", "get", "/config/"}, "no"},
	} {
		t.Run(c.is, func(t *testing.T) {
			out, err := ask(t, c.args...)
			if out != c.answer || (err == nil) != (c.answer == "yes") {
				t.Errorf("kubectl auth %s: %q, %v, want %s", strings.Join(c.args, " "), out, err, c.answer)
			}
		})
	}
	t.Run("all that may be done is listed", func(t *testing.T) {
		out, err := ask(t, "can-i", "--list")
		if err != nil {
			t.Fatal(err)
		}
		contains(t, out, "domainrecords.core.apoxy.dev", "selfsubjectaccessreviews.authorization.k8s.io", "deletecollection", "/openapi/*")
	})
	t.Run("whoami", func(t *testing.T) {
		out, err := ask(t, "whoami")
		if err != nil {
			t.Fatal(err)
		}
		contains(t, out, "Username", "caddy-admin", "system:authenticated")
	})
	t.Run("the groups are discovered", func(t *testing.T) {
		out, err := p.kubectl(t.Context(), "", "api-resources", "-o", "name")
		if err != nil {
			t.Fatal(err)
		}
		contains(t, out, "selfsubjectreviews.authentication.k8s.io", "selfsubjectaccessreviews.authorization.k8s.io", "domainrecords.core.apoxy.dev")
	})
	t.Run("a review is created from a file", func(t *testing.T) {
		out, err := p.kubectl(t.Context(), `{"apiVersion":"authorization.k8s.io/v1","kind":"SelfSubjectAccessReview","spec":{"resourceAttributes":{"verb":"list","group":"core.apoxy.dev","resource":"domainrecords"}}}`,
			"create", "-f", "-", "-o", "jsonpath={.status.allowed}")
		if err != nil {
			t.Fatal(err)
		}
		contains(t, out, "true")
	})
}

// The command line as people use it beside kubectl: files as Windows writes them,
// a document that is wrong, the name apoxy.
func TestClientsOfTheCommandLine(t *testing.T) {
	n := network(t)
	p := start(t, n, settings{})
	host := func(label string) string { return label + ".clients.com" }
	yaml := func(label, more string) string {
		return "apiVersion: core.apoxy.dev/v1alpha3\nkind: DomainRecord\nspec:\n  name: " + host(label) +
			"\n  tls: {}\n" + more + "  target:\n    ref: {kind: Gateway, name: default}\n"
	}
	t.Run("a file in UTF-16 is applied", func(t *testing.T) {
		file := []byte{0xFF, 0xFE}
		for _, u := range utf16.Encode([]rune(strings.ReplaceAll(yaml("windows", ""), "\n", "\r\n"))) {
			file = binary.LittleEndian.AppendUint16(file, u)
		}
		out, err := p.caddy(t.Context(), string(file), "apoxy", "domainrecord", "apply", "-f", "-")
		if err != nil {
			t.Fatal(err)
		}
		contains(t, out, host("windows")+" created")
	})
	t.Run("a wrong document keeps no other, and says what is here in its place", func(t *testing.T) {
		out, err := p.caddy(t.Context(), yaml("first", "")+"---\na: b\n  c: d\n---\n"+yaml("zone", "  zone: clients.com\n")+"---\n"+yaml("last", ""),
			"apoxy", "domainrecord", "apply", "-f", "-")
		if exitStatus(err) != 1 {
			t.Fatalf("exit status %d: %v", exitStatus(err), err)
		}
		contains(t, out, host("first")+" created", host("last")+" created")
		contains(t, err.Error(), "document 2: yaml: line 1", "document 3, line 12", `unknown field "spec.zone"`, "there is no spec.zone here")
	})
	t.Run("kubectl shows what is here in place of Apoxy's fields", func(t *testing.T) {
		_, err := p.kubectl(t.Context(), strings.Replace(yaml("dns", "")+"    dns: {a: [192.0.2.1]}\n", "spec:", "metadata: {name: dns}\nspec:", 1), "apply", "-f", "-")
		if err == nil {
			t.Fatal("the record was taken")
		}
		contains(t, err.Error(), `strict decoding error: unknown field "spec.target.dns"`, "there is no spec.target.dns here")
	})
	t.Run("a record that kubectl created under another name is found", func(t *testing.T) {
		if _, err := p.kubectl(t.Context(), strings.Replace(yaml("moved", ""), "spec:", "metadata: {name: moved--ref}\nspec:", 1), "create", "-f", "-"); err != nil {
			t.Fatal(err)
		}
		out, err := p.caddy(t.Context(), yaml("moved", "  ttl: 60\n"), "apoxy", "domainrecord", "apply", "-f", "-")
		if err != nil {
			t.Fatal(err)
		}
		contains(t, out, "moved--ref configured")
	})
	t.Run("the name apoxy has a version and completions", func(t *testing.T) {
		program, err := filepath.EvalSymlinks(testnet.Program("caddy"))
		if err != nil {
			t.Fatal(err)
		}
		link := filepath.Join(t.TempDir(), "apoxy")
		if err := os.Symlink(program, link); err != nil {
			t.Fatal(err)
		}
		for _, c := range []struct {
			args []string
			says string
		}{
			{[]string{"version"}, "Caddy v2"},
			{[]string{"--version"}, "Caddy v2"},
			{[]string{"completion", "bash"}, "__start_apoxy apoxy"},
			{[]string{"__complete", "dom"}, "domainrecord"},
			{[]string{"__complete", "domainrecord", "describe", "mov"}, "moved--ref"},
			{[]string{"help", "domainrecord", "get"}, "--field-selector"},
		} {
			out, err := command(t.Context(), p.dir, "", link, c.args...)
			if err != nil {
				t.Error(err)
			}
			contains(t, out, c.says)
		}
	})
}
