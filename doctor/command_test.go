package doctor

import (
	"bytes"
	"context"
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
	checked, err := parseSetup([]byte(`{"zone": {"name": "z.example", "edge": ["Edge.example.net."], "edge_check": ["192.0.2.1"]}, "dns": [":5300"]}`), []byte("null"))
	if err != nil || len(checked.EdgeCheck) != 1 || checked.EdgeUnchecked || checked.EdgeHost != "edge.example.net" || checked.DNS[0] != ":5300" {
		t.Errorf("%+v, %v", checked, err)
	}
	unchecked, err := parseSetup([]byte(`{"zone": {"name": "z.example", "edge_check": ["off"]}}`), []byte("null"))
	if err != nil || !unchecked.EdgeUnchecked || len(unchecked.EdgeCheck) != 0 {
		t.Errorf("%+v, %v", unchecked, err)
	}
	for _, tc := range []struct{ is, app, says string }{
		{"no app", "null", "no app apoxy"},
		{"a placeholder as zone", `{"zone": {"name": "{env.ZONE}"}}`, "write its name out"},
		{"a placeholder as address", `{"zone": {"name": "z.example", "nameservers": [{"name": "n", "addresses": ["{env.A}"]}]}}`, "write it out"},
		{"an address of edge_check that is none", `{"zone": {"name": "z.example", "edge_check": ["{env.EDGE}"]}}`, "edge_check"},
		{"no zone", `{"zone": {"name": ""}}`, "write its name out"},
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
	return runWith(t, t.Context(), Env{Options: o,
		Client: func(*cobra.Command) (*http.Client, string, error) { return http.DefaultClient, base, nil }}, args...)
}

func runWith(t *testing.T, ctx context.Context, env Env, args ...string) (code int, out, errOut string) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	if env.Stdout == nil {
		env.Stdout = &stdout
	}
	env.Stderr = &stderr
	env.Failed = func(_ *cobra.Command, c int, err error) error { code = c; return err }
	cmd := Command(env)
	cmd.SetArgs(append([]string{}, args...))
	if err := cmd.ExecuteContext(ctx); (err != nil) != (code != 0) {
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

// exits is an error with an exit status of its own.
type exits struct{ error }

func (exits) ExitStatus() int { return 1 }

// fixed is an admin endpoint that answers every path the same way.
func fixed(t *testing.T, answer http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(answer)
	t.Cleanup(s.Close)
	return s.URL
}

func TestCommandRefuses(t *testing.T) {
	empty := admin(t, nil).URL
	gone := httptest.NewServer(nil)
	gone.Close()
	status := func(code int) string {
		return fixed(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) })
	}
	app := func(more map[string]string) string {
		more["/config/apps/apoxy"] = appJSON
		return admin(t, more).URL
	}
	for _, tc := range []struct {
		is     string
		base   string
		client error
		args   []string
		code   int
		says   string
	}{
		{"a Caddy without the app", empty, nil, nil, 1, "no app apoxy"},
		{"no Caddy", gone.URL, nil, nil, 1, "asking Caddy's admin endpoint"},
		{"an endpoint that refuses", status(http.StatusForbidden), nil, nil, 1, "403 Forbidden; --address names another endpoint"},
		{"an endpoint in trouble", status(http.StatusInternalServerError), nil, nil, 1, "500"},
		{"a web page", fixed(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>\x1b[31m") }), nil, nil, 1, "--address names another endpoint"},
		{"an answer that is cut", fixed(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100")
			fmt.Fprint(w, `{"zone":`)
		}), nil, nil, 1, "unexpected EOF"},
		{"TLS policies that cannot be read", app(map[string]string{"/config/apps/tls/automation": `"x"`}), nil, nil, 1, "reading the configuration of TLS"},
		{"a resolver that is no address", admin(t, map[string]string{"/config/apps/apoxy": `{"zone":{"name":"z.example"},"resolvers":["dns.example"]}`}).URL, nil, nil, 1, "write its address out"},
		{"an address that is none", "", errors.New("no address"), nil, 2, "no address"},
		{"a failure with a status of its own", "", fmt.Errorf("x: %w", exits{errors.New("says admin off")}), nil, 1, "says admin off"},
		{"an argument", empty, nil, []string{"x"}, 2, "takes no argument"},
		{"an unknown output", empty, nil, []string{"-o", "yaml"}, 2, "text or json"},
		{"an unknown flag", empty, nil, []string{"--nope"}, 2, "nope"},
	} {
		t.Run(tc.is, func(t *testing.T) {
			code, out, errOut := runWith(t, t.Context(), Env{Client: func(*cobra.Command) (*http.Client, string, error) {
				return http.DefaultClient, tc.base, tc.client
			}}, tc.args...)
			if code != tc.code || out != "" || !strings.Contains(errOut, tc.says) || strings.Count(errOut, "\n") != 1 || strings.ContainsRune(errOut, '\x1b') {
				t.Errorf("status %d, %q, %q", code, out, errOut)
			}
		})
	}
}

// What the endpoint does not tell of TLS is not taken for nothing.
func TestTLSPoliciesThatCannotBeHadEndTheExamination(t *testing.T) {
	base := fixed(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/config/apps/apoxy" {
			fmt.Fprint(w, appJSON)
			return
		}
		w.WriteHeader(http.StatusServiceUnavailable)
	})
	if _, err := Learn(t.Context(), http.DefaultClient, base+"/"); err == nil || !strings.Contains(err.Error(), "TLS policies: it answered 503") {
		t.Error(err)
	}
}

