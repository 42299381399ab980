// Command hello is an edge function in Go's own terms: a command that answers one
// request by CGI (RFC 3875). Build it with
//
//	GOOS=wasip1 GOARCH=wasm go build -o hello.wasm ./examples/functions/hello
//
// and serve it with
//
//	apoxy {
//		edgefunction hello ./hello.wasm
//	}
package main

import (
	"fmt"
	"log"
	"net/http"
	"net/http/cgi"
)

func main() {
	hello := func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		fmt.Fprintf(w, "Hello from %s%s\n", r.Host, r.URL.Path)
	}
	if err := cgi.Serve(http.HandlerFunc(hello)); err != nil {
		log.Fatal(err) // Caddy logs it, and answers 500
	}
}
