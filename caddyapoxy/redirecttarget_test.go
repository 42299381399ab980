package caddyapoxy

import (
	"crypto/tls"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
	"github.com/apoxy-dev/caddy-apoxy/hosts"
)

var www = new("www.example.com")

func fullPath(path string) *v1alpha3.RedirectPath {
	return &v1alpha3.RedirectPath{Type: v1alpha3.ReplaceFullPath, ReplaceFullPath: &path}
}

func prefixMatch(path string) *v1alpha3.RedirectPath {
	return &v1alpha3.RedirectPath{Type: v1alpha3.ReplacePrefixMatch, ReplacePrefixMatch: &path}
}

func TestRedirectLocation(t *testing.T) {
	for _, c := range []struct {
		name string
		d    v1alpha3.TargetRedirect
		url  string // as the client asked for it
		want string
	}{
		{"the hostname alone", v1alpha3.TargetRedirect{Hostname: www}, "https://example.com/a/b?c=d&c=e", "https://www.example.com/a/b?c=d&c=e"},
		{"the hostname alone, over plain HTTP", v1alpha3.TargetRedirect{Hostname: www}, "http://example.com/", "http://www.example.com/"},
		{"no path", v1alpha3.TargetRedirect{Hostname: www}, "https://example.com", "https://www.example.com/"},
		{"a query that is empty", v1alpha3.TargetRedirect{Hostname: www}, "https://example.com/?", "https://www.example.com/?"},
		{"the port of the request's URL", v1alpha3.TargetRedirect{Hostname: www}, "https://example.com:8443/", "https://www.example.com:8443/"},
		{"the scheme's own port in it", v1alpha3.TargetRedirect{Hostname: www}, "http://example.com:80/", "http://www.example.com/"},
		{"no port that there is", v1alpha3.TargetRedirect{Hostname: www}, "http://example.com:99999/", "http://www.example.com/"},
		{"a scheme, and so its port", v1alpha3.TargetRedirect{Scheme: new("https")}, "http://example.com:8080/a", "https://example.com/a"},
		{"a port", v1alpha3.TargetRedirect{Port: new(int32(8443))}, "https://example.com/a", "https://example.com:8443/a"},
		{"a scheme and its port", v1alpha3.TargetRedirect{Scheme: new("https"), Port: new(int32(443))}, "http://example.com/a", "https://example.com/a"},
		{"a scheme and another's port", v1alpha3.TargetRedirect{Scheme: new("http"), Hostname: www, Port: new(int32(443))}, "http://example.com/a", "http://www.example.com:443/a"},
		{"below a wildcard", v1alpha3.TargetRedirect{Port: new(int32(8443))}, "https://shop.example.com/a", "https://shop.example.com:8443/a"},

		{"a full path", v1alpha3.TargetRedirect{Hostname: www, Path: fullPath("/new")}, "https://example.com/a/b?c=d", "https://www.example.com/new?c=d"},
		{"a full path beyond ASCII", v1alpha3.TargetRedirect{Hostname: www, Path: fullPath("/ü%20")}, "https://example.com/", "https://www.example.com/%C3%BC%20"},
		{"a prefix", v1alpha3.TargetRedirect{Hostname: www, Path: prefixMatch("/blog")}, "https://example.com/a/b?c", "https://www.example.com/blog/a/b?c"},
		{"a prefix with a slash", v1alpha3.TargetRedirect{Hostname: www, Path: prefixMatch("/blog/")}, "https://example.com/a/", "https://www.example.com/blog/a/"},
		{"a prefix of the top", v1alpha3.TargetRedirect{Hostname: www, Path: prefixMatch("/blog")}, "https://example.com/", "https://www.example.com/blog"},
		{"a prefix with a slash of the top", v1alpha3.TargetRedirect{Hostname: www, Path: prefixMatch("/blog/")}, "https://example.com/", "https://www.example.com/blog/"},
		{"the prefix /", v1alpha3.TargetRedirect{Hostname: www, Path: prefixMatch("/")}, "https://example.com/a", "https://www.example.com/a"},
		{"the prefix / of the top", v1alpha3.TargetRedirect{Hostname: www, Path: prefixMatch("/")}, "https://example.com/", "https://www.example.com/"},
		{"an empty prefix", v1alpha3.TargetRedirect{Hostname: www, Path: prefixMatch("")}, "https://example.com/a", "https://www.example.com/a"},
		{"an empty prefix of the top", v1alpha3.TargetRedirect{Hostname: www, Path: prefixMatch("")}, "https://example.com/", "https://www.example.com/"},

		{"a path encoded as it came", v1alpha3.TargetRedirect{Hostname: www}, "https://example.com/a%2Fb%20c/%C3%BC?x=%2F+%00", "https://www.example.com/a%2Fb%20c/%C3%BC?x=%2F+%00"},
		{"an encoded path below a prefix", v1alpha3.TargetRedirect{Hostname: www, Path: prefixMatch("/p")}, "https://example.com/%2Fb", "https://www.example.com/p/%2Fb"},
		{"another host in the path", v1alpha3.TargetRedirect{Hostname: www}, "https://example.com//evil.example/x", "https://www.example.com//evil.example/x"},
		{"another host in the path below the prefix /", v1alpha3.TargetRedirect{Hostname: www, Path: prefixMatch("/")}, "https://example.com//evil.example/x", "https://www.example.com//evil.example/x"},
		{"a backslash in the path", v1alpha3.TargetRedirect{Hostname: www}, `https://example.com/\evil.example`, "https://www.example.com/%5Cevil.example"},
		{"another authority in the path", v1alpha3.TargetRedirect{Hostname: www}, "https://example.com/@evil.example:443", "https://www.example.com/@evil.example:443"},
		{"dots in the path", v1alpha3.TargetRedirect{Hostname: www}, "https://example.com/../a/./b", "https://www.example.com/../a/./b"},
		{"a line break, encoded", v1alpha3.TargetRedirect{Hostname: www}, "https://example.com/a%0D%0ASet-Cookie:x?%0D%0A", "https://www.example.com/a%0D%0ASet-Cookie:x?%0D%0A"},
		{"bytes beyond ASCII and quotes in the query", v1alpha3.TargetRedirect{Hostname: www}, "https://example.com/?ü=\"<b>\\", "https://www.example.com/?%C3%BC=%22%3Cb%3E%5C"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := asked(t, http.MethodGet, c.url)
			got, code, ok := redirect(&c.d, requestHost(r), r.TLS != nil, r)
			if got != c.want || code != http.StatusFound || !ok {
				t.Errorf("%s leads to %q with %d, %v, want %q with 302", c.url, got, code, ok, c.want)
			}
		})
	}
}