func TestLearnTakesPortsAndAFewHostnames(t *testing.T) {
	items := strings.Repeat(`{"spec":{"name":"a.example.com"}},`, 50) + `{"spec":{"name":"b.example.com"}}`
	for name, tc := range map[string]struct {
		http, list   string
		ports, hosts int
	}{
		"many records": {"8080", `{"items":[` + items + `]}`, 8080, samples},
		"none":         {"null", `{"items":[]}`, 80, 0},
		"no API":       {`"x"`, `<html>`, 80, 0},
		"a wrong port": {"-1", `{}`, 80, 0},
	} {
		t.Run(name, func(t *testing.T) {
			a := admin(t, map[string]string{"/config/apps/apoxy": appJSON, "/config/apps/http/http_port": tc.http, "/apis/core.apoxy.dev/v1alpha3/domainrecords": tc.list})
			s, err := Learn(t.Context(), http.DefaultClient, a.URL)
			if err != nil || s.HTTPPort != tc.ports || s.HTTPSPort != 443 || len(s.Hostnames) != tc.hosts {
				t.Errorf("%+v, %v", s, err)
			}
		})
	}
}

func TestTheExaminationEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	base := fixed(t, func(_ http.ResponseWriter, r *http.Request) {
		cancel()
		<-r.Context().Done()
	})
	code, out, errOut := runWith(t, ctx, Env{Client: func(*cobra.Command) (*http.Client, string, error) { return http.DefaultClient, base, nil }})
	if code != 1 || out != "" || !strings.Contains(errOut, "canceled") {
		t.Errorf("status %d, %q, %q", code, out, errOut)
	}
	s := newSite(t)
	if r, err := Examine(ctx, s.setup, s.options); !errors.Is(err, context.Canceled) || len(r.Findings) != 0 {
		t.Errorf("%+v, %v", r, err)
	}
}

// full takes nothing.
type full struct{}

func (full) Write([]byte) (int, error) { return 0, errors.New("the disk is full") }

func TestAReportThatCannotBeWrittenIsAFailure(t *testing.T) {
	s := newSite(t)
	base := admin(t, map[string]string{"/config/apps/apoxy": fmt.Sprintf(`{"zone":{"name":%q},"resolvers":[%q]}`, testZone, s.setup.Resolvers[0])}).URL
	flagged := false
	code, _, errOut := runWith(t, t.Context(), Env{Options: s.options, Stdout: full{}, Flags: func(*cobra.Command) { flagged = true },
		Client: func(*cobra.Command) (*http.Client, string, error) { return http.DefaultClient, base, nil }})
	if code != 1 || errOut != "error: the disk is full\n" || !flagged {
		t.Errorf("status %d, %q, %v", code, errOut, flagged)
	}
}

func TestRootOfCaddysOwnAuthority(t *testing.T) {
	a := admin(t, map[string]string{"/pki/ca/local": `{"root_certificate":"PEM"}`, "/pki/ca/empty": "null", "/pki/ca/page": "<html>"})
	if root, err := rootOf(t.Context(), http.DefaultClient, a.URL, "local"); err != nil || root != "PEM" {
		t.Error(root, err)
	}
	for _, id := range []string{"empty", "none", "page"} {
		if _, err := rootOf(t.Context(), http.DefaultClient, a.URL, id); err == nil || errors.Is(err, http.ErrServerClosed) {
			t.Errorf("%s: error %v", id, err)
		}
	}
}
