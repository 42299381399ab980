package caddyapoxy

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/caddyserver/caddy/v2"
	dto "github.com/prometheus/client_model/go"
	"go.uber.org/zap"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
	"github.com/apoxy-dev/caddy-apoxy/edgefunction"
	"github.com/apoxy-dev/caddy-apoxy/hosts"
	"github.com/apoxy-dev/caddy-apoxy/target"
)

// broken does not compile, in line 2.
const broken = "export default {\n\tfetch() { return ( }\n}\n"

// says is a function that answers with a text.
func says(text string) string {
	return fmt.Sprintf("export default {\n\tfetch() { return new Response(%q) }\n}\n", text)
}

// functionWorld is a world whose site has the function shop.
type functionWorld struct {
	world
	file string
}

func newFunctionWorld(t *testing.T, source string) functionWorld {
	w := newWorld(t)
	f := functionWorld{w, filepath.Join(w.dir, "shop.js")}
	if source != "" {
		f.write(t, source)
	}
	return f
}

func (w functionWorld) write(t *testing.T, source string) {
	t.Helper()
	if err := os.WriteFile(w.file, []byte(source), 0o600); err != nil {
		t.Fatal(err)
	}
}

// config has the function with these options, and further sites.
func (w functionWorld) config(options, sites string) string {
	base, _, _ := strings.Cut(w.caddyfile(), "http:// {")
	return base + "http:// {\n\tbind 127.0.0.1\n" + w.block(options) + "}\n" + sites
}

func (w functionWorld) block(options string) string {
	return "\tapoxy {\n\t\tedgefunction shop " + w.file + " {\n\t\t\t" + strings.ReplaceAll(options, "\n", "\n\t\t\t") + "\n\t\t}\n\t}\n"
}

// verified makes shop.example.com a record of the function's.
func (functionWorld) verified(t *testing.T) {
	running(t).held.table.Set(hosts.Make(hosts.Values{Hostname: "shop.example.com", Name: "shop.example.com", Phase: v1alpha3.PhaseActive, Verified: true,
		Target: v1alpha3.TargetKey{Kind: v1alpha3.KindEdgeFunction, Name: "shop"}}))
}

func (w functionWorld) ask(t *testing.T) string {
	t.Helper()
	return get(t, w.web, "shop.example.com")
}

func functionHealth(t *testing.T) target.Health {
	t.Helper()
	h, found := running(t).targets.Health(target.Ref{Kind: v1alpha3.KindEdgeFunction, Name: "shop"})
	if !found {
		t.Fatal("the function is no target")
	}
	return h
}

// handlersWithFunctions are those in force.
func handlersWithFunctions(t *testing.T) (found []*Handler) {
	t.Helper()
	for _, server := range running(t).http.Load().Servers {
		for _, route := range server.Routes {
			for _, h := range apoxyHandlers(route.Handlers) {
				if len(h.EdgeFunctions) > 0 {
					found = append(found, h)
				}
			}
		}
	}
	if len(found) == 0 {
		t.Fatal("no site has a function")
	}
	return found
}

func requestsOf(t *testing.T, outcome string) float64 {
	t.Helper()
	var m dto.Metric
	if err := requestsTotal.WithLabelValues(v1alpha3.KindEdgeFunction, outcome).Write(&m); err != nil {
		t.Fatal(err)
	}
	return m.GetCounter().GetValue()
}

// A file that is missing or does not compile refuses no configuration: TargetReady
// says where it is wrong, and it serves from the moment on that it is mended.
func TestAFunctionIsAsHealthyAsItsFile(t *testing.T) {
	w := newFunctionWorld(t, "")
	if err := load(t, w.config("", "")); err != nil {
		t.Fatal(err)
	}
	w.verified(t)
	if h := functionHealth(t); h.Healthy || !strings.Contains(h.Message, w.file) || !strings.Contains(h.Message, "no such file") {
		t.Errorf("without its file: %+v", h)
	}
	w.write(t, broken)
	until(t, "the mistake's line", func() bool { return strings.Contains(functionHealth(t).Message, w.file+":2:") })
	served, failed := requestsOf(t, "served"), requestsOf(t, "target_error")
	r, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+w.web, nil)
	r.Host = "shop.example.com"
	res, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if h := functionHealth(t); h.Healthy || res.StatusCode != http.StatusServiceUnavailable || res.Header.Get("Retry-After") == "" {
		t.Errorf("broken: %+v, answered with %d, Retry-After %q", h, res.StatusCode, res.Header.Get("Retry-After"))
	}
	w.write(t, says("first"))
	until(t, "health", func() bool { return functionHealth(t).Healthy })
	if got := w.ask(t); got != "200 first" {
		t.Errorf("mended: %q", got)
	}
	w.write(t, broken)
	until(t, "illness", func() bool { h := functionHealth(t); return !h.Healthy && strings.Contains(h.Message, w.file+":2:") })
	if got := w.ask(t); got != "200 first" {
		t.Errorf("broken again: %q", got)
	}
	if s, f := requestsOf(t, "served")-served, requestsOf(t, "target_error")-failed; s != 2 || f != 1 {
		t.Errorf("%v requests are counted as served and %v as failed, want 2 and 1", s, f)
	}
}

