package js

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/apoxy-dev/caddy-apoxy/edgefunction"
)

// hostile are functions that do harm when ?bad is asked, with the fault that ends it.
var hostile = []struct {
	name, bad string
	kind      edgefunction.FaultKind
	says      string
}{
	{"endless loop", `for (;;) {}`, edgefunction.FaultTimeout, "at bad ("},
	{"endless loop that does something", `for (let n = 0; ; ) n = next(n); function next(n) { return n + 1 }`, edgefunction.FaultTimeout, "at "},
	{"endless loop that catches", `for (;;) { try { for (;;) {} } catch {} finally { for (;;) {} } }`, edgefunction.FaultTimeout, "it ran longer"},
	{"regular expression", `/^(a+)+$/.test("a".repeat(40) + "b")`, edgefunction.FaultTimeout, "it ran longer"},
	{"sort", `[...Array(1000).keys()].sort(() => { for (;;) {} })`, edgefunction.FaultTimeout, "it ran longer"},
	{"long sort", `for (;;) Array.from({ length: 1 << 16 }, Math.sin).sort()`, edgefunction.FaultTimeout, "it ran longer"},
	{"array fill", `for (const a = new Array(1 << 17); ;) a.fill(1)`, edgefunction.FaultTimeout, "it ran longer"},
	{"sparse array", `Array.prototype.indexOf.call({ length: 2 ** 53 - 1 }, 1)`, edgefunction.FaultTimeout, "it ran longer"},
	{"promise chain", `await new Promise(() => { const f = () => Promise.resolve().then(f); f(); })`, edgefunction.FaultTimeout, "it ran longer"},
	{"microtasks", `await new Promise(() => { const f = () => queueMicrotask(f); f(); })`, edgefunction.FaultTimeout, "it ran longer"},
	{"microtasks after the answer", `{ const f = () => queueMicrotask(f); f(); return new Response("x"); }`, edgefunction.FaultTimeout, "it ran longer"},
	{"proxy trap", `Object.keys(new Proxy({}, { ownKeys() { for (;;) {} } }))`, edgefunction.FaultTimeout, "it ran longer"},
	{"JSON getter", `JSON.stringify({ get a() { for (;;) {} } })`, edgefunction.FaultTimeout, "it ran longer"},
	{"toString of what is thrown", `throw { toString() { for (;;) {} }, get constructor() { for (;;) {} } }`, edgefunction.FaultTimeout, "it ran longer"},
	{"stack of what is thrown", `throw Object.defineProperty(new Error("x"), "stack", { get() { for (;;) {} } })`, edgefunction.FaultTimeout, "it ran longer"},
	{"prepareStackTrace", `Error.prepareStackTrace = () => { for (;;) {} }; null.x`, edgefunction.FaultTimeout, "it ran longer"},
	{"status that loops", `return new Response("", { get status() { for (;;) {} } })`, edgefunction.FaultTimeout, "it ran longer"},
	{"then that loops", `return { get then() { for (;;) {} } }`, edgefunction.FaultTimeout, "it ran longer"},
	{"big integers", `let n = 3n; for (;;) n = n ** 3n % (2n ** 100000n)`, edgefunction.FaultTimeout, "it ran longer"},
	{"interval", `await new Promise(() => setInterval(() => {}, 0))`, edgefunction.FaultTimeout, "it ran longer"},
	{"slow timer", `await new Promise((done) => setTimeout(done, 1e6))`, edgefunction.FaultTimeout, "it ran longer"},
	{"string bomb", `let s = "x"; for (;;) s = s + s + "y"`, edgefunction.FaultCrash, "fn.ts:3"},
	{"array bomb", `const a = []; for (;;) a.push(new Array(1000).fill({}))`, edgefunction.FaultMemory, "12582912 bytes"},
	{"object bomb", `let o = {}; for (;;) o = { o, a: [o] }`, edgefunction.FaultMemory, "12582912 bytes"},
	{"buffer bomb", `const all = []; for (;;) all.push(new Uint8Array(1 << 20))`, edgefunction.FaultMemory, "12582912 bytes"},
	{"one huge buffer", `new ArrayBuffer(1 << 30)`, edgefunction.FaultMemory, "12582912 bytes"},
	{"map bomb", `const m = new Map(); for (let i = 0; ; i++) m.set(i, "x".repeat(i))`, edgefunction.FaultMemory, "12582912 bytes"},
	{"memory by promises", `const all = []; for (;;) { all.push(new Promise(() => {})); await null }`, edgefunction.FaultMemory, "12582912 bytes"},
	{"timer bomb", `for (;;) setTimeout(() => {}, 1e9)`, edgefunction.FaultMemory, "12582912 bytes"},
	{"thrown error", `throw new TypeError("boom")`, edgefunction.FaultCrash, "TypeError: boom\n    at bad ("},
	{"thrown text", `throw "boom"`, edgefunction.FaultCrash, `threw "boom"`},
	{"thrown nothing", `throw undefined`, edgefunction.FaultCrash, "threw undefined"},
	{"reference", `missing()`, edgefunction.FaultCrash, "missing is not defined"},
	{"rejected promise", `await Promise.reject(new Error("late"))`, edgefunction.FaultCrash, "Error: late"},
	{"recursion", `(function f() { f() })()`, edgefunction.FaultCrash, "Maximum call stack size exceeded"},
	{"recursion in built-ins", `JSON.stringify([..."x".repeat(1)].concat(function f(n) { return n ? [f(n - 1)] : [] }(3000)))`, edgefunction.FaultCrash, "stack"},
	{"deep regular expression", `new RegExp("(".repeat(1e5) + ")".repeat(1e5))`, edgefunction.FaultCrash, ""},
	{"promise that never settles", `await new Promise(() => {})`, edgefunction.FaultCrash, "the promise never settles"},
	{"no response", `return 42`, edgefunction.FaultCrash, "fetch returned 42"},
	{"giant header", `return new Response("", { headers: { x: "y".repeat(1 << 17) } })`, edgefunction.FaultAnswer, "65536 bytes"},
	{"many headers", `const h = new Headers(); for (let i = 0; i < 2e4; i++) h.append("x" + i, "y"); return new Response("", { headers: h })`, edgefunction.FaultAnswer, "65536 bytes"},
	{"gigantic header", `return new Response("", { headers: { x: "y".repeat(3 << 19) } })`, edgefunction.FaultAnswer, "65536 bytes"},
	{"giant text", `return new Response("y".repeat((1 << 20) + 1))`, edgefunction.FaultAnswer, "1048576"},
	{"giant body", `return new Response(new Uint8Array((1 << 20) + 1))`, edgefunction.FaultAnswer, "1048576"},
	{"endless stream", `return new Response(new ReadableStream({ pull(c) { c.enqueue(new Uint8Array(1 << 10)) } }))`, edgefunction.FaultCrash, "1048576 bytes"},
	{"stream that never ends", `return new Response(new ReadableStream({ pull() { return new Promise(() => {}) } }))`, edgefunction.FaultCrash, "the promise never settles"},
	{"large request", `await request.text()`, edgefunction.FaultTooLarge, "at most 1048576"},
	{"tampered prelude", `Map.prototype.get = Map.prototype.entries = String.prototype.replace = RegExp.prototype.test = String.prototype.split = () => { throw new Error("mine") }; return new Response("x", { headers: { a: "b" } })`, edgefunction.FaultCrash, "mine"},
	{"answer with a line break", `let n = 0; RegExp.prototype.test = () => n++ % 2 === 0; return new Response(null, { headers: { a: "b\r\nc: d" } })`, edgefunction.FaultAnswer, ""},
}

