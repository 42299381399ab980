package js

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/apoxy-dev/caddy-apoxy/edgefunction"
)

// TestTheEngineIsTheOneThatWasPublished holds the vendored module against the npm
// package quickjs-wasi 3.7.0.
func TestTheEngineIsTheOneThatWasPublished(t *testing.T) {
	const want = "c0bd8f296e18cf074969f6401b9ecb72609a1323818ec2b9bf7a8f8d740d1363"
	if got := fmt.Sprintf("%x", sha256.Sum256(quickjs)); got != want {
		t.Errorf("quickjs/quickjs.wasm has the SHA-256 %s, want %s", got, want)
	}
}

func TestSourceErrors(t *testing.T) {
	for _, test := range []struct {
		name, source string
		want         []string // file:line:column: message, without the directory
	}{
		{"syntax", "export default {\n  fetch( { }\n}", []string{`fn.ts:3:1: Expected ")" but found "}"`}},
		{"two errors", "let a = ;\nconst b;\nexport default 1 +;", []string{`fn.ts:1:9: Unexpected ";"`}},
		{"types are erased", "interface A { a: string }\nlet a: A = 1 as any;\nexport default a;", []string{`fn.ts: while the module is evaluated: the default export is no object: expected export default { async fetch(request, env, ctx) { … } }`}},
		{"no default export", "export const a = 1", []string{"fn.ts: while the module is evaluated: there is no default export"}},
		{"no fetch", "export default { fetsh() {} }", []string{"fn.ts: while the module is evaluated: the default export has no function fetch"}},
		{"thrown", "type A = string;\n\nfunction f(a: A) {\n  throw new RangeError('early');\n}\nf('');\nexport default {}", []string{"fn.ts:4:13: while the module is evaluated: RangeError: early"}},
		{"rejected", "await null;\nawait Promise.reject(new Error('late'));\nexport default {}", []string{"fn.ts:2:26: while the module is evaluated: Error: late"}},
		{"thrown in an import", "import './lib/throws';\nexport default {}", []string{"lib/throws.ts:2:11: while the module is evaluated: Error: in lib"}},
		{"never settles", "await new Promise(() => {});\nexport default {}", []string{"fn.ts: while the module is evaluated: its top-level await waits for what never happens"}},
		{"memory", "const a = [];\nfor (;;) a.push(new Uint8Array(1 << 20));\nexport default {}", []string{"fn.ts:2:37: while the module is evaluated: memory: it wanted more than 12582912 bytes"}},
		{"fetch at once", "await fetch('http://a.example');\nexport default {}", []string{"fn.ts:1:7: while the module is evaluated: Error: fetch: expected inside of a request"}},
		{"random at once", "const id = crypto.randomUUID();\nexport default {}", []string{"fn.ts:1:19: while the module is evaluated: Error: crypto.randomUUID: expected inside of a request"}},
		{"timer at once", "setTimeout(() => {}, 1);\nexport default {}", []string{"fn.ts:1:1: while the module is evaluated: Error: setTimeout: expected inside of a request"}},
		{"missing import", "import a from './none';\nexport default a", []string{`fn.ts:1:15: Could not resolve "./none"`}},
		{"import of a URL", "import a from 'https://a.example/x.js';\nexport default a", []string{`fn.ts:1:15: import "https://a.example/x.js": expected a relative path`}},
		{"import of Node.js", "import fs from 'node:fs';\nexport default fs", []string{`fn.ts:1:16: import "node:fs": expected a relative path`}},
		{"import of Node.js, bare", "import fs from 'fs';\nexport default fs", []string{`fn.ts:1:16: Could not resolve "fs"`}},
		{"import from outside", "import a from '../outside.js';\nexport default a", []string{`fn.ts:1:15: import of `}},
		{"import by a link", "import a from './link.js';\nexport default a", []string{`fn.ts:1:15: import of `}},
		{"import of a FIFO", "import a from './fifo.js';\nexport default a", []string{`fn.ts:1:15: import of `}},
		{"import of JSON from outside", "import a from '../secret.json';\nexport default a", []string{`fn.ts:1:15: import of `}},
		{"import of /etc", "import a from '/etc/hosts.txt';\nexport default a", []string{`fn.ts:1:15: `}},
		{"import with an error", "import './lib/broken';\nexport default {}", []string{`lib/broken.ts:1:8: Unexpected "?"`}},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "in")
			for name, content := range map[string]string{
				"lib/throws.ts": "// the second line\nthrow new Error('in lib');\nexport {};", "lib/broken.ts": "let a: ?;",
				"../outside.js": "export default {}", "../secret.json": "{}", "fn.ts": test.source,
			} {
				put(t, filepath.Join(dir, name), content)
			}
			if err := os.Symlink("../outside.js", filepath.Join(dir, "link.js")); err != nil {
				t.Fatal(err)
			}
			if err := syscall.Mkfifo(filepath.Join(dir, "fifo.js"), 0o600); err != nil {
				t.Fatal(err)
			}
			s := settings(os.Stderr)
			s.Memory = 12 << 20
			_, err := Compile(t.Context(), filepath.Join(dir, "fn.ts"), []byte(test.source), s)
			var at *edgefunction.SourceError
			if !errors.As(err, &at) {
				t.Fatalf("%v: want a SourceError", err)
			}
			for _, want := range test.want {
				if !strings.Contains(err.Error(), dir+"/"+want) {
					t.Errorf("%v\nwant in it %s", err, want)
				}
			}
		})
	}
}