// What a reload does not change it does not touch: the function is not compiled
// again, also where its file could not be.
func TestAReloadKeepsAFunctionThatItDoesNotChange(t *testing.T) {
	w := newFunctionWorld(t, says("hello"))
	if err := load(t, w.config("memory 64MiB", "")); err != nil {
		t.Fatal(err)
	}
	before := handlersWithFunctions(t)[0].EdgeFunctions["shop"].held
	w.write(t, broken)
	until(t, "illness", func() bool { return !functionHealth(t).Healthy })
	other := freePort(t)
	if err := load(t, w.config("memory 64MiB", "http://other.example.org:"+port(t, other)+" {\n\tbind 127.0.0.1\n\trespond other\n}\n")); err != nil {
		t.Fatal(err)
	}
	w.verified(t)
	if after := handlersWithFunctions(t)[0].EdgeFunctions["shop"].held; after != before {
		t.Error("a reload has made the function anew")
	}
	if got := w.ask(t); got != "200 hello" {
		t.Errorf("after the reload: %q", got)
	}
	w.write(t, says("mended"))
	until(t, "the mended function", func() bool { return w.ask(t) == "200 mended" })
}

// Reloads that change the function drop no request, and one that is under way ends
// with the program that it began with.
func TestReloadsOfAFunctionDropNoRequest(t *testing.T) {
	arrived, release := make(chan struct{}), make(chan struct{})
	origin := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		arrived <- struct{}{}
		<-release
		io.WriteString(rw, "from the origin")
	}))
	defer origin.Close()
	w := newFunctionWorld(t, "export default {\n\tasync fetch(request, env) {\n\t\tconst r = await fetch(env.ORIGIN)\n\t\treturn new Response(\"began \" + await r.text())\n\t}\n}\n")
	if err := load(t, w.config("env ORIGIN "+origin.URL+"\nfetch "+origin.URL, "")); err != nil {
		t.Fatal(err)
	}
	w.verified(t)
	answer := make(chan string, 1)
	go func() {
		r, _ := http.NewRequest(http.MethodGet, "http://"+w.web, nil)
		r.Host = "shop.example.com"
		res, err := http.DefaultTransport.RoundTrip(r)
		if err != nil {
			answer <- err.Error()
			return
		}
		defer res.Body.Close()
		body, err := io.ReadAll(res.Body)
		answer <- fmt.Sprintf("%d %s, %v", res.StatusCode, body, err)
	}()
	select {
	case <-arrived:
	case got := <-answer:
		t.Fatalf("answered %q before the origin was asked", got)
	}
	w.write(t, says("hello"))
	if err := load(t, w.config("", "")); err != nil { // neither the origin nor the grant
		t.Fatal(err)
	}
	w.verified(t)
	if got := w.ask(t); got != "200 hello" {
		t.Errorf("the new function answers %q", got)
	}
	close(release)
	if got := <-answer; got != "200 began from the origin, <nil>" {
		t.Errorf("the request that was under way is answered with %q", got)
	}

	var stop atomic.Bool
	var done, lost atomic.Int64
	var work sync.WaitGroup
	for range 3 {
		work.Go(func() {
			for !stop.Load() {
				r, _ := http.NewRequest(http.MethodGet, "http://"+w.web, nil)
				r.Host = "shop.example.com"
				res, err := http.DefaultTransport.RoundTrip(r)
				if err != nil {
					continue // a listener that a reload gives up resets what it has not accepted
				}
				body, err := io.ReadAll(res.Body)
				res.Body.Close()
				if res.StatusCode != http.StatusOK || err != nil || string(body) != "hello" {
					lost.Add(1)
				}
				done.Add(1)
			}
		})
	}
	for i := range 5 {
		if err := load(t, w.config(fmt.Sprintf("concurrency %d", 50+i), "")); err != nil {
			t.Fatal(err)
		}
		if !functionHealth(t).Healthy {
			t.Errorf("after a reload TargetReady falls: %+v", functionHealth(t))
		}
		goal := done.Load() + 50
		until(t, "requests", func() bool { return done.Load() > goal })
	}
	stop.Store(true)
	work.Wait()
	if lost.Load() > 0 {
		t.Errorf("%d of %d requests lost", lost.Load(), done.Load())
	}
}

