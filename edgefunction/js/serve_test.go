package js

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/apoxy-dev/caddy-apoxy/edgefunction"
)

func TestAnswers(t *testing.T) {
	f := compile(t, `export default { async fetch(r) {
		switch (new URL(r.url).pathname) {
		case "/text": return new Response("ü");
		case "/bytes": return new Response(new Uint8Array([0, 255]), { status: 201, headers: [["x-a", "1"], ["x-a", "2"], ["set-cookie", "a=\xfc"]] });
		case "/empty": return new Response(null, { status: 204 });
		case "/framed": return new Response("x", { headers: { "content-length": "5", "transfer-encoding": "chunked", connection: "close" } });
		case "/echo": return new Response(await r.bytes(), { headers: { "x-got": r.headers.get("x-sent") } });
		case "/sync": return new Response(r.method);
		}
	} }`, nil)
	for _, test := range []struct {
		method, path, body string
		status             int
		want               string
		header             string
	}{
		{"GET", "/text", "", 200, "ü", "Content-Length: 2\r\nContent-Type: text/plain;charset=UTF-8\r\n"},
		{"HEAD", "/text", "", 200, "", "Content-Length: 2\r\nContent-Type: text/plain;charset=UTF-8\r\n"},
		{"GET", "/bytes", "", 201, "\x00\xff", "Content-Length: 2\r\nSet-Cookie: a=\xfc\r\nX-A: 1\r\nX-A: 2\r\n"},
		{"GET", "/empty", "", 204, "", ""},
		{"GET", "/framed", "", 200, "x", "Content-Length: 1\r\nContent-Type: text/plain;charset=UTF-8\r\n"},
		{"POST", "/echo", "\x00\xfe", 200, "\x00\xfe", "Content-Length: 2\r\nX-Got: \xfc\r\n"},
		{"PUT", "/sync", "", 200, "PUT", "Content-Length: 3\r\nContent-Type: text/plain;charset=UTF-8\r\n"},
	} {
		w := httptest.NewRecorder()
		r := httptest.NewRequest(test.method, "http://a.example"+test.path, strings.NewReader(test.body))
		r.Header.Set("X-Sent", "\xfc")
		if err := f.Serve(w, r, next{}); err != nil {
			t.Errorf("%s: %v", test.path, err)
			continue
		}
		var header strings.Builder
		if err := w.Header().Write(&header); err != nil {
			t.Fatal(err)
		}
		if w.Code != test.status || w.Body.String() != test.want || header.String() != test.header {
			t.Errorf("%s %s: %d %q %q", test.method, test.path, w.Code, w.Body, header.String())
		}
	}
}

func TestRequestsAreHandedOn(t *testing.T) {
	f := compile(t, `export default { async fetch(r, env, ctx) {
		const path = new URL(r.url).pathname;
		if (path === "/read") await r.text();
		if (path === "/user") { const h = new Headers(r.headers); h.set("x-user", "ann"); return new Request(r, { headers: h }); }
		if (path === "/elsewhere") return new Request("http://b.example/x?y", r);
		if (path === "/own") return new Request(r, { method: "PUT", body: "own" });
		if (path === "/throws") { ctx.passThroughOnException(); throw new Error("boom"); }
		if (path === "/null") return null;
	} }`, nil)
	for path, want := range map[string]string{
		"/x?y":       "next: POST a.example/x?y  body",
		"/read":      "next: POST a.example/read  body",
		"/null":      "next: POST a.example/null  body",
		"/user":      "next: POST a.example/user ann body",
		"/elsewhere": "next: POST b.example/x?y  body",
		"/own":       "next: PUT a.example/own  own",
		"/throws":    "next: POST a.example/throws  body",
	} {
		if w, err := f.ask(http.MethodPost, "http://a.example"+path, "body"); err != nil || w.Body.String() != want {
			t.Errorf("%s: %v, %q, want %q", path, err, w.Body, want)
		}
	}
	if !strings.Contains(f.log(), "Error: boom") {
		t.Error("the error that was passed through was not logged:", f.log())
	}
	failed := errors.New("next failed")
	err := f.Serve(httptest.NewRecorder(), httptest.NewRequest("GET", "/", nil), fails{failed})
	if !errors.Is(err, failed) {
		t.Errorf("what next returned is %v here", err)
	}
}

