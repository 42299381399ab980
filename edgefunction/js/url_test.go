package js

import (
	"strings"
	"testing"

	whatwg "github.com/nlnwa/whatwg-url/url"
)

// FuzzURLs holds what is parsed here against the library that is used for the rest.
func FuzzURLs(f *testing.F) {
	for _, seed := range [][2]string{
		{"http://a.example/b/c?d#e", "../x?y#z"}, {"https://a.example", "//b/./c/%2E%2e/d\\e"}, {"http://a", "?q'ü"}, {"http://a/b", "#f `"},
		{"http://a/b?c", ""}, {"http://a/b", "http:c"}, {"http://a/b", "https:c"}, {"http://a/b", "\\\\c\\d"}, {"http://a/b/", ".."}, {"http://a", "/.//.."},
		{"mailto:x", "http://a"}, {"x://a/b", "c"}, {"x:y", "#z"}, {"http://u:p@a:80/", "x"}, {"http://a:b@c@d/", "."}, {"http://a?#", ""}, {"HTTP:\\\\a", "\tb\n "},
		{"http://[::1]:8080/", "/"}, {"http://a b", "c"}, {"none", "http://a/"}, {"http://a/%", "%zz"}, {"http://1.2.3", "1:2"}, {"http://a//b", "//"}, {"http://a", "http:"},
	} {
		f.Add(seed[0], seed[1])
	}
	f.Fuzz(func(t *testing.T, base, ref string) {
		base, ref = strings.ToValidUTF8(base, "?"), strings.ToValidUTF8(ref, "?")
		if len(base)+len(ref) > maxAuthority || strings.ContainsAny(base+ref, "^\ufffd") { // "^" is encoded since 2024
			return
		}
		want := ""
		if u, err := whatwg.ParseRef(base, ref); err == nil {
			want = partsOfOther(u)
		}
		if got := parseURL(ref, base); got != want {
			t.Errorf("%q relative to %q\n got %q\nwant %q", ref, base, got, want)
		}
		want = ""
		if u, err := whatwg.Parse(base); err == nil {
			want = partsOfOther(u)
		}
		if got := parseURL(base); got != want {
			t.Errorf("%q\n got %q\nwant %q", base, got, want)
		}
	})
}