func put(t *testing.T, file, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestCompileRefusesWhatItCannotGive(t *testing.T) {
	s := settings(os.Stderr)
	s.Mounts = []edgefunction.Mount{{Dir: "/srv", At: "/data"}}
	_, err := Compile(t.Context(), "fn.js", []byte("export default { fetch() {} }"), s)
	if err == nil || err.Error() != "fn.js: mount /data: functions in JavaScript have no files: leave mounts out" {
		t.Error(err)
	}
	_, err = Compile(t.Context(), "fn.py", nil, settings(os.Stderr))
	if err == nil || !strings.HasPrefix(err.Error(), "fn.py: expected a file that ends in .js") {
		t.Error(err)
	}
	s = settings(os.Stderr)
	s.Memory = 1 << 20
	_, err = Compile(t.Context(), "fn.js", []byte("export default { fetch() {} }"), s)
	if err == nil || !strings.Contains(err.Error(), "memory: 1048576 bytes: functions in JavaScript need at least 4 MiB") {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err = Compile(ctx, "fn.js", []byte("for (;;) {}"), settings(os.Stderr)); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestImports(t *testing.T) {
	dir := t.TempDir()
	put(t, filepath.Join(dir, "fn.ts"), `import { a } from './lib/a';
import b from './b.js';
import pkg from 'pkg';
import data from './data.json';
import text from './text.txt';
export default { async fetch(): Promise<Response> { const { c } = await import('./c'); return new Response([a, b, pkg, data.d, text, c].join(' ')) } } satisfies object`)
	files := map[string]string{
		"lib/a.ts": "export enum E { A = 'a' }\nexport const a: string = E.A", "b.js": "module.exports = 'b'", "data.json": `{"d":"d"}`, "text.txt": "t", "c.tsx": "export const c = 'c'",
		"node_modules/pkg/index.mjs": "export default 'pkg'", "node_modules/pkg/package.json": `{"module": "index.mjs"}`,
	}
	var want []string
	for name, content := range files {
		put(t, filepath.Join(dir, name), content)
		if !strings.HasSuffix(name, "package.json") {
			want = append(want, filepath.Join(dir, name))
		}
	}
	f := compileFile(t, filepath.Join(dir, "fn.ts"), nil)
	if w, err := f.ask("GET", "http://a.example/", ""); err != nil || w.Body.String() != "a b pkg d t c" {
		t.Error(err, w.Body)
	}
	slices.Sort(want)
	if got := f.Files(); !slices.Equal(got, want) {
		t.Errorf("got the files %q, want %q", got, want)
	}
}

func TestStackTracesNameTheUsersLines(t *testing.T) {
	dir := t.TempDir()
	put(t, filepath.Join(dir, "lib.ts"), "export interface Gone {\n  a: string;\n}\n\nexport function fail(why: string): never {\n  throw new Error(why);\n}\n")
	main := filepath.Join(dir, "fn.ts")
	put(t, main, "import { fail } from './lib';\n\ntype T = string;\n\nexport default {\n  async fetch(request: Request): Promise<Response> {\n    const why: T = 'here';\n    await null;\n    return fail(why);\n  },\n};\n")
	f := compileFile(t, main, nil)
	_, err := f.ask("GET", "http://a.example/", "")
	want := fmt.Sprintf("crash: Error: here\n    at fail (%s:6:19)\n    at fetch (%s:9:17)", filepath.Join(dir, "lib.ts"), main)
	if err == nil || err.Error() != want {
		t.Errorf("got\n%v\nwant\n%s", err, want)
	}
}
