package wasm

import (
	"net/http"
	"testing"
)

func TestTheExamplesServe(t *testing.T) {
	hello := compile(t, build(t, "../../examples/functions/hello", false), nil)
	w, err := hello.get("http://www.example.com/there", nil)
	wantBody(t, w, err, "Hello from www.example.com/there\n")
	if w.Code != http.StatusOK || w.Header().Get("Content-Type") != "text/plain; charset=utf-8" {
		t.Error(w.Code, w.Header())
	}
	header := compile(t, build(t, "../../examples/functions/header", true), nil)
	w, err = header.get("/", echo)
	if err != nil || w.Code != http.StatusTeapot || w.Header().Get("X-Edge") != "caddy-apoxy" || w.Header().Get("X-Next") != "yes" {
		t.Error(w.Code, w.Header(), err)
	}
}