// A connection that the servers before a reload have taken may bring its request
// after it: it is served, by the function that was.
func TestAFunctionServesLateRequests(t *testing.T) {
	w := newFunctionWorld(t, says("hello"))
	if err := load(t, w.config("", "")); err != nil {
		t.Fatal(err)
	}
	old := handlersWithFunctions(t)[0]
	if err := load(t, w.caddyfile()); err != nil { // without the function
		t.Fatal(err)
	}
	w.verified(t)
	r := httptest.NewRequest(http.MethodGet, "http://shop.example.com/", nil)
	rec := httptest.NewRecorder()
	if err := old.ServeHTTP(rec, r, nil); err != nil || rec.Code != http.StatusOK || rec.Body.String() != "hello" {
		t.Errorf("a late request: %d %q, %v", rec.Code, rec.Body, err)
	}
}

// The end of the last configuration that has a function is its end, too.
func TestAFunctionThatNoConfigurationHasIsClosed(t *testing.T) {
	w := newFunctionWorld(t, says("hello"))
	m, err := (&EdgeFunction{File: w.file}).meant("shop")
	if err != nil {
		t.Fatal(err)
	}
	f := newFunction(m, zap.NewNop(), 0)
	if well, message := f.Health(); !well {
		t.Fatal(message)
	}
	if err := f.Destruct(); err != nil {
		t.Fatal(err)
	}
	until(t, "the function's end", func() bool {
		return f.Serve(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil), nil) == edgefunction.ErrNotCompiled
	})
}

// What a function does not answer goes to the site's next handler, which knows the
// record.
func TestWhatAFunctionDoesNotAnswerGoesOn(t *testing.T) {
	backend := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		fmt.Fprintf(rw, "%s for %s of %s by %s %s", body, r.Host, r.Header.Get("X-Record"), r.Header.Get("X-Kind"), r.Header.Get("X-Target"))
	}))
	defer backend.Close()
	w := newFunctionWorld(t, "export default {\n\tfetch(request) {}\n}\n")
	next := "\treverse_proxy " + backend.URL + " {\n\t\theader_up X-Record {apoxy.record.name}\n\t\theader_up X-Kind {apoxy.target.kind}\n\t\theader_up X-Target {apoxy.target.name}\n\t}\n"
	if err := load(t, strings.Replace(w.config("", ""), w.block(""), w.block("")+next, 1)); err != nil {
		t.Fatal(err)
	}
	w.verified(t)
	r, _ := http.NewRequest(http.MethodPost, "http://"+w.web, strings.NewReader("a body"))
	r.Host = "shop.example.com"
	res, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if body, err := io.ReadAll(res.Body); string(body) != "a body for shop.example.com of shop.example.com by EdgeFunction shop" || err != nil {
		t.Errorf("answer %q, %v", body, err)
	}
}

// Sites that import one snippet share one function, and an internal one among them
// takes nothing from the others.
func TestSitesShareAFunction(t *testing.T) {
	w := newFunctionWorld(t, says("hello"))
	second := freePort(t)
	sites := "http://:" + port(t, second) + " {\n\tbind 127.0.0.1\n" + w.block("") + "}\n" +
		"http://internal.example.org {\n" + w.block("") + "}\n"
	for range 4 { // Caddy's maps have another order each time
		if err := load(t, w.config("", sites)); err != nil {
			t.Fatal(err)
		}
		w.verified(t)
		all := handlersWithFunctions(t)
		for _, h := range all {
			if h.EdgeFunctions["shop"].held != all[0].EdgeFunctions["shop"].held {
				t.Error("two sites have functions of their own")
			}
		}
		if h := functionHealth(t); len(all) != 3 || !h.Healthy {
			t.Errorf("%d sites have the function, whose health is %+v", len(all), h)
		}
		for _, address := range []string{w.web, second} {
			if got := get(t, address, "shop.example.com"); got != "200 hello" {
				t.Errorf("at %s: %q", address, got)
			}
		}
	}
}

