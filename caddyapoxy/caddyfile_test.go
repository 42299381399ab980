package caddyapoxy

import (
	"bytes"
	"cmp"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/caddyconfig"
	_ "github.com/caddyserver/caddy/v2/modules/standard"
)

var update = flag.Bool("update", false, "write the golden files anew")

// Each file of testdata/adapt holds a Caddyfile, a line of dashes, and what
// adapting it gives: JSON, or the error.
func TestCaddyfilesAdaptAsTheGoldenFilesSay(t *testing.T) {
	files, err := filepath.Glob("testdata/adapt/*.caddyfiletest")
	if err != nil || len(files) == 0 {
		t.Fatalf("finding golden files: %v, %d found", err, len(files))
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".caddyfiletest"), func(t *testing.T) {
			content, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			const dashes = "----------\n"
			input, want, _ := strings.Cut(string(content), dashes)
			got := adapt(t, input)
			if *update {
				if err := os.WriteFile(file, []byte(input+dashes+got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if got != want {
				t.Errorf("adapting gives\n%s\nwant\n%s", got, want)
			}
		})
	}
}

func adapt(t *testing.T, input string) string {
	t.Helper()
	got, warnings, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(input), map[string]any{"filename": "Caddyfile"})
	if err != nil {
		return err.Error() + "\n"
	}
	for _, w := range warnings {
		if strings.HasSuffix(t.Name(), "/contract") && strings.Contains(w.Message, "not formatted") {
			continue // its comments stand in a column, and a block in one line
		}
		t.Errorf("warning: %s", w)
	}
	var out bytes.Buffer
	if err := json.Indent(&out, got, "", "\t"); err != nil {
		t.Fatal(err)
	}
	return out.String() + "\n"
}

// What can be configured has an option in the Caddyfile, with a golden file, and a
// line in the docs.
func TestEveryOptionIsAdaptedAndExplained(t *testing.T) {
	read := func(pattern string) string {
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: %d files, %v", pattern, len(files), err)
		}
		var all strings.Builder
		for _, f := range files {
			raw, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			all.Write(raw)
		}
		return all.String()
	}
	golden, docs := read("testdata/adapt/*.caddyfiletest"), read("../docs/*.md")+read("../README.md")
	called := map[string]string{"zone_files": "zonefile", "nameservers": "nameserver", "mounts": "mount", "file": "FILE", "tokens": "token", "webhooks": "webhook", "secrets": "secret", "encryption_keys": "encryption_key", "lost_keys": "lost_key", "reverse_proxy": "anything else"} // in the Caddyfile
	for _, of := range []reflect.Type{reflect.TypeFor[App](), reflect.TypeFor[Zone](), reflect.TypeFor[Tunnel](), reflect.TypeFor[EdgeFunction](), reflect.TypeFor[Webhook](), reflect.TypeFor[DomainConnect](), reflect.TypeFor[Storage](), reflect.TypeFor[Dashboard](), reflect.TypeFor[SetupPage]()} {
		for i := range of.NumField() {
			name, _, _ := strings.Cut(of.Field(i).Tag.Get("json"), ",")
			if name == "" || name == "-" {
				continue
			}
			if !strings.Contains(golden, `"`+name+`": `) {
				t.Errorf("no file of testdata/adapt gives %s of %s", name, of)
			}
			if option := cmp.Or(called[name], name); !regexp.MustCompile("\\b" + option + "\\b").MatchString(docs) {
				t.Errorf("no page of docs/ explains %s", option)
			}
		}
	}
}
