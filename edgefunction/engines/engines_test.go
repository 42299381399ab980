package engines

import (
	"strings"
	"testing"
)

func TestTheNameSaysTheEngine(t *testing.T) {
	for _, file := range []string{"a.wasm", "./a.js", "/srv/a.mjs", "a.ts", "b.a.mts", "A.TS"} {
		if compile, err := For(file); compile == nil || err != nil {
			t.Errorf("%s: %v", file, err)
		}
	}
	for _, file := range []string{"", "a", "a.py", "js", "a.js.bak", "a.wasm/"} {
		if _, err := For(file); err == nil || !strings.Contains(err.Error(), ".wasm, .js, .mjs, .ts or .mts") {
			t.Errorf("%q: %v", file, err)
		}
	}
}
