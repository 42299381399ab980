package wasm

import (
	"testing"

	"github.com/apoxy-dev/caddy-apoxy/edgefunction"
)

func TestAHandlerAnswers(t *testing.T) {
	f := handler(t, nil)
	w, err := f.get("/hello", nil)
	wantBody(t, w, err, "hello")
}

func TestAHandlerThatFailsIsAFault(t *testing.T) {
	f := handler(t, func(s *edgefunction.Settings) { s.Memory = 32 << 20 })
	for path, want := range map[string]struct {
		kind edgefunction.FaultKind
		says string
	}{
		"/memory":                               {edgefunction.FaultMemory, "more than its 33554432 bytes"},
		"/trap":                                 {edgefunction.FaultCrash, "unreachable"},
		"/exit":                                 {edgefunction.FaultCrash, "it exited with status 3"},
		"/get-outside":                          {edgefunction.FaultCrash, "a buffer of 1000 bytes at 4294967280 is not in its memory"},
		"/read-outside":                         {edgefunction.FaultCrash, "1000 bytes at 4294967280 are not in its memory"},
		"/write-outside":                        {edgefunction.FaultCrash, "4294967295 bytes at 0 are not in its memory"},
		"/read-nothing":                         {edgefunction.FaultCrash, "a buffer of no bytes"},
		"/kind":                                 {edgefunction.FaultCrash, "9 is no kind of header"},
		"/no-name":                              {edgefunction.FaultCrash, "a name without bytes"},
		"/header?kind=3&name=a&value=b":         {edgefunction.FaultCrash, "without the feature trailers"},
		"/header?kind=1&name=a%0d&value=b":      {edgefunction.FaultAnswer, `"a\r" is no name`},
		"/header?kind=1&name=&value=b":          {edgefunction.FaultAnswer, `"" is no name`},
		"/header?kind=1&name=a&value=b%0d%0a":   {edgefunction.FaultAnswer, `a control character: "b\r\n"`},
		"/header?kind=0&name=a&value=b%00":      {edgefunction.FaultAnswer, `a control character: "b\x00"`},
		"/header?kind=0&name=Host&value=a/b%20": {edgefunction.FaultAnswer, `is no host`},
		"/header?kind=3&trailers=1&name=a%20b&value=b": {edgefunction.FaultAnswer, `"a b" is no name`},
		"/headers":                       {edgefunction.FaultAnswer, "its header fields pass 65536 bytes"},
		"/one-header":                    {edgefunction.FaultAnswer, "value has 1048576 bytes: at most 65536"},
		"/body":                          {edgefunction.FaultAnswer, "its response body passes 10485760 bytes"},
		"/status?code=99":                {edgefunction.FaultAnswer, "status 99"},
		"/status?code=101":               {edgefunction.FaultAnswer, "status 101"},
		"/status?code=4000000000":        {edgefunction.FaultAnswer, "status 4000000000"},
		"/rewrite?method=A%20B&uri=/":    {edgefunction.FaultAnswer, `"A B" is no method`},
		"/rewrite?uri=http://elsewhere/": {edgefunction.FaultAnswer, "is no URI"},
		"/rewrite?uri=/a%0d%0a":          {edgefunction.FaultAnswer, "is no URI"},
	} {
		w, err := f.get(path, nil)
		t.Run(path, func(t *testing.T) { wantFault(t, w, err, want.kind, want.says) })
		w, err = f.get("/hello", nil)
		wantBody(t, w, err, "hello")
	}
}

func TestAHandlerThatDoesNotEndIsEnded(t *testing.T) {
	f := handler(t, short)
	for _, path := range []string{"/loop", "/recursion", "/sleep"} {
		w, err := f.get(path, nil)
		wantFault(t, w, err, edgefunction.FaultTimeout, "longer than its 100ms")
	}
}