func hostileFunction(bad string) string {
	return "async function bad(request) {\n" +
		"  let unused;\n" +
		"  " + bad + "\n" +
		"}\n" +
		"export default { async fetch(request) { return request.url.endsWith('?bad') ? await bad(request) ?? new Response('nothing bad') : new Response('good') } }\n"
}

func small(s *edgefunction.Settings) {
	s.Memory, s.RequestBody, s.ResponseBody, s.Timeout = 12<<20, 1<<20, 1<<20, 300*time.Millisecond
}

// roomy is for what is not about time: builds that watch for races are slow.
func roomy(s *edgefunction.Settings) {
	small(s)
	s.Timeout = time.Minute
}

func TestHostileFunctionsEndAlone(t *testing.T) {
	for _, test := range hostile {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			limits := roomy
			if test.kind == edgefunction.FaultTimeout {
				limits = small
			}
			f := compile(t, hostileFunction(test.bad), limits)
			body := ""
			if test.kind == edgefunction.FaultTooLarge {
				body = strings.Repeat("z", 1<<20+1)
			}
			for range 2 {
				w, err := f.ask(http.MethodPost, "http://a.example/?bad", body)
				fault, ok := edgefunction.AsFault(err)
				if !ok || fault.Kind != test.kind || !strings.Contains(fault.Err.Error(), test.says) {
					t.Errorf("%v, %s: want a fault of kind %s that says %q", err, w.Body, test.kind, test.says)
				}
				good(t, f)
			}
		})
	}
}

// good asks the function for what it does well.
func good(t *testing.T, f *run) {
	t.Helper()
	w, err := f.ask(http.MethodGet, "http://a.example/", "")
	if err != nil || w.Body.String() != "good" {
		t.Errorf("what does no harm is not served: %v, %s", err, w.Body)
	}
}

// TestOthersAreServedMeanwhile has all that is hostile under way at once, beside
// hundreds of requests that are not.
func TestOthersAreServedMeanwhile(t *testing.T) {
	quiet := compile(t, `export default { async fetch(r) { await null; return new Response(await r.text()) } }`, roomy)
	var all sync.WaitGroup
	for _, test := range hostile {
		f := compile(t, hostileFunction(test.bad), small)
		all.Go(func() {
			_, err := f.ask(http.MethodPost, "http://a.example/?bad", strings.Repeat("z", 1<<20+1))
			if _, ok := edgefunction.AsFault(err); !ok {
				t.Errorf("%s: %v", test.name, err)
			}
		})
	}
	for n := range 500 {
		all.Go(func() {
			want := fmt.Sprint("body ", n)
			w, err := quiet.ask(http.MethodPost, "http://a.example/", want)
			if err != nil || w.Body.String() != want {
				t.Errorf("%v: %s, want %s", err, w.Body, want)
			}
		})
	}
	all.Wait()
}

// TestAClientThatGoesEndsItsRequest has the client go while the function loops.
func TestAClientThatGoesEndsItsRequest(t *testing.T) {
	f := compile(t, `export default { async fetch() { console.log("begun"); for (;;) {} } }`, func(s *edgefunction.Settings) { s.Timeout = time.Hour })
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := f.Serve(w, r, next{}); err == nil {
			t.Error("it was served")
		}
	}))
	defer server.Close() // waits for the handler
	conn := dial(t, server)
	fmt.Fprintf(conn, "GET / HTTP/1.1\r\nHost: a.example\r\n\r\n")
	f.awaitLog(t, "begun", 1)
	conn.Close()
}

func dial(t *testing.T, server *httptest.Server) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return conn
}
