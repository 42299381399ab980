// Package engines picks the engine that runs a function's file. It knows what files
// are called, and nothing of what is in them.
package engines

import (
	"fmt"
	"path/filepath"
	"strings"

	"github.com/apoxy-dev/caddy-apoxy/edgefunction"
	"github.com/apoxy-dev/caddy-apoxy/edgefunction/js"
	"github.com/apoxy-dev/caddy-apoxy/edgefunction/wasm"
)

// For returns what compiles a file, by the end of its name: .wasm is WebAssembly; .js,
// .mjs, .ts and .mts are JavaScript and TypeScript. Another end is an error.
func For(file string) (edgefunction.Compiler, error) {
	switch strings.ToLower(filepath.Ext(file)) {
	case ".wasm":
		return wasm.Compile, nil
	case ".js", ".mjs", ".ts", ".mts":
		return js.Compile, nil
	default:
		return nil, fmt.Errorf("file: %.200q: expected a name that ends with .wasm, .js, .mjs, .ts or .mts", file)
	}
}
