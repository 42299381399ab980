package edgefunction

import (
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"runtime"
	"testing"
	"time"

	"github.com/grafana/sobek"

	"github.com/apoxy-dev/caddy-apoxy/edgefunction"
	"github.com/apoxy-dev/caddy-apoxy/edgefunction/js"
)

// jsBoundTime is when each engine is told to end what runs.
const jsBoundTime = 200 * time.Millisecond

// jsBounded are what a function may do that goes on: in a loop of its own, and within
// one built-in function.
var jsBounded = []struct{ name, source string }{
	{"loop", `for (;;) {}`},
	{"regexp", `/^(?:(a+)+)\1b$/.test("a".repeat(25))`},
	{"sort", `"x,".repeat(1e6).split(",").sort()`},
	{"memory", `"x".repeat(2e7).split("")`},
}

// BenchmarkJavaScriptBounds shows what made the choice of the engine: how long after its
// time each engine goes on, and how much memory it has taken by then, with a bound of 32
// MiB where there is one. Sobek is goja's kept fork, and alike in both.
func BenchmarkJavaScriptBounds(b *testing.B) {
	for _, c := range jsBounded {
		b.Run(c.name+"/function", func(b *testing.B) {
			settings := edgefunction.Settings{Name: "bench", Log: slog.New(slog.NewTextHandler(io.Discard, nil)), Limits: edgefunction.Defaults}
			settings.Timeout, settings.Memory = jsBoundTime, 32<<20
			p, err := js.Compile(b.Context(), "fn.js", []byte(`export default { fetch() { `+c.source+`; return new Response("done") } }`), settings)
			if err != nil {
				b.Fatal(err)
			}
			defer p.Close()
			jsOverrun(b, func() {
				_ = p.Serve(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil), nil) // a fault, as it should be
			})
		})
		b.Run(c.name+"/sobek", func(b *testing.B) {
			program := sobek.MustCompile("fn.js", `(function () { `+c.source+` })()`, false)
			jsOverrun(b, func() {
				vm := sobek.New()
				timer := time.AfterFunc(jsBoundTime, func() { vm.Interrupt("over") })
				defer timer.Stop()
				_, _ = vm.RunProgram(program) // it is interrupted, or done
			})
		})
	}
}

// jsOverrun reports how long a run goes on after its time, and the largest heap that is
// seen meanwhile above what was there.
func jsOverrun(b *testing.B, run func()) {
	var over, heap float64
	for b.Loop() {
		before, most := jsHeap(), uint64(0)
		done, watched := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(watched)
			tick := time.NewTicker(5 * time.Millisecond)
			defer tick.Stop()
			for {
				var now runtime.MemStats
				runtime.ReadMemStats(&now)
				most = max(most, now.HeapAlloc)
				select {
				case <-done:
					return
				case <-tick.C:
				}
			}
		}()
		began := time.Now()
		run()
		over = max(over, float64((time.Since(began) - jsBoundTime).Milliseconds()))
		close(done)
		<-watched
		heap = max(heap, (float64(most)-float64(before))/(1<<20))
	}
	b.ReportMetric(over, "ms-over")
	b.ReportMetric(heap, "MiB")
}
