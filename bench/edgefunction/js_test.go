package edgefunction

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"

	"github.com/apoxy-dev/caddy-apoxy/edgefunction"
	"github.com/apoxy-dev/caddy-apoxy/edgefunction/js"
)

const jsHello = `export default { async fetch(request) { return new Response("hello") } }`

// BenchmarkJavaScript has a trivial function answer, beside a native handler and beside
// bare QuickJS, which does nothing but return a string.
func BenchmarkJavaScript(b *testing.B) {
	p := jsCompile(b, jsHello)
	for _, way := range []struct {
		name    string
		handler http.Handler
	}{
		{"native", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { jsWrite(w, "hello") })},
		{"bare", jsBare(b)},
		{"function", jsHandler(b, p)},
	} {
		b.Run(way.name, func(b *testing.B) {
			server := httptest.NewServer(way.handler)
			defer server.Close()
			jsAsk(b, server.Listener.Addr().String(), 32)
		})
	}
}

// BenchmarkJavaScriptColdStart has a function throw, so that no instance is used
// again: each request begins with a new one.
func BenchmarkJavaScriptColdStart(b *testing.B) {
	p := jsCompile(b, `export default { fetch() { throw 1 } }`)
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	var took []time.Duration
	for b.Loop() {
		began := time.Now()
		if _, ok := edgefunction.AsFault(p.Serve(httptest.NewRecorder(), r, nil)); !ok {
			b.Fatal("the function did not throw")
		}
		took = append(took, time.Since(began))
	}
	jsQuantiles(b, took)
}

// BenchmarkJavaScriptCompile compiles a function: what a change of its file takes.
func BenchmarkJavaScriptCompile(b *testing.B) {
	jsCompile(b, jsHello) // the engine, once a process
	for b.Loop() {
		jsCompile(b, jsHello)
	}
}

// BenchmarkJavaScriptMemory has 100 instances wait at once.
func BenchmarkJavaScriptMemory(b *testing.B) {
	const instances = 100
	p := jsCompile(b, `export default { async fetch() { console.log("waits"); await new Promise((done) => setTimeout(done, 3.6e6)); } }`)
	for b.Loop() {
		before := jsHeap()
		ctx, release := context.WithCancel(context.Background())
		var all sync.WaitGroup
		for range instances {
			all.Go(func() {
				r := httptest.NewRequestWithContext(ctx, http.MethodGet, "/", nil)
				if err := p.Serve(httptest.NewRecorder(), r, jsNext{}); ctx.Err() == nil {
					b.Error(err)
				}
			})
		}
		for range instances {
			<-jsPrinted
		}
		b.ReportMetric(float64(jsHeap()-before)/instances/(1<<20), "MiB/instance")
		release()
		all.Wait()
	}
}

// jsPrinted has a value for each line that a function prints.
var jsPrinted = make(chan struct{}, 1000)

type jsPrinter struct{}

func (jsPrinter) Write(p []byte) (int, error) {
	select {
	case jsPrinted <- struct{}{}:
	default:
	}
	return len(p), nil
}

func jsHeap() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc + m.StackInuse)
}

type jsNext struct{}

func (jsNext) ServeHTTP(w http.ResponseWriter, _ *http.Request) error {
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func jsCompile(b *testing.B, source string) edgefunction.Program {
	settings := edgefunction.Settings{Name: "bench", Log: slog.New(slog.NewTextHandler(jsPrinter{}, nil)), Limits: edgefunction.Defaults}
	settings.Timeout = time.Hour // the machine may be busy
	p, err := js.Compile(context.Background(), "bench.js", []byte(source), settings)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = p.Close() })
	return p
}

func jsHandler(b *testing.B, p edgefunction.Program) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := p.Serve(w, r, jsNext{}); err != nil {
			b.Error(err)
		}
	})
}

func jsWrite(w http.ResponseWriter, text string) {
	w.Header().Set("Content-Type", "text/plain;charset=UTF-8")
	_, _ = io.WriteString(w, text)
}

// jsBare is QuickJS on wazero with nothing of ours around it: no limits, no Web APIs.
func jsBare(b *testing.B) http.Handler {
	ctx := context.Background()
	binary, err := os.ReadFile("../../edgefunction/js/quickjs/quickjs.wasm")
	if err != nil {
		b.Fatal(err)
	}
	runtime := wazero.NewRuntime(ctx)
	b.Cleanup(func() { _ = runtime.Close(ctx) })
	module, err := runtime.CompileModule(ctx, binary)
	if err != nil {
		b.Fatal(err)
	}
	builders := map[string]wazero.HostModuleBuilder{}
	for _, f := range module.ImportedFunctions() {
		name, function, _ := f.Import()
		if builders[name] == nil {
			builders[name] = runtime.NewHostModuleBuilder(name)
		}
		results := len(f.ResultTypes())
		builders[name].NewFunctionBuilder().WithGoFunction(api.GoFunc(func(_ context.Context, stack []uint64) {
			if results > 0 {
				stack[0] = 0
			}
		}), f.ParamTypes(), f.ResultTypes()).Export(function)
	}
	for _, builder := range builders {
		if _, err := builder.Instantiate(ctx); err != nil {
			b.Fatal(err)
		}
	}
	idle := make(chan *jsBareInstance, 100)
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		var i *jsBareInstance
		select {
		case i = <-idle:
		default:
			i = newJSBareInstance(ctx, runtime, module)
		}
		jsWrite(w, i.hello())
		idle <- i
	})
}

// jsBareInstance is one QuickJS with a function that returns a string.
type jsBareInstance struct {
	module   api.Module
	called   map[string]api.Function
	function uint64
	size     uint64
}

func newJSBareInstance(ctx context.Context, runtime wazero.Runtime, module wazero.CompiledModule) *jsBareInstance {
	m, err := runtime.InstantiateModule(ctx, module, wazero.NewModuleConfig().WithName("").WithStartFunctions("_initialize"))
	if err != nil {
		panic(err)
	}
	i := &jsBareInstance{module: m, called: map[string]api.Function{}}
	i.call("qjs_init")
	source := "(function () { return 'hello' })\x00bare.js\x00"
	at := i.call("wasm_malloc", uint64(len(source)))
	m.Memory().WriteString(uint32(at), source)
	end := uint64(len(source) - len("bare.js\x00") - 1)
	i.function = i.call("qjs_eval", at, end, at+end+1, 0)
	i.size = i.call("wasm_malloc", 4)
	return i
}

func (i *jsBareInstance) call(name string, args ...uint64) uint64 {
	f := i.called[name]
	if f == nil {
		f = i.module.ExportedFunction(name)
		i.called[name] = f
	}
	results, err := f.Call(context.Background(), args...)
	if err != nil {
		panic(err)
	}
	if len(results) == 0 {
		return 0
	}
	return results[0]
}

func (i *jsBareInstance) hello() string {
	this := i.call("qjs_get_undefined")
	result := i.call("qjs_call", i.function, this, 0, 0)
	p := i.call("qjs_get_string_len", result, i.size)
	n, _ := i.module.Memory().ReadUint32Le(uint32(i.size))
	data, _ := i.module.Memory().Read(uint32(p), n)
	text := string(data)
	i.call("qjs_free_cstring", p)
	i.call("qjs_free_value", result)
	i.call("qjs_free_value", this)
	return text
}
