package caddyapoxy

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// A target that only one of the two ports has answers 503 at the other, which is
// told at load; what is scoped on purpose, and what is the same, is not.
func TestTargetsOfOnePortAloneAreNamedAtTheStart(t *testing.T) {
	const plain = "http:// {\n\timport edge\n}\n"
	for _, c := range []struct{ is, http, says string }{
		{"a snippet in both", plain, ""},
		{"another target over HTTP", "http:// {\n\tapoxy {\n\t\tgateway old {\n\t\t\trespond hi\n\t\t}\n\t}\n}\n", `"target":"Gateway default","missing":"http://"`},
		{"one more over HTTP", "http:// {\n\timport edge\n\tapoxy /old* {\n\t\tgateway old {\n\t\t\trespond hi\n\t\t}\n\t}\n}\n", `"target":"Gateway old","missing":"https://"`},
		{"no site of records over HTTP", "", ""},
		{"an own site and an internal port have more", plain + "http://own.example.org, http://:8099 {\n\tapoxy {\n\t\tgateway internal {\n\t\t\trespond hi\n\t\t}\n\t}\n}\n", ""},
	} {
		t.Run(c.is, func(t *testing.T) {
			w, https := newWorld(t), freePort(t)
			file := filepath.Join(w.dir, "log")
			config := readmeCaddyfile(t, w, https, "log {\n\t\toutput file "+file+"\n\t}", "")
			if !strings.Contains(config, plain) {
				t.Fatalf("the README's Caddyfile has no %q:\n%s", plain, config)
			}
			config = strings.Replace(config, plain, strings.Replace(c.http, "8099", port(t, freePort(t)), 1), 1)
			if err := load(t, config); err != nil {
				t.Fatal(err)
			}
			said, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if warned := bytes.Contains(said, []byte("a target is missing")); warned != (c.says != "") || !bytes.Contains(said, []byte(c.says)) {
				t.Errorf("the log says\n%s\nwant %q", lines(said, "target"), c.says)
			}
		})
	}
}

// The first apoxy block of a site answers for all that come to it.
func TestABlockThatIsNeverAskedIsNamedAtTheStart(t *testing.T) {
	const second = "\tapoxy %s{\n\t\tgateway two {\n\t\t\trespond two\n\t\t}\n\t}\n"
	for matcher, want := range map[string]bool{"": true, "/two* ": false} {
		w, https := newWorld(t), freePort(t)
		file := filepath.Join(w.dir, "log")
		config := readmeCaddyfile(t, w, https, "log {\n\t\toutput file "+file+"\n\t}", "")
		block := fmt.Sprintf(second, matcher)
		config = strings.ReplaceAll(config, "\timport edge\n", "\timport edge\n"+block)
		if err := load(t, config); err != nil {
			t.Fatal(err)
		}
		said, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if got := bytes.Contains(said, []byte(`is never asked`)) && bytes.Contains(said, []byte(`"targets":["Gateway two"]`)); got != want {
			t.Errorf("with the matcher %q the log says\n%s", matcher, lines(said, "target"))
		}
	}
}

// A route that matches some hostname, or any request of another sort, serves records.
func TestARouteIsOwnIfAllItMatchesIs(t *testing.T) {
	own, path := caddyhttp.MatchHost{"own.example.org"}, caddyhttp.MatchPath{"/x"}
	for _, c := range []struct {
		is   string
		sets caddyhttp.MatcherSets
		own  bool
	}{
		{"everything", nil, false},
		{"a hostname", caddyhttp.MatcherSets{{&own}}, true},
		{"a hostname and a path", caddyhttp.MatcherSets{{&own, &path}}, true},
		{"a hostname or a path", caddyhttp.MatcherSets{{&own}, {&path}}, false},
		{"a hostname or a wildcard", caddyhttp.MatcherSets{{&own}, {caddyhttp.MatchHost{"*.example.org"}}}, false},
	} {
		app := &caddyhttp.App{Servers: map[string]*caddyhttp.Server{"s": {Routes: caddyhttp.RouteList{{MatcherSets: c.sets, Handlers: []caddyhttp.MiddlewareHandler{new(Handler)}}}}}}
		if got := len(withoutRecords(app)) == 1; got != c.own {
			t.Errorf("%s: own is %v", c.is, got)
		}
	}
}
