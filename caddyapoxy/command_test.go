package caddyapoxy

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/spf13/cobra"

	"github.com/apoxy-dev/caddy-apoxy/cli"
	"github.com/apoxy-dev/caddy-apoxy/doctor"
)

// withAdmin is a configuration whose admin endpoint is as these lines say.
func (w world) withAdmin(lines string) string {
	return strings.Replace(w.caddyfile(), "admin off", lines, 1)
}

// The command line and the doctor reach every endpoint that Caddy opens.
func TestEveryFormOfAdminIsReached(t *testing.T) {
	_, port, _ := net.SplitHostPort(freePort(t))
	socket := filepath.Join(t.TempDir(), "s")
	for _, c := range []struct{ is, admin, address string }{
		{"a loopback address", "admin 127.0.0.1:" + port, ""},
		{"localhost", "admin localhost:" + port, ""},
		{"a port alone", "admin :" + port, ""},
		{"a port alone, asked for at loopback", "admin :" + port, "127.0.0.1:" + port},
		{"every interface", "admin 0.0.0.0:" + port, ""},
		{"every interface, as a URL", "admin 0.0.0.0:" + port, "http://127.0.0.1:" + port},
		{"an enforced origin", "admin localhost:" + port + " {\n enforce_origin\n}", ""},
		{"an enforced origin at every interface", "admin :" + port + " {\n enforce_origin\n}", ""},
		{"an enforced origin at every interface of IPv4", "admin 0.0.0.0:" + port + " {\n enforce_origin\n}", ""},
		{"a listed origin", "admin 127.0.0.1:" + port + " {\n origins 127.0.0.1:" + port + "\n enforce_origin\n}", ""},
		{"a socket", "admin unix/" + socket, ""},
		{"a placeholder", "admin localhost:{env.CLITEST_PORT}", ""},
	} {
		t.Run(c.is, func(t *testing.T) {
			t.Setenv("CLITEST_PORT", port)
			w := newWorld(t)
			config := w.withAdmin(c.admin)
			if err := load(t, config); err != nil {
				t.Fatal(err)
			}
			args := []string{"--address", c.address}
			if c.address == "" {
				file := filepath.Join(w.dir, "Caddyfile")
				if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
					t.Fatal(err)
				}
				args = []string{"--config", file, "--adapter", "caddyfile"}
			}
			var out, errs strings.Builder
			cmd := cli.Command(cli.Env{Client: adminClient, Flags: adminFlags, Stdin: strings.NewReader(manifestOf("api.example.com")), Stdout: &out, Stderr: &errs})
			cmd.SetArgs(append([]string{"apply", "-f", "-"}, args...))
			if err := cmd.ExecuteContext(t.Context()); err != nil || !strings.Contains(out.String(), "created") {
				t.Errorf("apply: %v: %q, %s", err, out.String(), errs.String())
			}
			var client *http.Client
			var base string
			ask := &cobra.Command{Use: "x", RunE: func(cmd *cobra.Command, _ []string) (err error) {
				client, base, err = adminClient(cmd)
				return err
			}}
			adminFlags(ask)
			ask.SetArgs(args)
			if err := ask.Execute(); err != nil {
				t.Fatal(err)
			}
			setup, err := doctor.Learn(t.Context(), client, base)
			if err != nil || len(setup.Hostnames) != 1 {
				t.Errorf("the doctor learns %v, %v", setup.Hostnames, err)
			}
		})
	}
}

func manifestOf(hostname string) string {
	return "{apiVersion: core.apoxy.dev/v1alpha3, kind: DomainRecord, spec: {name: " + hostname + ", target: {ref: {kind: Proxy, name: api}}}}"
}

func TestAdminOffIsSaidAtLoadAndByTheCommandLine(t *testing.T) {
	const says = "the admin endpoint is off"
	for _, off := range []bool{true, false} {
		w := newWorld(t)
		log := filepath.Join(w.dir, "log")
		admin := "admin " + freePort(t)
		if off {
			admin = "admin off"
		}
		config := w.withAdmin(fmt.Sprintf("%s\n\tlog {\n\t\toutput file %s\n\t}", admin, log))
		if err := load(t, config); err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(log)
		if err != nil || strings.Contains(string(text), says) != off {
			t.Errorf("%s: %v, the log is:\n%s", admin, err, text)
		}
	}

	raw, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte("{\n\tadmin off\n}\n"), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := adminOf(raw, "Caddyfile"); err == nil || !strings.Contains(err.Error(), `"Caddyfile" says `+"`admin off`") || cli.ExitCode(err) != cli.ExitFailed {
		t.Errorf("the command line says %v", err)
	}
	file := filepath.Join(t.TempDir(), "Caddyfile")
	if err := os.WriteFile(file, []byte("{\n\tadmin off\n}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	code := 0
	examine := doctor.Command(doctor.Env{Client: adminClient, Flags: adminFlags, Stdout: io.Discard, Stderr: io.Discard,
		Failed: func(_ *cobra.Command, c int, err error) error { code = c; return err }})
	examine.SetArgs([]string{"--config", file, "--adapter", "caddyfile"})
	if err := examine.Execute(); err == nil || code != cli.ExitFailed {
		t.Errorf("the doctor says %v with exit status %d", err, code)
	}
	if got, err := adminOf([]byte(`{"apps":{}}`), "x"); got != "" || err != nil {
		t.Errorf("without admin: %q, %v", got, err)
	}
	if _, err := adminOf([]byte(`{"admin":7}`), "x"); err == nil {
		t.Error("a wrong admin is taken")
	}
}

func TestCompletionIsForTheNameApoxy(t *testing.T) {
	for _, shell := range []string{"bash", "zsh", "fish", "powershell"} {
		var out strings.Builder
		cmd := completionCommand()
		cmd.SetOut(&out)
		cmd.SetArgs([]string{shell})
		if err := cmd.Execute(); err != nil || !strings.Contains(out.String(), "apoxy") || !strings.Contains(out.String(), "__complete") {
			t.Errorf("%s: %v, %d bytes", shell, err, out.Len())
		}
	}
	for _, args := range [][]string{nil, {"tcsh"}, {"bash", "zsh"}} {
		cmd := completionCommand()
		cmd.SetErr(io.Discard)
		cmd.SetArgs(append([]string{}, args...))
		if err := cmd.Execute(); err == nil {
			t.Errorf("%q is taken", args)
		}
	}
}
