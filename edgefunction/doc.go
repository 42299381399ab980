// Package edgefunction serves requests by sandboxed code from a file: what is the same
// for every language. Engines compile files into programs: edgefunction/wasm and
// edgefunction/js.
package edgefunction
