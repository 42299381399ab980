package js

import (
	"bytes"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/apoxy-dev/caddy-apoxy/edgefunction"
)

// run is a function under test, with what it printed.
type run struct {
	*program
	mu     sync.Mutex
	logged bytes.Buffer
	more   chan struct{} // has a token after each write
}

func (r *run) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	select {
	case r.more <- struct{}{}:
	default: // there is one
	}
	return r.logged.Write(p)
}

// awaitLog waits until the log holds a text so many times.
func (r *run) awaitLog(t *testing.T, text string, times int) {
	t.Helper()
	late := time.After(time.Minute)
	for strings.Count(r.log(), text) < times {
		select {
		case <-r.more:
		case <-late:
			t.Fatalf("the log does not hold %q: %s", text, r.log())
		}
	}
}

func (r *run) log() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.logged.String()
}

func settings(w io.Writer) edgefunction.Settings {
	return edgefunction.Settings{
		Name: "test", Env: map[string]string{"TOKEN": "s3cret"}, Limits: edgefunction.Defaults,
		Log: slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
}

// compile compiles a function and closes it with the test.
func compile(t *testing.T, source string, change func(*edgefunction.Settings)) *run {
	t.Helper()
	file := filepath.Join(t.TempDir(), "fn.ts")
	if err := os.WriteFile(file, []byte(source), 0o600); err != nil {
		t.Fatal(err)
	}
	return compileFile(t, file, change)
}

func compileFile(t *testing.T, file string, change func(*edgefunction.Settings)) *run {
	t.Helper()
	source, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	r := &run{more: make(chan struct{}, 1)}
	s := settings(r)
	if change != nil {
		change(&s)
	}
	p, err := Compile(t.Context(), file, source, s)
	if err != nil {
		t.Fatal(err)
	}
	r.program = p.(*program)
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

// next answers what the function hands on, and says what it was given.
type next struct{}

func (next) ServeHTTP(w http.ResponseWriter, r *http.Request) error {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return err
	}
	_, err = io.WriteString(w, "next: "+r.Method+" "+r.Host+r.URL.RequestURI()+" "+r.Header.Get("X-User")+" "+string(body))
	return err
}

func (r *run) ask(method, url, body string) (*httptest.ResponseRecorder, error) {
	w := httptest.NewRecorder()
	return w, r.Serve(w, httptest.NewRequest(method, url, strings.NewReader(body)), next{})
}

func TestHello(t *testing.T) {
	f := compile(t, `export default { async fetch(request: Request, env) { return new Response("hello " + request.method + " " + new URL(request.url).pathname + env.TOKEN) } }`, nil)
	for range 3 {
		w, err := f.ask("GET", "http://a.example/x?y=1", "")
		if err != nil || w.Body.String() != "hello GET /xs3cret" {
			t.Fatal(w.Body, err)
		}
	}
}
