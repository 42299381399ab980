package caddyapoxy

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/apoxy-dev/caddy-apoxy/setup"
)

// goldens are the Caddyfiles of the golden files.
func goldens(f *testing.F) []string {
	f.Helper()
	files, err := filepath.Glob("testdata/adapt/*.caddyfiletest")
	if err != nil || len(files) == 0 {
		f.Fatalf("finding golden files: %v, %d found", err, len(files))
	}
	var out []string
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		input, _, _ := strings.Cut(string(content), "----------\n")
		out = append(out, input)
	}
	return out
}

// segment is the first segment of tokens that begins a line with a word.
func segment(input, word string) string {
	if i := strings.Index(input, "\t"+word+" "); i >= 0 {
		return input[i+1:]
	}
	return input
}

// again holds that what was parsed means the same as JSON.
func again(t *testing.T, input string, parsed, empty any) {
	t.Helper()
	raw, err := json.Marshal(parsed)
	if err != nil {
		t.Fatalf("%q: %v", input, err)
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.DisallowUnknownFields()
	if err := dec.Decode(empty); err != nil {
		t.Fatalf("%q is adapted to %s, which cannot be read: %v", input, raw, err)
	}
	back, err := json.Marshal(empty)
	if err != nil || !bytes.Equal(back, raw) {
		t.Fatalf("%q is adapted to\n%s and means\n%s (%v)", input, raw, back, err)
	}
}

// FuzzAppOptions reads anything as the block of the global option. What is
// taken means the same in JSON, and is a zone that can be served with settings
// that hold, unless a placeholder stands for a part of it; what is refused is
// refused with the file and the line.
func FuzzAppOptions(f *testing.F) {
	for _, input := range goldens(f) {
		f.Add(segment(input, "apoxy"))
	}
	f.Add("apoxy {\n zone a.example. {\n nameserver ns.a.example 1.2.3.4\n edge ns.a.example\n caa 0 issue \"\\\"\"\n }\n dns :53\n}")
	f.Fuzz(func(t *testing.T, input string) {
		tokens, err := caddyfile.Tokenize([]byte(input), "Caddyfile")
		if err != nil || strings.Contains(input, "zonefile") {
			return // files are read where they are opened
		}
		app := new(App)
		if err := app.UnmarshalCaddyfile(caddyfile.NewDispenser(tokens)); err != nil {
			if len(tokens) > 0 && !strings.Contains(err.Error(), "Caddyfile:") {
				t.Fatalf("%q: the error names no line: %v", input, err)
			}
			return
		}
		again(t, input, app, new(App))
		repl := caddy.NewEmptyReplacer()
		if app.Zone.hasPlaceholders() || strings.Contains(input, "{env.") || strings.Contains(input, "{file.") {
			return
		}
		if app.zone, err = app.Zone.config(repl); err != nil {
			t.Fatalf("%q is taken, but not provisioned: %v", input, err)
		}
		if err := app.Zone.check(); err != nil {
			t.Fatalf("%q is taken, but not served: %v", input, err)
		}
		if err := app.provisionSettings(repl); err != nil && !strings.Contains(input, "{") {
			t.Fatalf("%q is taken, but not provisioned: %v", input, err)
		}
	})
}

// FuzzIssuerOptions reads anything as an issuer's block: what is taken means
// the same in JSON, and a budget is one that lets orders out.
func FuzzIssuerOptions(f *testing.F) {
	for _, seed := range []string{"apoxy", "apoxy https://ca.test/dir {\n\torder_budget 300 3h\n\ttrusted_roots_pki local\n\temail a@example.net\n}",
		"apoxy {\n order_budget 1\n order_budget 2 1ns\n}", "apoxy {\n eab a b\n alt_http_port 80\n profile x\n preferred_chains smallest\n}", "apoxy {\n{\n}\n}", "apoxy }",
		"apoxy {\n disable_http_challenge\n lifetime 10d\n timeout 1s\n}"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, input string) {
		tokens, err := caddyfile.Tokenize([]byte(input), "Caddyfile")
		iss := new(Issuer)
		if err != nil || iss.UnmarshalCaddyfile(caddyfile.NewDispenser(tokens)) != nil {
			return
		}
		again(t, input, iss, new(Issuer))
		if iss.OrderBudget < 0 || iss.OrderBudgetPer < 0 || iss.OrderBudget > 0 && iss.OrderBudgetPer == 0 {
			t.Fatalf("%q: a budget of %d orders in %d", input, iss.OrderBudget, iss.OrderBudgetPer)
		}
	})
}

