package edgefunction

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"testing"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"

	"github.com/apoxy-dev/caddy-apoxy/edgefunction"
	"github.com/apoxy-dev/caddy-apoxy/edgefunction/wasm"
)

// wasmSection is a section of a module made by hand.
func wasmSection(id byte, entries ...string) string {
	content := ""
	for _, e := range entries {
		content += e
	}
	return string(id) + string([]byte{byte(len(content) + 1), byte(len(entries))}) + content
}

// wasmHello is a trivial http-wasm function: it writes "hello" as the body. With next
// it hands the request on.
func wasmHello(next byte) []byte {
	name := func(s string) string { return string(rune(len(s))) + s }
	body := "\x41\x01\x41\x00\x41\x05\x10\x00\x42" + string(rune(next)) + "\x0b" // write_body(response, 0, 5); next
	return []byte("\x00asm\x01\x00\x00\x00" +
		wasmSection(1, "\x60\x03\x7f\x7f\x7f\x00", "\x60\x00\x01\x7e", "\x60\x02\x7f\x7f\x00") +
		wasmSection(2, name("http_handler")+name("write_body")+"\x00\x00") +
		wasmSection(3, "\x01", "\x02") + wasmSection(5, "\x00\x01") +
		wasmSection(7, name("memory")+"\x02\x00", name("handle_request")+"\x00\x01", name("handle_response")+"\x00\x02") +
		wasmSection(10, string(rune(len(body)+1))+"\x00"+body, "\x02\x00\x0b") +
		wasmSection(11, "\x00\x41\x00\x0b"+name("hello")))
}

// wasmGo compiles a package of the repository to WebAssembly.
func wasmGo(b *testing.B, dir, mode string) []byte {
	b.Helper()
	file := filepath.Join(b.TempDir(), "fn.wasm")
	cmd := exec.Command("go", "build", "-buildmode="+mode, "-ldflags=-s -w", "-o", file, ".")
	cmd.Dir = filepath.Join("../..", dir)
	cmd.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm", "GOFLAGS=")
	if out, err := cmd.CombinedOutput(); err != nil {
		b.Fatalf("%v: %s", err, out)
	}
	source, err := os.ReadFile(file)
	if err != nil {
		b.Fatal(err)
	}
	return source
}

func wasmCompile(b *testing.B, source []byte) edgefunction.Program {
	b.Helper()
	p, err := wasm.Compile(context.Background(), "fn.wasm", source, edgefunction.Settings{
		Name: "fn", Log: slog.New(slog.DiscardHandler), Limits: edgefunction.Defaults,
	})
	if err != nil {
		b.Fatal(err)
	}
	return p
}

type wasmNext func(http.ResponseWriter, *http.Request) error

func (f wasmNext) ServeHTTP(w http.ResponseWriter, r *http.Request) error { return f(w, r) }

// wasmAnswer is the native handler, which follows functions that hand on, too.
var wasmAnswer = wasmNext(func(w http.ResponseWriter, _ *http.Request) error {
	_, err := io.WriteString(w, "hello")
	return err
})

func wasmHandler(b *testing.B, source []byte) http.Handler {
	p := wasmCompile(b, source)
	b.Cleanup(func() { _ = p.Close() })
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := p.Serve(w, r, wasmAnswer); err != nil {
			b.Error(err)
		}
	})
}

// wasmBare is wazero alone: an instance from a pool, one call, no limits and no request
// that the guest could see.
func wasmBare(b *testing.B) http.Handler {
	ctx := context.Background()
	r := wazero.NewRuntime(ctx)
	b.Cleanup(func() { _ = r.Close(ctx) })
	i32 := api.ValueTypeI32
	_, err := r.NewHostModuleBuilder("http_handler").NewFunctionBuilder().
		WithGoModuleFunction(api.GoModuleFunc(func(ctx context.Context, m api.Module, stack []uint64) {
			body, _ := m.Memory().Read(uint32(stack[1]), uint32(stack[2]))
			_, _ = ctx.Value(wasmKey{}).(io.Writer).Write(body)
		}), []api.ValueType{i32, i32, i32}, nil).Export("write_body").Instantiate(ctx)
	if err != nil {
		b.Fatal(err)
	}
	compiled, err := r.CompileModule(ctx, wasmHello(0))
	if err != nil {
		b.Fatal(err)
	}
	pool := sync.Pool{New: func() any {
		m, err := r.InstantiateModule(ctx, compiled, wazero.NewModuleConfig().WithName(""))
		if err != nil {
			b.Error(err)
		}
		return m.ExportedFunction("handle_request")
	}}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f := pool.Get().(api.Function)
		defer pool.Put(f)
		if _, err := f.Call(context.WithValue(r.Context(), wasmKey{}, w)); err != nil {
			b.Error(err)
		}
	})
}