type fails struct{ error }

func (f fails) ServeHTTP(http.ResponseWriter, *http.Request) error { return f.error }

// TestWhatNextTakesDoesNotCount has next take longer than the function may.
func TestWhatNextTakesDoesNotCount(t *testing.T) {
	t.Parallel()
	f := compile(t, `export default { fetch() {} }`, func(s *edgefunction.Settings) { s.Timeout = time.Second })
	slow := handler(func(w http.ResponseWriter, r *http.Request) error {
		select {
		case <-r.Context().Done():
			return r.Context().Err()
		case <-time.After(2 * f.settings.Timeout):
			_, err := io.WriteString(w, "late")
			return err
		}
	})
	w := httptest.NewRecorder()
	if err := f.Serve(w, httptest.NewRequest("GET", "/", nil), slow); err != nil || w.Body.String() != "late" {
		t.Error(err, w.Body)
	}
}

type handler func(http.ResponseWriter, *http.Request) error

func (h handler) ServeHTTP(w http.ResponseWriter, r *http.Request) error { return h(w, r) }

// TestWaitUntilGoesOn has a function work after its answer, with the client gone.
func TestWaitUntilGoesOn(t *testing.T) {
	release := make(chan struct{})
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { <-release }))
	defer origin.Close()
	f := compile(t, `export default { fetch(r, env, ctx) {
		ctx.waitUntil(fetch(env.ORIGIN).then(() => console.log("done afterwards")));
		ctx.waitUntil(Promise.reject(new Error("on the way")));
		return new Response("at once");
	} }`, func(s *edgefunction.Settings) {
		s.Fetch, s.Env = []string{origin.URL}, map[string]string{"ORIGIN": origin.URL}
		s.Concurrency = 1 // the second one goes on in its request
	})
	ctx, gone := context.WithCancel(t.Context())
	w := httptest.NewRecorder()
	err := f.Serve(w, httptest.NewRequest("GET", "/", nil).WithContext(ctx), next{})
	if err != nil || w.Body.String() != "at once" {
		t.Fatal(err, w.Body)
	}
	gone()
	second := make(chan error, 1)
	w = httptest.NewRecorder()
	written := &notes{ResponseWriter: w, wrote: make(chan struct{}, 9)}
	go func() { second <- f.Serve(written, httptest.NewRequest("GET", "/", nil), next{}) }()
	<-written.wrote
	select {
	case err := <-second:
		t.Fatalf("more requests go on than may: %v", err)
	default:
	}
	close(release)
	if err := <-second; err != nil {
		t.Error(err)
	}
	f.awaitLog(t, "done afterwards", 2)
	if !strings.Contains(f.log(), "waitUntil: Error: on the way") {
		t.Error("the promise that was rejected is not in the log:", f.log())
	}
}

type notes struct {
	http.ResponseWriter
	wrote chan struct{}
}

func (n *notes) Write(p []byte) (int, error) {
	defer func() { n.wrote <- struct{}{} }()
	return n.ResponseWriter.Write(p)
}

func TestWaitUntilIsBounded(t *testing.T) {
	f := compile(t, `export default { fetch(r, env, ctx) {
		if (r.url.endsWith("?stuck")) ctx.waitUntil(new Promise(() => {}));
		else ctx.waitUntil((async () => { await null; setTimeout(() => { for (;;) {} }, 1); await new Promise(() => {}); })());
		return new Response("answer");
	} }`, func(s *edgefunction.Settings) { s.Timeout = 300 * time.Millisecond })
	for _, test := range []struct{ url, says string }{{"http://a.example/", "it ran longer"}, {"http://a.example/?stuck", "the promise never settles"}} {
		if w, err := f.ask("GET", test.url, ""); err != nil || w.Body.String() != "answer" {
			t.Error(err, w.Body)
		}
		f.awaitLog(t, test.says, 1)
	}
}