// asked is a request as a server reads it.
func asked(t testing.TB, method, rawURL string) *http.Request {
	t.Helper()
	scheme, rest, _ := strings.Cut(rawURL, "://")
	host, path := rest, ""
	if at := strings.IndexByte(rest, '/'); at >= 0 {
		host, path = rest[:at], rest[at:]
	}
	u, err := url.ParseRequestURI(path)
	if path == "" {
		u, err = &url.URL{}, nil
	}
	if err != nil {
		t.Fatal(err)
	}
	r := &http.Request{Method: method, URL: u, Host: host, RequestURI: path, Header: http.Header{}}
	if scheme == "https" {
		r.TLS = &tls.ConnectionState{}
	}
	return r
}

// A client may invent what stands below a wildcard, but not what is no hostname.
func TestRedirectKeepsNoInventedHost(t *testing.T) {
	d := &v1alpha3.TargetRedirect{Port: new(int32(8443))}
	for _, host := range []string{"", `evil.example\.example.com`, "evil@x.example.com", "a b.example.com", "a%2f.example.com", "a/b.example.com",
		"a?.example.com", "a#.example.com", "a:b.example.com", "a\r\n.example.com", "ü.example.com", strings.Repeat("a", 250) + ".example.com"} {
		if location, _, ok := redirect(d, host, true, asked(t, http.MethodGet, "https://x.example.com/")); ok {
			t.Errorf("%q leads to %q", host, location)
		}
	}
}