// FuzzPermission reads anything as the permission's block: what is taken means
// the same in JSON.
func FuzzPermission(f *testing.F) {
	for _, seed := range []string{"apoxy", "apoxy {\n\twait 10s\n}", "apoxy {\n\twait 0\n}", "apoxy x", "apoxy {\n wait {\n}\n}", "apoxy {\n wait 106751d\n}"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, input string) {
		tokens, err := caddyfile.Tokenize([]byte(input), "Caddyfile")
		p := new(Permission)
		if err != nil || p.UnmarshalCaddyfile(caddyfile.NewDispenser(tokens)) != nil {
			return
		}
		if p.Wait < 0 {
			t.Fatalf("%q: a wait of %d", input, p.Wait)
		}
		again(t, input, p, new(Permission))
	})
}

// FuzzHandler reads anything as the block of the handler's directive, within a
// site: what is adapted is a configuration that can be decoded, in which every
// target of the handler has the handlers that its kind is loaded as.
func FuzzHandler(f *testing.F) {
	for _, seed := range []string{"gateway default {\n respond ok\n}", "proxy api 127.0.0.1:1 {\n health_uri /x\n}", "proxy api {\n to 127.0.0.1:1\n}\ngateway x {\n header a b\n}",
		"gateway {", "gateway a\ngateway a", "proxy a {\n to\n}", "tunnel office", "gateway a {\n apoxy {\n gateway b {\n respond b\n}\n}\n}", "proxy \"\" 127.0.0.1:1",
		"gateway a {\n @m path /x\n respond @m y\n handle_path /z {\n abort\n}\n}", "proxy a {\n handle_response {\n respond x\n}\n to 127.0.0.1:1\n}"} {
		f.Add(seed)
	}
	adapter := caddyconfig.GetAdapter("caddyfile")
	f.Fuzz(func(t *testing.T, block string) {
		if strings.Contains(block, "import") {
			return // which reads files
		}
		raw, _, err := adapter.Adapt([]byte(":80 {\n\tapoxy {\n"+block+"\n\t}\n}\n"), map[string]any{"filename": "Caddyfile"})
		if err != nil {
			return
		}
		var config struct {
			Apps struct {
				HTTP struct {
					Servers map[string]struct {
						Routes []struct{ Handle []json.RawMessage }
					}
				}
			}
		}
		if err := json.Unmarshal(raw, &config); err != nil {
			t.Fatalf("%q is adapted to %s: %v", block, raw, err)
		}
		for _, server := range config.Apps.HTTP.Servers {
			for _, route := range server.Routes {
				for _, handle := range route.Handle {
					var h struct{ Handler string }
					own := new(Handler)
					if json.Unmarshal(handle, &h) != nil || h.Handler != "apoxy" {
						continue
					}
					if err := json.Unmarshal(handle, own); err != nil || len(own.Gateways)+len(own.Proxies) == 0 {
						t.Fatalf("%q is adapted to %s (%v)", block, handle, err)
					}
				}
			}
		}
	})
}

// FuzzSetupPage reads anything as the block of apoxy_setup: what is adapted has a URL
// that links can lead to.
func FuzzSetupPage(f *testing.F) {
	for _, seed := range []string{"url https://a.example", "url https://a.example\ncolors accent 1f5fae", "url {env.X}", "url https://a.example\nlogo x\nlogo y",
		"url https://a.example\nframe_ancestors self https://b.example", "languages en\nlanguages", "colors a \"#\"", "url \"\"", "url https://a.example {\n}"} {
		f.Add(seed)
	}
	adapter := caddyconfig.GetAdapter("caddyfile")
	f.Fuzz(func(t *testing.T, block string) {
		if strings.Contains(block, "import") {
			return // which reads files
		}
		raw, _, err := adapter.Adapt([]byte(":80 {\n\tapoxy_setup {\n"+block+"\n\t}\n}\n"), map[string]any{"filename": "Caddyfile"})
		if err != nil {
			return
		}
		var config struct {
			Apps struct {
				HTTP struct {
					Servers map[string]struct {
						Routes []struct {
							Handle []struct{ Handler, URL string }
						}
					}
				}
			}
		}
		if err := json.Unmarshal(raw, &config); err != nil {
			t.Fatalf("%q is adapted to %s: %v", block, raw, err)
		}
		for _, server := range config.Apps.HTTP.Servers {
			for _, route := range server.Routes {
				for _, page := range route.Handle {
					if _, err := setup.ParseURL(page.URL); page.Handler == "apoxy_setup" && err != nil && !hasPlaceholder(page.URL) {
						t.Fatalf("%q is adapted to %s: %v", block, raw, err)
					}
				}
			}
		}
	})
}