// TestARequestIsOfNoUseInTheNext has a function keep all that it is given.
func TestARequestIsOfNoUseInTheNext(t *testing.T) {
	f := compile(t, `let kept;
		export default { async fetch(r, env, ctx) {
			const old = kept;
			kept = { r, ctx, timer: setTimeout(() => console.log(old ? "timer of the second" : "timer of the first"), 5) };
			if (!old) return new Response("first");
			const said = [];
			for (const f of [() => old.r.clone().text(), () => old.r.text(), () => old.r.body.getReader().read(), () => old.ctx.waitUntil(null)]) {
				try { said.push(String(await f())); } catch (e) { said.push(e.message); }
			}
			await new Promise((done) => setTimeout(done, 10));
			return new Response(said.join("|") + await r.text());
		} }`, nil)
	if w, err := f.ask("POST", "http://a.example/", "secret"); err != nil || w.Body.String() != "first" {
		t.Fatal(err, w.Body)
	}
	over := "the body: its request is over"
	want := strings.Join([]string{over, over, over, "ctx.waitUntil: its request is over"}, "|") + "mine"
	if w, err := f.ask("POST", "http://a.example/", "mine"); err != nil || w.Body.String() != want {
		t.Errorf("%v %s", err, w.Body)
	}
	if strings.Contains(f.log(), "timer of the first") || !strings.Contains(f.log(), "timer of the second") {
		t.Error("not the second request's timer alone ran in it:", f.log())
	}
}

// TestInstancesDifferInWhatIsRandom starts several from one snapshot.
func TestInstancesDifferInWhatIsRandom(t *testing.T) {
	f := compile(t, `const early = Math.random(); export default { fetch() { return new Response(early + " " + Math.random() + crypto.randomUUID()) } }`, nil)
	seen := map[string]bool{}
	for range 5 {
		w, err := f.ask("GET", "http://a.example/", "")
		if err != nil {
			t.Fatal(err)
		}
		_, random, _ := strings.Cut(w.Body.String(), " ")
		if seen[random] {
			t.Error("two instances drew the same:", random)
		}
		seen[random] = true
		f.forget()
	}
}

// forget throws away the idle instances.
func (r *run) forget() {
	r.program.mu.Lock()
	defer r.program.mu.Unlock()
	for _, i := range r.idle {
		i.close()
	}
	r.idle = nil
}

func TestInstancesAreUsedAgainUntilTheyGrow(t *testing.T) {
	f := compile(t, `let n = 0, big; export default { fetch(r) {
		if (r.url.endsWith("?throw")) throw new Error("x");
		if (r.url.endsWith("?grow")) big = new Uint8Array(8 << 20);
		return new Response(String(++n));
	} }`, nil)
	for _, test := range []struct{ url, want string }{{"/", "1"}, {"/", "2"}, {"/?throw", ""}, {"/", "1"}, {"/?grow", "2"}, {"/", "1"}} {
		w, err := f.ask("GET", "http://a.example"+test.url, "")
		if w.Body.String() != test.want || (err != nil) != (test.want == "") {
			t.Errorf("%s: %v %s, want %s", test.url, err, w.Body, test.want)
		}
	}
	if n := len(f.idle); n != 1 {
		t.Errorf("%d instances are idle, want 1", n)
	}
	f.program.mu.Lock()
	for n := range f.idle {
		f.idle[n].since = time.Now().Add(-idleFor)
	}
	f.program.mu.Unlock()
	f.trimIdle()
	if n := len(f.idle); n != 0 {
		t.Errorf("%d instances are idle after their time, want none", n)
	}
}

