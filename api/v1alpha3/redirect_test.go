package v1alpha3

import (
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/util/validation/field"
)

// redirects makes a record a redirect.
func redirects(d TargetRedirect) func(*DomainRecord) {
	return func(r *DomainRecord) { r.Spec.Target = DomainRecordTarget{Redirect: &d} }
}

func full(path string) *RedirectPath {
	return &RedirectPath{Type: ReplaceFullPath, ReplaceFullPath: &path}
}

func prefix(path string) *RedirectPath {
	return &RedirectPath{Type: ReplacePrefixMatch, ReplacePrefixMatch: &path}
}

func TestValidateAcceptsRedirects(t *testing.T) {
	www := new("www.example.com")
	for _, c := range []struct {
		is, text, to string // to is the hostname at which a record may answer
		r            *DomainRecord
	}{
		{"another hostname", "www.example.com", "www.example.com", record("example.com", redirects(TargetRedirect{Hostname: www}))},
		{"everything", "https://www.example.com:443/blog/*", "www.example.com", record("example.com", redirects(TargetRedirect{
			Scheme: new("https"), Hostname: www, Port: new(int32(443)), Path: prefix("/blog/"), StatusCode: new(int32(308))}))},
		{"an empty prefix", "www.example.com/*", "www.example.com", record("example.com", redirects(TargetRedirect{Hostname: www, Path: prefix("")}))},
		{"a path percent-encoded and beyond ASCII", "www.example.com/%20/ü", "www.example.com", record("example.com", redirects(TargetRedirect{Hostname: www, Path: full("/%20/ü")}))},
		{"a hostname in U-labels and capitals", "www.xn--bcher-kva.example", "www.xn--bcher-kva.example", record("example.com", redirects(TargetRedirect{Hostname: new("WWW.Bücher.example.")}))},
		{"a public suffix, which is a site of its own", "github.io", "github.io", record("example.com", redirects(TargetRedirect{Hostname: new("github.io")}))},
		{"a single label", "intranet", "intranet", record("example.com", redirects(TargetRedirect{Hostname: new("intranet")}))},
		{"a port of its own on the same hostname", "example.com:8443", "", record("example.com", redirects(TargetRedirect{Port: new(int32(8443))}))},
		{"a port of its own on another", "www.example.com:8443", "", record("example.com", redirects(TargetRedirect{Hostname: www, Port: new(int32(8443))}))},
		{"https's port without TLS", "example.com:443", "", record("example.com", httpOnly, redirects(TargetRedirect{Port: new(int32(443))}))},
		{"https on the hostname of a record without TLS", "https://example.com", "", record("example.com", httpOnly, redirects(TargetRedirect{Scheme: new("https")}))},
		{"a wildcard's base", "example.com", "example.com", record("*.example.com", redirects(TargetRedirect{Hostname: new("example.com")}))},
	} {
		t.Run(c.is, func(t *testing.T) {
			if errs := Validate(c.r, options); len(errs) > 0 {
				t.Error(errs.ToAggregate())
			}
			if got := c.r.RedirectText(); got != c.text {
				t.Errorf("it is shown as %q, want %q", got, c.text)
			}
			if got := c.r.RedirectsTo(); got != c.to {
				t.Errorf("it leads to the hostname %q, want %q", got, c.to)
			}
		})
	}
}

