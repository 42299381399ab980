package caddyapoxy

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
	"github.com/apoxy-dev/caddy-apoxy/hosts"
)

// notNow is the plain page of 503, as get tells it.
const notNow = "503 This site is not available right now. Please try again in a little while.\n"

// refusedBy loads a configuration whose one site has options in its apoxy block and lines
// after it, and asks it for hosts that are not ready, with an Accept header.
func refusedBy(t *testing.T, options, after string) func(host, accept string) (*http.Response, string) {
	t.Helper()
	w := newWorld(t)
	base, _, _ := strings.Cut(w.caddyfile(), "http:// {")
	err := load(t, base+`http:// {
	bind 127.0.0.1
	apoxy {
		gateway default {
			respond "served"
		}
		tunnel office {
			token 0123456789abcdef0123456789abcdef
		}
		`+options+`
	}
	`+after+`
}
`)
	if err != nil {
		t.Fatal(err)
	}
	table := running(t).held.table
	for host, target := range map[string]v1alpha3.TargetKey{
		"nowhere.example.com": {Kind: v1alpha3.KindGateway, Name: "nowhere"},
		"office.example.com":  {Kind: v1alpha3.KindTunnel, Name: "office"},
	} {
		table.Set(hosts.Make(hosts.Values{Hostname: host, Name: host, Verified: true, Phase: v1alpha3.PhaseActive, Target: target}))
	}
	table.Set(hosts.Make(hosts.Values{Hostname: "pending.example.com", Name: "pending.example.com", Phase: v1alpha3.PhasePending,
		Target: v1alpha3.TargetKey{Kind: v1alpha3.KindGateway, Name: "default"}}))
	return func(host, accept string) (*http.Response, string) {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+w.web, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Host = host
		r.Header.Set("Accept", accept)
		resp, err := http.DefaultTransport.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp, string(body)
	}
}

// Without an option a visitor is told that there is nothing yet, in a browser's form or in
// plain text, and nothing else: not whether there is a record, nor who made the product.
func TestRefusalsArePlainAndTellNothing(t *testing.T) {
	get := refusedBy(t, "", "")
	_, unknown := get("unknown.example.com", "text/html")
	for _, c := range []struct {
		host, accept string
		status       int
		retry        bool
		kind, says   string
	}{
		{"unknown.example.com", "text/html,*/*", 421, false, "text/html; charset=utf-8", "<h1>There is no site here</h1>"},
		{"pending.example.com", "text/html", 421, false, "text/html; charset=utf-8", "<h1>There is no site here</h1>"},
		{"pending.example.com", "*/*", 421, false, "text/plain; charset=utf-8", "There is no site here. "},
		{`a&b'(.example.com`, "text/html", 421, false, "text/html; charset=utf-8", "<h1>There is no site here</h1>"},
		{"nowhere.example.com", "text/html", 503, true, "text/html; charset=utf-8", "not available right now"},
		{"office.example.com", "", 503, true, "text/plain; charset=utf-8", "not available right now"},
	} {
		resp, body := get(c.host, c.accept)
		if resp.StatusCode != c.status || resp.Header.Get("Content-Type") != c.kind || !strings.Contains(body, c.says) {
			t.Errorf("%s, %s: %d %s %q", c.host, c.accept, resp.StatusCode, resp.Header.Get("Content-Type"), body)
		}
		if got := resp.Header.Get("Retry-After") != ""; got != c.retry {
			t.Errorf("%s: Retry-After is %q", c.host, resp.Header.Get("Retry-After"))
		}
		if resp.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: Cache-Control is %q", c.host, resp.Header.Get("Cache-Control"))
		}
		for _, told := range []string{"apoxy", "Apoxy", "record", "Gateway", "office", "nowhere", "a&b"} {
			if strings.Contains(body, told) {
				t.Errorf("%s is told %q in %q", c.host, told, body)
			}
		}
	}
	if _, pending := get("pending.example.com", "text/html"); pending != unknown {
		t.Errorf("a hostname that is not verified is answered %q, an unknown one %q", pending, unknown)
	}
}

// An operator's page has its placeholders replaced and escaped; braces that are none stay.
func TestAnOperatorsRefusalPage(t *testing.T) {
	file := filepath.Join(t.TempDir(), "not-ready.html")
	page := `<style>h1 {color: red} p{margin:0}</style><h1>{apoxy.refusal.title}</h1><p>{apoxy.refusal.hostname} {apoxy.refusal.status} ` +
		`{apoxy.refusal.reason} {apoxy.refusal.retry_after} {http.request.header.X} {no.such.thing} {http.request.uri.query}</p>`
	if err := os.WriteFile(file, []byte(page), 0o600); err != nil {
		t.Fatal(err)
	}
	get := refusedBy(t, "refusal_page "+file, `handle_errors {
		respond "elsewhere"
	}`)
	resp, body := get("pending.example.com", "")
	want := `<style>h1 {color: red} p{margin:0}</style><h1>There is no site here</h1><p>pending.example.com 421 OwnershipNotVerified   {no.such.thing} </p>`
	if resp.StatusCode != 421 || body != want {
		t.Errorf("answered %d %q, want %q", resp.StatusCode, body, want)
	}
	if _, body = get("nowhere.example.com", ""); !strings.Contains(body, "503 TargetNotFound 30") {
		t.Errorf("without a target: %q", body)
	}
	if _, body = get("office.example.com", ""); !strings.Contains(body, "503 TargetUnhealthy 5") {
		t.Errorf("without an agent: %q", body)
	}
	if _, body = get(`a&b'(.example.com`, ""); strings.Contains(body, "a&b") {
		t.Errorf("a host is told as it came: %q", body)
	}
}

// What a server makes of errors comes before the plain page, and knows the refusal.
func TestHandleErrorsIsToldOfTheRefusal(t *testing.T) {
	get := refusedBy(t, "", `handle_errors {
		respond "{apoxy.refusal.status} {apoxy.refusal.reason} {apoxy.refusal.hostname}"
	}`)
	for host, want := range map[string]string{
		"unknown.example.com": "421 UnknownHostname unknown.example.com",
		"nowhere.example.com": "503 TargetNotFound nowhere.example.com",
	} {
		if _, body := get(host, "text/html"); body != want {
			t.Errorf("%s is answered %q, want %q", host, body, want)
		}
	}
}

// A page that cannot be shown refuses the load, and says what is wrong with it.
func TestRefusalPagesThatAreNone(t *testing.T) {
	dir := t.TempDir()
	for name, content := range map[string]string{"long.html": strings.Repeat("x", maxRefusalPage+1), "latin.txt": "caf\xe9"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for file, want := range map[string]string{
		"long.html": "longer than 256 KiB", "latin.txt": "expected text in UTF-8", "none.html": "no such file", "page.php": "expected a file of HTML",
	} {
		if _, err := openRefusalPage(filepath.Join(dir, file)); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "refusal_page") {
			t.Errorf("%s: %v, want %q", file, err, want)
		}
	}
}