func TestPrinting(t *testing.T) {
	f := compile(t, `console.log("loaded");
		class Point { constructor() { this.x = 1; } }
		export default { fetch(r) {
			if (r.url.endsWith("?much")) { for (let i = 0; i < 1000; i++) console.log("x".repeat(100)); return new Response("x"); }
			console.log("text", 1, null, undefined, { a: [1, "b"], f() {} }, new Map([["k", 1]]), new Point(), 1n, Symbol("s"));
			const o = {}; o.o = o; console.warn(o, "%s is %d%%", "x");
			console.error(new TypeError("bad"));
			console.debug("%s is %d%%", "x", 5, "more");
			return new Response("x");
		} }`, func(s *edgefunction.Settings) { s.Limits.Log = 2000 })
	if _, err := f.ask("GET", "http://a.example/", ""); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`level=INFO msg="the function says" text=loaded`,
		`level=INFO msg="the function says" text="text 1 null undefined { a: [ 1, \"b\" ], f: [Function: f] } Map { \"k\" => 1 } Point { x: 1 } 1n Symbol(s)"`,
		`level=WARN msg="the function says" text="{ o: [Circular] } %s is %d%% x"`,
		`level=ERROR msg="the function says" text="TypeError: bad\n    at fetch (`,
		`level=DEBUG msg="the function says" text="x is 5% more"`,
	} {
		if !strings.Contains(f.log(), want) {
			t.Errorf("%s\nis not in the log:\n%s", want, f.log())
		}
	}
	before := len(f.log())
	if _, err := f.ask("GET", "http://a.example/?much", ""); err != nil {
		t.Fatal(err)
	}
	much := f.log()[before:]
	if n := strings.Count(much, "x"); n < 1500 || n > 3000 || strings.Count(much, "is dropped") != 1 {
		t.Errorf("of what passes the limit %d bytes were logged: %s", n, much[len(much)-300:])
	}
}

func TestBodiesOfClientsThatStall(t *testing.T) {
	f := compile(t, `export default { async fetch(r) { return new Response(await r.text()) } }`, func(s *edgefunction.Settings) { s.Timeout = 300 * time.Millisecond })
	ended := make(chan error, 1)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { ended <- f.Serve(w, r, next{}) }))
	defer server.Close()
	conn := dial(t, server)
	defer conn.Close()
	fmt.Fprintf(conn, "POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 10\r\n\r\nhalf")
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil || resp.StatusCode != http.StatusRequestTimeout || !resp.Close {
		t.Errorf("%v %v: want 408 and the connection closed", resp, err)
	}
	if err := <-ended; err != nil {
		t.Errorf("the client is slow, and the function is blamed: %v", err)
	}
}

// TestAClientMayTakeItsTime has a client send its body for longer than the function
// may run.
func TestAClientMayTakeItsTime(t *testing.T) {
	t.Parallel()
	f := compile(t, `export default { async fetch(r) { console.log("reads"); return new Response(await r.text()) } }`, func(s *edgefunction.Settings) { s.Timeout = 3 * time.Second })
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := f.Serve(w, r, next{}); err != nil {
			t.Error(err)
		}
	}))
	defer server.Close()
	conn := dial(t, server)
	defer conn.Close()
	part := strings.Repeat("x", 64<<10)
	fmt.Fprintf(conn, "POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: %d\r\n\r\n", 4*len(part))
	for range 4 { // each is good for four seconds more
		if _, err := io.WriteString(conn, part); err != nil {
			t.Fatal(err)
		}
		time.Sleep(f.settings.Timeout / 3)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatal(resp, err)
	}
	if body, err := io.ReadAll(resp.Body); err != nil || len(body) != 4*len(part) {
		t.Error(len(body), err)
	}
}

