package doctor

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"
	"github.com/spf13/cobra"
)

func refuse(rw dns.ResponseWriter, req *dns.Msg) bool {
	m := new(dns.Msg)
	m.SetRcode(req, dns.RcodeRefused)
	return rw.WriteMsg(m) == nil
}

const appJSON = `{
	"zone": {"name": "CNAME.example.net.", "nameservers": [{"name": "ns1.example.net.", "addresses": ["203.0.113.10"]}],
		"edge": ["203.0.113.10", "2001:db8::10"], "caa": ["0 issue \"letsencrypt.org\""]},
	"resolvers": ["192.0.2.53"]}`

const automationJSON = `{"policies": [{"issuers": [
	{"module": "apoxy", "email": "a@example.net"},
	{"module": "apoxy", "ca": "https://ca.example/dir", "trusted_roots_pem_files": ["root.pem"]},
	{"module": "apoxy", "ca": "https://ca.example/dir"},
	{"module": "internal"}]}]}`

func TestSetUpIsReadFromTheConfiguration(t *testing.T) {
	got, err := parseSetup([]byte(appJSON), []byte(automationJSON))
	if err != nil {
		t.Fatal(err)
	}
	want := Setup{
		Zone:          "cname.example.net",
		Nameservers:   []Nameserver{{"ns1.example.net", []netip.Addr{netip.MustParseAddr("203.0.113.10")}}},
		EdgeAddresses: []netip.Addr{netip.MustParseAddr("203.0.113.10"), netip.MustParseAddr("2001:db8::10")},
		CAA:           []string{`0 issue "letsencrypt.org"`},
		DNS:           []string{":53"},
		Resolvers:     []string{"192.0.2.53"},
		HTTPPort:      80, HTTPSPort: 443,
		Authorities: []Authority{{Directory: defaultDirectory}, {Directory: "https://ca.example/dir", RootFiles: []string{"root.pem"}}},
	}
	if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
		t.Error(diff)
	}
	for _, tc := range []struct {
		is, policies string
		want         []Authority
	}{
		{"a manager", `{"get_certificate":[{"via":"apoxy"}],"on_demand":true}`, []Authority{{Directory: defaultDirectory}}},
		{"managers in place of the global options' issuers",
			`{"get_certificate":[{"via":"tailscale"},{"via":"apoxy","trusted_roots_pem_files":["own.pem"]},{"via":"apoxy","ca":"https://b.example/dir","trusted_roots_pki":"local"}],
			"issuers":[{"module":"acme","ca":"https://a.example/dir","trusted_roots_pem_files":["a.pem"]},{"module":"acme","ca":"https://other.example/dir"}]}`,
			[]Authority{{Directory: "https://a.example/dir", RootFiles: []string{"own.pem", "a.pem"}}, {Directory: "https://b.example/dir", RootFiles: []string{"a.pem"}, RootPKI: "local"}}},
		{"a manager beside local_certs", `{"get_certificate":[{"via":"apoxy"}],"issuers":[{"module":"internal"}]}`, []Authority{{Directory: defaultDirectory}}},
		{"a manager beside issuers of ours", `{"get_certificate":[{"via":"apoxy"}],"issuers":[{"module":"apoxy","ca":"https://a.example/dir"},{"module":"apoxy","ca":"https://b.example/dir"}]}`,
			[]Authority{{Directory: "https://a.example/dir"}, {Directory: "https://b.example/dir"}}},
		{"a manager with options beside them", `{"get_certificate":[{"via":"apoxy","email":"own@example.net"}],"issuers":[{"module":"internal"},{"module":"apoxy","ca":"https://a.example/dir","trusted_roots_pki":"local"},{"module":"apoxy","ca":"https://b.example/dir"}]}`,
			[]Authority{{Directory: "https://a.example/dir", RootPKI: "local"}}},
		{"two managers beside one", `{"get_certificate":[{"via":"apoxy"},{"via":"apoxy","ca":"https://b.example/dir"}],"issuers":[{"module":"apoxy","ca":"https://a.example/dir"}]}`,
			[]Authority{{Directory: "https://a.example/dir"}, {Directory: "https://b.example/dir"}}},
		{"no manager of ours", `{"get_certificate":[{"via":"tailscale"}],"issuers":[{"module":"acme"}]}`, nil},
	} {
		t.Run(tc.is, func(t *testing.T) {
			got, err := parseSetup([]byte(appJSON), []byte(`{"policies":[`+tc.policies+`]}`))
			if diff := cmp.Diff(tc.want, got.Authorities); err != nil || diff != "" {
				t.Error(err, diff)
			}
		})
	}
	for _, tc := range []struct{ is, app, says string }{
		{"no app", "null", "no app apoxy"},
		{"a placeholder as zone", `{"zone": {"name": "{env.ZONE}"}}`, "write its name out"},
		{"a placeholder as address", `{"zone": {"name": "z.example", "nameservers": [{"name": "n", "addresses": ["{env.A}"]}]}}`, "write it out"},
		{"no JSON", "x", "reading the configuration of apoxy"},
	} {
		t.Run(tc.is, func(t *testing.T) {
			if _, err := parseSetup([]byte(tc.app), []byte("null")); err == nil || !strings.Contains(err.Error(), tc.says) {
				t.Errorf("error %v, want %q in it", err, tc.says)
			}
		})
	}
}