func TestRedirectsAreServed(t *testing.T) {
	h := newTestHandler(1)
	rt := h.app.rt.Load()
	set := func(host string, tls bool, d v1alpha3.TargetRedirect) {
		rt.table.Set(hosts.Make(hosts.Values{Hostname: host, Name: host, Phase: v1alpha3.PhaseActive, Verified: true, TLS: tls, TLSReady: tls,
			Target: v1alpha3.TargetKey{Kind: v1alpha3.KindRedirect}, Redirect: &d}))
	}
	set("example.com", true, v1alpha3.TargetRedirect{Hostname: www, StatusCode: new(int32(301))})
	set("plain.example.com", false, v1alpha3.TargetRedirect{Hostname: www, StatusCode: new(int32(303))})
	served := requests[requestLabels{v1alpha3.KindRedirect, serve}]
	for _, c := range []struct {
		name, method, url, want string
		code                    int
		counted                 float64
	}{
		{"over TLS", "GET", "https://example.com/a?b=c", "https://www.example.com/a?b=c", 301, 1},
		{"a HEAD", "HEAD", "https://example.com/a?b=c", "https://www.example.com/a?b=c", 301, 1},
		{"a POST", "POST", "https://example.com/a?b=c", "https://www.example.com/a?b=c", 301, 1},
		{"in capitals, with a final dot", "GET", "https://Example.COM./a", "https://www.example.com/a", 301, 1},
		{"plain HTTP goes to https on its own hostname first", "GET", "http://example.com/a?b=c", "https://example.com/a?b=c", 308, 0},
		{"without TLS", "GET", "http://plain.example.com/a?b=c", "http://www.example.com/a?b=c", 303, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := valueOf(t, served)
			w, r := httptest.NewRecorder(), asked(t, c.method, c.url)
			if err := h.ServeHTTP(w, r, nil); err != nil {
				t.Fatal(err)
			}
			if got := w.Header().Get("Location"); got != c.want || w.Code != c.code {
				t.Errorf("answered %d to %q, want %d to %q", w.Code, got, c.code, c.want)
			}
			if c.method != "GET" && w.Body.Len() > 0 {
				t.Errorf("a body: %q", w.Body)
			}
			if n := valueOf(t, served) - before; n != c.counted {
				t.Errorf("%v requests were counted, want %v", n, c.counted)
			}
		})
	}
}

// FuzzRedirectLocation: whatever a client asks for, the answer leads to where the record says, in one line.
func FuzzRedirectLocation(f *testing.F) {
	f.Add("example.com", "/a?b=c", "/blog", true)
	f.Add("example.com:8443", "//evil.example", "/", false)
	f.Add("example.com:99999", `/\evil.example?\r#`, "", false)
	f.Add("a@evil.example", "/%0d%0a?ü", "/%20", true)
	f.Fuzz(func(t *testing.T, host, uri, prefix string, tls bool) {
		u, err := url.ParseRequestURI(uri)
		if err != nil {
			return // net/http refuses such a request
		}
		r := &http.Request{Method: http.MethodGet, URL: u, Host: host}
		for _, d := range []v1alpha3.TargetRedirect{
			{Hostname: www}, {Hostname: www, Path: prefixMatch(prefix)}, {Hostname: www, Path: fullPath(prefix)}, {Port: new(int32(8443))},
		} {
			location, _, ok := redirect(&d, requestHost(r), tls, r)
			if !ok {
				if d.Hostname != nil {
					t.Fatalf("%q %q is not redirected to %s", host, uri, *d.Hostname)
				}
				continue
			}
			if strings.ContainsFunc(location, func(c rune) bool { return c <= ' ' || c >= 0x7f || strings.ContainsRune(`"<>\`, c) }) {
				t.Fatalf("%q holds what a header or a page may not", location)
			}
			to, err := url.Parse(location)
			if d.Path == nil && err != nil {
				t.Fatalf("%q: %v", location, err)
			}
			want := requestHost(r)
			if d.Hostname != nil {
				want = *d.Hostname
			}
			if err == nil && (to.Hostname() != want || to.User != nil || to.Fragment != "") {
				t.Fatalf("%q %q leads to %q, host %q, want %q", host, uri, location, to.Hostname(), want)
			}
		}
	})
}