func TestValidateRefusesRedirects(t *testing.T) {
	const at = "spec.target.redirect"
	www := new("www.example.com")
	for _, c := range []struct {
		is    string
		d     TargetRedirect
		kind  field.ErrorType
		field string
		says  string
	}{
		{"nothing", TargetRedirect{}, field.ErrorTypeRequired, at, "at least one of scheme, hostname, port and path"},
		{"a status alone", TargetRedirect{StatusCode: new(int32(301))}, field.ErrorTypeRequired, at, "at least one of"},
		{"another scheme", TargetRedirect{Hostname: www, Scheme: new("ftp")}, field.ErrorTypeNotSupported, at + ".scheme", `"http", "https"`},
		{"a scheme in capitals", TargetRedirect{Hostname: www, Scheme: new("HTTPS")}, field.ErrorTypeNotSupported, at + ".scheme", `"http", "https"`},
		{"an empty hostname", TargetRedirect{Hostname: new("")}, field.ErrorTypeInvalid, at + ".hostname", "leave hostname out"},
		{"a wildcard", TargetRedirect{Hostname: new("*.example.org")}, field.ErrorTypeInvalid, at + ".hostname", "give one hostname"},
		{"an address", TargetRedirect{Hostname: new("192.0.2.1")}, field.ErrorTypeInvalid, at + ".hostname", "IP address"},
		{"a URL", TargetRedirect{Hostname: new("https://www.example.com/")}, field.ErrorTypeInvalid, at + ".hostname", "hostname alone"},
		{"a hostname with a port", TargetRedirect{Hostname: new("www.example.com:443")}, field.ErrorTypeInvalid, at + ".hostname", "port"},
		{"a user before the hostname", TargetRedirect{Hostname: new("a@evil.example")}, field.ErrorTypeInvalid, at + ".hostname", "@"},
		{"a line break in the hostname", TargetRedirect{Hostname: new("www.example.com\r\nx")}, field.ErrorTypeInvalid, at + ".hostname", "white space"},
		{"a backslash in the hostname", TargetRedirect{Hostname: new(`evil.example\www.example.com`)}, field.ErrorTypeInvalid, at + ".hostname", "hostname"},
		{"an endless hostname", TargetRedirect{Hostname: new(strings.Repeat("a.", 127) + "com")}, field.ErrorTypeInvalid, at + ".hostname", "at most 253"},
		{"port 0", TargetRedirect{Hostname: www, Port: new(int32(0))}, field.ErrorTypeInvalid, at + ".port", "1 to 65535"},
		{"a port too high", TargetRedirect{Hostname: www, Port: new(int32(65536))}, field.ErrorTypeInvalid, at + ".port", "1 to 65535"},
		{"a status that is no redirect", TargetRedirect{Hostname: www, StatusCode: new(int32(200))}, field.ErrorTypeInvalid, at + ".statusCode", "301, 302, 303, 307 or 308"},
		{"status 304", TargetRedirect{Hostname: www, StatusCode: new(int32(304))}, field.ErrorTypeInvalid, at + ".statusCode", "leave it out for 302"},
		{"a path without a type", TargetRedirect{Hostname: www, Path: &RedirectPath{ReplaceFullPath: new("/")}}, field.ErrorTypeRequired, at + ".path.type", "ReplaceFullPath or ReplacePrefixMatch"},
		{"an unknown type", TargetRedirect{Hostname: www, Path: &RedirectPath{Type: "Regex"}}, field.ErrorTypeNotSupported, at + ".path.type", "ReplacePrefixMatch"},
		{"no full path", TargetRedirect{Hostname: www, Path: &RedirectPath{Type: ReplaceFullPath}}, field.ErrorTypeRequired, at + ".path.replaceFullPath", "such as /"},
		{"no prefix", TargetRedirect{Hostname: www, Path: &RedirectPath{Type: ReplacePrefixMatch}}, field.ErrorTypeRequired, at + ".path.replacePrefixMatch", "prefix /"},
		{"both paths", TargetRedirect{Hostname: www, Path: &RedirectPath{Type: ReplacePrefixMatch, ReplacePrefixMatch: new("/a"), ReplaceFullPath: new("/b")}}, field.ErrorTypeForbidden, at + ".path.replaceFullPath", "does not go with the type ReplacePrefixMatch"},
		{"the other path too", TargetRedirect{Hostname: www, Path: &RedirectPath{Type: ReplaceFullPath, ReplacePrefixMatch: new("/a"), ReplaceFullPath: new("/b")}}, field.ErrorTypeForbidden, at + ".path.replacePrefixMatch", "does not go with the type ReplaceFullPath"},
		{"an empty full path", TargetRedirect{Hostname: www, Path: full("")}, field.ErrorTypeInvalid, at + ".path.replaceFullPath", "begin with a slash"},
		{"a path without a slash", TargetRedirect{Hostname: www, Path: prefix("blog")}, field.ErrorTypeInvalid, at + ".path.replacePrefixMatch", "begin with a slash"},
		{"a query", TargetRedirect{Hostname: www, Path: full("/a?b=c")}, field.ErrorTypeInvalid, at + ".path.replaceFullPath", "query is kept"},
		{"a line break in the path", TargetRedirect{Hostname: www, Path: full("/a\r\nSet-Cookie: x")}, field.ErrorTypeInvalid, at + ".path.replaceFullPath", "control character"},
		{"a backslash in the path", TargetRedirect{Hostname: www, Path: full(`/\evil.example`)}, field.ErrorTypeInvalid, at + ".path.replaceFullPath", "%5C"},
		{"half an encoding", TargetRedirect{Hostname: www, Path: full("/100%")}, field.ErrorTypeInvalid, at + ".path.replaceFullPath", "%25"},
		{"an endless path", TargetRedirect{Hostname: www, Path: full("/" + strings.Repeat("a", 1024))}, field.ErrorTypeInvalid, at + ".path.replaceFullPath", "at most 1024"},

		{"itself", TargetRedirect{Hostname: new("Example.com.")}, field.ErrorTypeInvalid, at, "example.com → example.com"},
		{"itself by its port", TargetRedirect{Port: new(int32(443))}, field.ErrorTypeInvalid, at, "leads to itself"},
		{"itself over https, where plain HTTP goes anyway", TargetRedirect{Scheme: new("https")}, field.ErrorTypeInvalid, at, "a record with tls goes by itself"},
		{"itself over http, which leads back to https", TargetRedirect{Scheme: new("http")}, field.ErrorTypeInvalid, at, "leads to itself"},
		{"another path of itself, which leads there again", TargetRedirect{Path: full("/welcome")}, field.ErrorTypeInvalid, at, "whatever the path"},
		{"an ever longer path of itself", TargetRedirect{Path: prefix("/blog")}, field.ErrorTypeInvalid, at, "whatever the path"},
	} {
		t.Run(c.is, func(t *testing.T) {
			r := record("example.com", redirects(c.d))
			for verb, errs := range map[string]field.ErrorList{"create": Validate(r, options), "update": ValidateUpdate(r, record("example.com"), options)} {
				if len(errs) != 1 {
					t.Fatalf("%s: %d errors: %v", verb, len(errs), errs.ToAggregate())
				}
				if e := errs[0]; e.Type != c.kind || e.Field != c.field || !strings.Contains(e.Error(), c.says) {
					t.Errorf("%s: %s %s: %v", verb, e.Type, e.Field, e)
				}
			}
		})
	}
	both := record("example.com", redirects(TargetRedirect{Hostname: www}))
	both.Spec.Target.Ref = TargetKey{Kind: KindGateway, Name: "default"}.Ref()
	if errs := Validate(both, options); len(errs) != 1 || errs[0].Field != at || errs[0].Type != field.ErrorTypeForbidden {
		t.Errorf("a ref and a redirect: %v", errs.ToAggregate())
	}
	if errs := Validate(record("*.example.com", redirects(TargetRedirect{Path: full("/")})), options); len(errs) != 1 {
		t.Errorf("a wildcard that leads to itself: %v", errs.ToAggregate())
	}
	if errs := Validate(record("example.com", httpOnly, redirects(TargetRedirect{Scheme: new("http")})), options); len(errs) != 1 {
		t.Errorf("http to itself without TLS: %v", errs.ToAggregate())
	}
}