// admin is an admin endpoint that answers paths with these texts.
func admin(t *testing.T, answers map[string]string) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if text, ok := answers[r.URL.Path]; ok {
			fmt.Fprint(w, text)
			return
		}
		w.WriteHeader(http.StatusBadRequest)
	}))
	t.Cleanup(s.Close)
	return s
}

func run(t *testing.T, o Options, base string, args ...string) (code int, out, errOut string) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	cmd := Command(Env{
		Client:  func(*cobra.Command) (*http.Client, string, error) { return http.DefaultClient, base, nil },
		Failed:  func(_ *cobra.Command, c int, err error) error { code = c; return err },
		Options: o, Stdout: &stdout, Stderr: &stderr,
	})
	cmd.SetArgs(args)
	if err := cmd.ExecuteContext(t.Context()); (err != nil) != (code != 0) {
		t.Errorf("error %v with status %d", err, code)
	}
	return code, stdout.String(), stderr.String()
}

func TestCommandExaminesTheRunningServer(t *testing.T) {
	s := newSite(t)
	app := fmt.Sprintf(`{"zone": {"name": %q, "nameservers": [{"name": "ns1.cname.example.net", "addresses": [%q]}], "edge": ["127.0.0.1"]}, "resolvers": [%q]}`,
		testZone, s.ns.Addr, s.setup.Resolvers[0])
	answers := map[string]string{
		"/config/apps/apoxy":                          app,
		"/config/apps/tls/automation":                 fmt.Sprintf(`{"policies":[{"issuers":[{"module":"apoxy","ca":%q,"trusted_roots_pem_files":[%q]}]}]}`, s.ca.URL, s.setup.Authorities[0].RootFiles[0]),
		"/config/apps/http/https_port":                "8443",
		"/apis/core.apoxy.dev/v1alpha3/domainrecords": `{"items":[{"spec":{"name":"api.example.com"}}]}`,
	}
	a := admin(t, answers)
	code, out, errOut := run(t, s.options, a.URL)
	if code != 0 || errOut != "" || !strings.Contains(out, "Nothing is wrong with "+testZone) || !strings.Contains(out, "api.example.com."+testZone) {
		t.Errorf("status %d, %q:\n%s", code, errOut, out)
	}
	s.ns.Forget(s.zone)
	code, out, errOut = run(t, s.options, a.URL, "-o", "json")
	if code != 1 || errOut != "" || !strings.Contains(out, `"level": "wrong"`) {
		t.Errorf("status %d, %q:\n%s", code, errOut, out)
	}
}

func TestCommandRefuses(t *testing.T) {
	empty := admin(t, nil)
	gone := httptest.NewServer(nil)
	gone.Close()
	for _, tc := range []struct {
		is   string
		base string
		args []string
		code int
		says string
	}{
		{"a Caddy without the app", empty.URL, nil, 1, "no app apoxy"},
		{"no Caddy", gone.URL, nil, 1, "asking Caddy's admin endpoint"},
		{"an argument", empty.URL, []string{"x"}, 2, "takes no argument"},
		{"an unknown output", empty.URL, []string{"-o", "yaml"}, 2, "text or json"},
		{"an unknown flag", empty.URL, []string{"--nope"}, 2, "nope"},
	} {
		t.Run(tc.is, func(t *testing.T) {
			code, out, errOut := run(t, Options{}, tc.base, tc.args...)
			if code != tc.code || out != "" || !strings.Contains(errOut, tc.says) || strings.Count(errOut, "\n") != 1 {
				t.Errorf("status %d, %q, %q", code, out, errOut)
			}
		})
	}
}

func TestRootOfCaddysOwnAuthority(t *testing.T) {
	a := admin(t, map[string]string{"/pki/ca/local": `{"root_certificate":"PEM"}`, "/pki/ca/empty": "null"})
	if root, err := rootOf(t.Context(), http.DefaultClient, a.URL, "local"); err != nil || root != "PEM" {
		t.Error(root, err)
	}
	for _, id := range []string{"empty", "none"} {
		if _, err := rootOf(t.Context(), http.DefaultClient, a.URL, id); err == nil || errors.Is(err, http.ErrServerClosed) {
			t.Errorf("%s: error %v", id, err)
		}
	}
}