// Secrets come from the environment and files, and go to the function alone.
func TestAFunctionsSecretsAreItsOwn(t *testing.T) {
	w := newFunctionWorld(t, "export default {\n\tfetch(request, env) { return new Response(env.KEY) }\n}\n")
	secret := filepath.Join(w.dir, "secret")
	if err := os.WriteFile(secret, []byte("from-a-file\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("FUNCTION_KEY", "from-the-environment")
	for placeholder, want := range map[string]string{
		"{env.FUNCTION_KEY}":                    "from-the-environment",
		"{file." + secret + "}":                 "from-a-file",
		`"literal {env.FUNCTION_KEY} and more"`: "literal from-the-environment and more",
	} {
		if err := load(t, w.config("env KEY "+placeholder, "")); err != nil {
			t.Fatal(err)
		}
		w.verified(t)
		if got := w.ask(t); got != "200 "+want {
			t.Errorf("%s is %q", placeholder, got)
		}
	}
	functions.Range(func(key, _ any) bool {
		if strings.Contains(key.(string), "from-") {
			t.Errorf("a key tells a secret: %s", key)
		}
		return true
	})
}

// What a function does wrong is answered with 5xx, counted by its name and said by
// TargetReady while it goes on.
func TestAFunctionsFaultsAreCountedAndSaid(t *testing.T) {
	w := newFunctionWorld(t, "export default {\n\tfetch() { throw new Error(\"out of stock\") }\n}\n")
	if err := load(t, w.config("", "")); err != nil {
		t.Fatal(err)
	}
	w.verified(t)
	if got := w.ask(t); got != "500 " {
		t.Errorf("a function that throws: %q", got)
	}
	if h := functionHealth(t); !strings.Contains(h.Message, "out of stock") {
		t.Errorf("after that: %+v", h)
	}
	ctx := caddy.ActiveContext()
	families, err := ctx.GetMetricsRegistry().Gather()
	if err != nil {
		t.Fatal(err)
	}
	var told bool
	for _, f := range families {
		for _, m := range f.GetMetric() {
			told = told || f.GetName() == "apoxy_edgefunction_faults_total" && strings.Contains(m.String(), `"shop"`) && strings.Contains(m.String(), `"crash"`) && m.GetCounter().GetValue() >= 1
		}
	}
	if !told {
		t.Error("Caddy's metrics do not tell of the fault")
	}
	w.write(t, "export default {\n\tfetch() { for (;;) {} }\n}\n")
	if err := load(t, w.config("timeout 50ms", "")); err != nil {
		t.Fatal(err)
	}
	w.verified(t)
	until(t, "the end of an endless loop", func() bool { return w.ask(t) == "504 " })
}

func TestAFunctionsHealthPathIsAsked(t *testing.T) {
	w := newFunctionWorld(t, "export default {\n\tfetch() { return new Response(\"ill\", { status: 500 }) }\n}\n")
	if err := load(t, w.config("health /healthz 10ms", "")); err != nil {
		t.Fatal(err)
	}
	until(t, "illness", func() bool {
		h := functionHealth(t)
		return !h.Healthy && strings.Contains(h.Message, "/healthz") && strings.Contains(h.Message, "500")
	})
	w.write(t, says("well"))
	until(t, "health", func() bool { return functionHealth(t).Healthy })
}

// What is configured is looked at when a configuration is loaded, JSON and
// placeholders included; one that is refused leaves no function behind.
func TestWrongFunctionsAreRefused(t *testing.T) {
	w := newFunctionWorld(t, says("hello"))
	count := func() (n int) {
		functions.Range(func(any, any) bool { n++; return true })
		return n
	}
	before := count()
	t.Setenv("FUNCTION_TEST", "wrong")
	for options, want := range map[string]string{
		"env KEY {env.NO_SUCH_VARIABLE}": "edgefunction shop: env KEY: \"{env.NO_SUCH_VARIABLE}\"",
		"env KEY {file./no/such/file}":   "env KEY: ",
		"fetch {env.FUNCTION_TEST}":      `fetch: "wrong" is no origin`,
		"mount / {env.FUNCTION_TEST}":    `"wrong": expected an absolute path`,
		"health {env.FUNCTION_TEST}":     `health: the path is "wrong"`,
	} {
		if err := load(t, w.config(options, "")); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", options, err, want)
		}
	}
	adapted, err := adapted(w.config("timeout 10s", ""))
	if err != nil {
		t.Fatal(err)
	}
	for value, want := range map[string]string{
		`"timeout":-1`:                       "timeout is -1ns: expected 1ms to 1h",
		`"memory":5`:                         "memory is 5 bytes",
		`"concurrency":-1`:                   "concurrency is -1",
		`"env":{"":"x"}`:                     "env: the name is",
		`"mounts":[{"dir":"","at":"/x"}]`:    "mount: the directory is empty",
		`"health":{"path":"/","interval":1}`: "health: the interval is 1ns",
		`"health":{}`:                        "health: the path is",
		`"file":"hello.py"`:                  `file: "hello.py": expected a name`,
		`"file":""`:                          "file: ",
	} {
		config := strings.Replace(string(adapted), `"timeout":10000000000`, value, 1)
		if err := loadJSON(t, config); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", value, err, want)
		}
	}
	none := strings.Replace(w.config("", ""), w.block(""), "\tapoxy {\n\t\tgateway default {\n\t\t\trespond x\n\t\t}\n\t}\n", 1)
	if err := load(t, none+"http://second.example.org {\n"+w.block("")+"\tapoxy {\n\t\ttunnel x {\n\t\t\ttoken \"two words\"\n\t\t}\n\t}\n}\n"); err == nil {
		t.Error("a configuration with a wrong tunnel is loaded")
	}
	if after := count(); after != before {
		t.Errorf("%d functions outlive configurations that were refused", after-before)
	}
}
