package setup

import (
	"strings"
	"testing"
)

func TestURLOfASite(t *testing.T) {
	for text, want := range map[string]string{
		"https://setup.example.net":           "https://setup.example.net",
		"https://setup.example.net/":          "https://setup.example.net",
		"https://app.example.net/setup/":      "https://app.example.net/setup",
		"http://127.0.0.1:8080/a/b":           "http://127.0.0.1:8080/a/b",
		"https://[2001:db8::1]:8443":          "https://[2001:db8::1]:8443",
		"":                                    "!url: it is missing: expected https or http and a host",
		"setup.example.net":                   "!expected https or http",
		"ftp://setup.example.net":             "!expected https or http",
		"javascript:alert(1)":                 "!expected https or http",
		"https://":                            "!expected https or http",
		"https://u:p@setup.example.net":       "!expected https or http",
		"https://setup.example.net?x":         "!no query and no fragment",
		"https://setup.example.net/#x":        "!no query and no fragment",
		"https://setup.example.net/a//b":      "!plain parts",
		"https://setup.example.net/../x":      "!plain parts",
		"https://setup.example.net/a%2Fb":     "!plain parts",
		"https://setup.example.net/; x y":     "!expected https",
		"https://" + strings.Repeat("a", 1e3): "!expected https",
	} {
		u, err := ParseURL(text)
		if wrong, bad := strings.CutPrefix(want, "!"); bad {
			if err == nil || !strings.Contains(err.Error(), wrong) || !strings.HasPrefix(err.Error(), "url") {
				t.Errorf("%.60q: %v, %v, want %q", text, u, err, wrong)
			}
		} else if err != nil || u.String() != want {
			t.Errorf("%q: %v, %v, want %s", text, u, err, want)
		}
	}
}

func TestSupport(t *testing.T) {
	for text, want := range map[string]string{
		"help@example.net":                 "mailto:help@example.net",
		"mailto:help@example.net":          "mailto:help@example.net",
		"https://www.example.net/help?a=b": "https://www.example.net/help?a=b",
		"Help <help@example.net>":          "",
		"help":                             "",
		"":                                 "",
		"javascript://x/%0aalert(1)":       "",
		"help@example.net?bcc=x":           "",
		"\"><script>@example.net":          "",
	} {
		if got, err := ParseSupport(text); got != want || (err == nil) != (want != "") {
			t.Errorf("%q: %q, %v, want %q", text, got, err, want)
		}
	}
}

func TestAncestors(t *testing.T) {
	for text, ok := range map[string]bool{
		"https://app.example.net": true, "https://*.example.net": true, "https://app.example.net:8443": true, "self": true,
		"http://localhost:3000": true, "http://127.0.0.1": true, "http://127.0.0.1:*": true, "https://*.example.net:*": true,
		"http://app.example.net": false, "https://app.example.net/": false, "https://app.example.net/x": false, "*": false, "'none'": false,
		"https://*": false, "https://:*": false, "https://a:*/x": false, "https://a::*": false, "https://a.*.net": false, "https://a; script-src *": false, "https://a,b": false, "": false, "https://a'": false,
	} {
		if err := CheckAncestor(text); (err == nil) != ok {
			t.Errorf("%q: %v", text, err)
		}
	}
	if got, err := ancestors([]string{"self", "https://a"}); err != nil || strings.Join(got, " ") != "'self' https://a" {
		t.Errorf("%v, %v", got, err)
	}
}

func TestLogos(t *testing.T) {
	for image, want := range map[string]string{
		"\x89PNG\r\n\x1a\n....":  "image/png",
		"\xff\xd8\xff\xe0":       "image/jpeg",
		"GIF89a":                 "image/gif",
		"RIFF....WEBPVP8 ":       "image/webp",
		" <svg xmlns='x'></svg>": "image/svg+xml",
		"<?xml version='1.0'?>\n<!-- c --><svg></svg>": "image/svg+xml",
		"<html><svg></svg></html>":                     "",
		"":                                             "",
		"BM....":                                       "",
	} {
		if got := logoType([]byte(image)); got != want {
			t.Errorf("%q is %q, want %q", image, got, want)
		}
	}
	if err := CheckLogo(make([]byte, MaxLogo+1)); err == nil {
		t.Error("a large logo is taken")
	}
	if err := CheckLogoURL("http://www.example.net/logo.png"); err == nil {
		t.Error("a logo over plain HTTP is taken")
	}
}
