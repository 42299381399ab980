package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/apoxy-dev/caddy-apoxy/e2e/testnet"
)

// The product's own command line does the whole story without kubectl.
func TestCommandLine(t *testing.T) {
	n := network(t)
	p := start(t, n, settings{})
	customer := customer(t, n, "commandline")
	host := "api." + customer.name
	apoxy := func(t *testing.T, stdin string, args ...string) string {
		t.Helper()
		out, err := p.caddy(t.Context(), stdin, append([]string{"apoxy", "domainrecord"}, args...)...)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	yaml := "apiVersion: core.apoxy.dev/v1alpha3\nkind: DomainRecord\nspec:\n  name: " + host +
		"\n  tls: {}\n  target:\n    ref: {kind: Gateway, name: default}\n"

	t.Run("apply, get and describe", func(t *testing.T) {
		apoxy(t, yaml, "apply", "-f", "-")
		contains(t, apoxy(t, "", "get"), "HOSTNAME", host)
		contains(t, apoxy(t, "", "get", host, "-o", "yaml"), "kind: DomainRecord", "name: "+host)
		contains(t, apoxy(t, "", "get", host, "-o", "name"), host)
		contains(t, apoxy(t, "", "describe", host), "_acme-challenge."+host, "OwnershipVerified")
	})
	t.Run("wait ends when the condition comes, and not before", func(t *testing.T) {
		if out, err := p.caddy(t.Context(), "", "apoxy", "dr", "wait", host, "--for=condition=TLSReady", "--timeout", "1s"); exitStatus(err) != 1 {
			t.Errorf("waiting in vain gives %q, %v, want exit status 1", out, err)
		}
		r, err := p.get(t.Context(), host)
		if err != nil {
			t.Fatal(err)
		}
		customer.set(t, "api A "+testnet.ForeignAddr, r.line(t, "ACMEChallenge"))
		started := time.Now()
		apoxy(t, "", "wait", host, "--for=condition=TLSReady", "--timeout", "30s")
		t.Logf("waited %v for TLSReady", time.Since(started).Round(time.Millisecond))
		contains(t, apoxy(t, "", "check", host), host)
	})
	t.Run("the binary under the name apoxy takes the command directly", func(t *testing.T) {
		link := filepath.Join(t.TempDir(), "apoxy")
		program, err := filepath.EvalSymlinks(testnet.Program("caddy"))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(program, link); err != nil {
			t.Fatal(err)
		}
		out, err := command(t.Context(), p.dir, "", link, "domainrecord", "get", host)
		if err != nil {
			t.Fatal(err)
		}
		contains(t, out, host)
	})
	t.Run("failures say what is wrong in one line", func(t *testing.T) {
		for _, c := range []struct {
			name   string
			args   []string
			status int
		}{
			{"a record that is not there", []string{"get", "nobody.example.com"}, 1},
			{"no endpoint", []string{"get", "--address", "127.0.0.1:1"}, 1},
			{"an unknown flag", []string{"get", "--colour"}, 2},
			{"no name", []string{"describe"}, 2},
		} {
			out, err := p.caddy(t.Context(), "", append([]string{"apoxy", "domainrecord"}, c.args...)...)
			if got := exitStatus(err); got != c.status {
				t.Errorf("%s: exit status %d, want %d: %v", c.name, got, c.status, err)
			}
			if out != "" {
				t.Errorf("%s: standard output holds %q", c.name, out)
			}
			if err != nil {
				_, message, _ := strings.Cut(err.Error(), "exit status ")
				if lines := strings.Count(strings.TrimSpace(message), "\n"); lines > 0 {
					t.Errorf("%s: the error has %d lines: %s", c.name, lines+1, message)
				}
			}
		}
	})
	t.Run("delete", func(t *testing.T) {
		apoxy(t, "", "delete", host)
		if names := p.names(t); len(names) != 0 {
			t.Errorf("after the deletion there is still %v", names)
		}
	})
}