type wasmKey struct{}

// BenchmarkWebAssembly has a trivial function answer, beside a native handler, beside
// bare wazero, and beside a socket that answers without looking, which is what the
// client costs. All run in one process, on the same processors.
func BenchmarkWebAssembly(b *testing.B) {
	for _, way := range []struct {
		name    string
		handler func(*testing.B) http.Handler
	}{
		{"socket", nil},
		{"native", func(*testing.B) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _ = wasmAnswer(w, r) })
		}},
		{"bare-wazero", wasmBare},
		{"http-wasm", func(b *testing.B) http.Handler { return wasmHandler(b, wasmHello(0)) }},
		{"http-wasm-next", func(b *testing.B) http.Handler { return wasmHandler(b, wasmHello(1)) }},
		{"http-wasm-in-Go", func(b *testing.B) http.Handler {
			return wasmHandler(b, wasmGo(b, "examples/functions/header", "c-shared"))
		}},
		{"CGI-in-Go", func(b *testing.B) http.Handler {
			return wasmHandler(b, wasmGo(b, "examples/functions/hello", "default"))
		}},
	} {
		b.Run(way.name, func(b *testing.B) {
			if way.handler == nil {
				wasmAsk(b, wasmSocket(b), 64)
				return
			}
			s := httptest.NewServer(way.handler(b))
			defer s.Close()
			connections := 64
			if way.name == "CGI-in-Go" {
				connections = 4 // each request starts a program
			}
			wasmAsk(b, s.Listener.Addr().String(), connections)
		})
	}
}

// wasmSocket answers each request with the same bytes.
func wasmSocket(b *testing.B) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				buf := make([]byte, 4096)
				for {
					if _, err := c.Read(buf); err != nil {
						return
					}
					if _, err := io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"); err != nil {
						return
					}
				}
			}()
		}
	}()
	return l.Addr().String()
}

// BenchmarkWebAssemblyColdStart is from a file's bytes to the first answer.
func BenchmarkWebAssemblyColdStart(b *testing.B) {
	for name, source := range map[string][]byte{
		"http-wasm":       wasmHello(0),
		"http-wasm-in-Go": wasmGo(b, "examples/functions/header", "c-shared"),
		"CGI-in-Go":       wasmGo(b, "examples/functions/hello", "default"),
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				p := wasmCompile(b, source)
				w := httptest.NewRecorder()
				if err := p.Serve(w, httptest.NewRequest(http.MethodGet, "/", nil), wasmAnswer); err != nil {
					b.Fatal(err)
				}
				if err := p.Close(); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(len(source)), "file-B")
		})
	}
}

// BenchmarkWebAssemblyMemory is what an instance takes: so many requests are with the
// next handler at once, each with an instance of its own.
func BenchmarkWebAssemblyMemory(b *testing.B) {
	const instances = 100
	for name, source := range map[string][]byte{
		"http-wasm":       wasmHello(1),
		"http-wasm-in-Go": wasmGo(b, "examples/functions/header", "c-shared"),
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				p := wasmCompile(b, source)
				before := wasmHeap()
				var with, done sync.WaitGroup
				release := make(chan struct{})
				next := wasmNext(func(http.ResponseWriter, *http.Request) error { with.Done(); <-release; return nil })
				with.Add(instances)
				for range instances {
					done.Go(func() {
						if err := p.Serve(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil), next); err != nil {
							b.Error(err)
						}
					})
				}
				with.Wait()
				b.ReportMetric(float64(wasmHeap()-before)/instances/1024, "KiB/instance")
				close(release)
				done.Wait()
				if err := p.Close(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func wasmHeap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc + m.StackInuse
}