// TestWhatClientsSendIsNoFault has clients send what a function that does nothing
// unusual must not fail of: its health would be theirs to decide.
func TestWhatClientsSendIsNoFault(t *testing.T) {
	f := compile(t, `export default { async fetch(r) {
		const url = new URL(r.url);
		new URL("/login", r.url).searchParams.get("x");
		if (url.pathname.startsWith("/on")) return new Request(r, { headers: new Headers(r.headers) });
		url.pathname = "/x";
		return new Response(url.search.length + new Request(url).url.length + [...url.searchParams].length);
	} }`, func(s *edgefunction.Settings) { s.Timeout = time.Minute })
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := f.Serve(w, r, next{}); err != nil {
			t.Errorf("%.60q: %v", r.RequestURI, err)
		}
	}))
	defer server.Close()
	long := strings.Repeat
	for _, test := range []struct{ target, head, status string }{
		{"/" + long("/", 900<<10), "Host: a.example", "200"},
		{"/" + long("%", 1) + "25" + long("|", 1000), "Host: a.example", "200"},
		{"/?" + long("a=%C3%28&", 50<<10), "Host: a.example", "200"},
		{"/on" + long("/..", 100<<10), "Host: a.example\r\nX: " + long("x", 200<<10), "200"},
		{"/", "Host: ", "400"},
		{"/", "Host: 1.2.3.4.5", "400"},
		{"/", "Host: a:99999", "400"},
		{"/", "Host: xn--a", "400"},
		{"/", "Host: [::1", "400"},
		{"/", "Host: " + long("a.", 1000) + "example", "400"},
		{"/", "Host: A.EXAMPLE:8080", "200"},
		{"http://b.example/x", "Host: b.example", "200"},
	} {
		conn := dial(t, server)
		fmt.Fprintf(conn, "GET %s HTTP/1.1\r\n%s\r\n\r\n", test.target, test.head)
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil || !strings.HasPrefix(resp.Status, test.status) {
			t.Errorf("%.60q %.60q: %v, want %s", test.target, test.head, resp, test.status)
		}
		conn.Close()
	}
}

// TestServingLeaksNothing holds the memory of one instance against what it was after
// the first requests.
func TestServingLeaksNothing(t *testing.T) {
	f := compile(t, `export default { async fetch(r, env, ctx) {
		ctx.waitUntil(null);
		await new Promise((done) => setTimeout(done, 0));
		return new Response(await r.text() + new URL(r.url).pathname + r.headers.get("x"), { headers: { a: "b" } });
	} }`, roomy)
	size := 0
	for n := range 2000 {
		if w, err := f.ask("POST", "http://a.example/"+strings.Repeat("x", 9<<10), strings.Repeat("y", 20<<10)); err != nil || w.Code != 200 {
			t.Fatal(err)
		}
		now := f.memoryOfOne()
		if n <= 500 {
			size = max(size, now)
		} else if now > size {
			t.Fatalf("after %d requests the instance has %d bytes, after 500 it had %d", n, now, size)
		}
	}
	if size == 0 {
		t.Error("there never was one instance alone")
	}
}

// memoryOfOne is the memory of the instance that is idle; 0: there is not one alone.
func (r *run) memoryOfOne() int {
	r.program.mu.Lock()
	defer r.program.mu.Unlock()
	if len(r.idle) != 1 {
		return 0 // it has to finish what waitUntil was given
	}
	return len(r.idle[0].memory.bytes)
}

func TestManyAtOnce(t *testing.T) {
	f := compile(t, `export default { async fetch(r) {
		const text = await r.text();
		await new Promise((done) => setTimeout(done, Math.random() * 20));
		return new Response(text + " " + new URL(r.url).searchParams.get("n"));
	} }`, roomy)
	var all sync.WaitGroup
	for n := range 600 {
		all.Go(func() {
			w, err := f.ask("POST", fmt.Sprintf("http://a.example/?n=%d", n), fmt.Sprint("body ", n))
			if want := fmt.Sprintf("body %d %d", n, n); err != nil || w.Body.String() != want {
				t.Errorf("%v %s, want %s", err, w.Body, want)
			}
		})
	}
	all.Wait()
}
