package wasm

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/apoxy-dev/caddy-apoxy/edgefunction"
)

// built are the guests that tests compile, each once.
var built sync.Map

// build compiles a Go package to WebAssembly: a command, or a library that stays.
func build(t testing.TB, dir string, library bool) []byte {
	t.Helper()
	once, _ := built.LoadOrStore(dir, sync.OnceValues(func() ([]byte, error) {
		to, err := os.MkdirTemp("", "guest")
		if err != nil {
			return nil, err
		}
		defer os.RemoveAll(to)
		file := filepath.Join(to, "guest.wasm")
		args := []string{"build", "-o", file}
		if library {
			args = append(args, "-buildmode=c-shared")
		}
		cmd := exec.Command("go", append(args, ".")...)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm", "GOFLAGS=")
		if out, err := cmd.CombinedOutput(); err != nil {
			return nil, errors.New(string(out))
		}
		return os.ReadFile(file)
	}))
	wasm, err := once.(func() ([]byte, error))()
	if err != nil {
		t.Fatal(err)
	}
	return wasm
}

// journal is a log that tests read.
type journal struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(p)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.String()
}

// function is a program under test.
type function struct {
	*program
	journal journal
}

func (f *function) String() string { return f.journal.String() }

// with returns the default settings, changed; time is short only where a test has it so,
// however busy the machine is.
func (f *function) with(change func(*edgefunction.Settings)) edgefunction.Settings {
	settings := edgefunction.Settings{Name: "fn", Limits: edgefunction.Defaults}
	settings.Log = slog.New(slog.NewTextHandler(&f.journal, nil))
	settings.Timeout = 5 * time.Minute
	if change != nil {
		change(&settings)
	}
	return settings
}

func compile(t testing.TB, wasm []byte, change func(*edgefunction.Settings)) *function {
	t.Helper()
	f := &function{}
	p, err := Compile(context.Background(), "fn.wasm", wasm, f.with(change))
	if err != nil {
		t.Fatal(err)
	}
	f.program = p.(*program)
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return f
}

// shared are programs that the tests share, as compiling a Go program takes seconds.
var shared sync.Map

// compiled is a program of its own, with a runtime that it shares.
func compiled(t testing.TB, dir string, library bool, change func(*edgefunction.Settings)) *function {
	t.Helper()
	once, _ := shared.LoadOrStore(dir, sync.OnceValue(func() *program {
		p, err := Compile(context.Background(), dir, build(t, dir, library), (&function{}).with(nil))
		if err != nil {
			t.Error(err)
			return nil
		}
		return p.(*program)
	}))
	base := once.(func() *program)()
	if base == nil {
		t.FailNow()
	}
	f := &function{}
	f.program = &program{settings: f.with(change), runtime: base.runtime, compiled: base.compiled, command: base.command}
	if err := f.configure(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		f.pool.trim(time.Now())
		wantInstances(t, f, 0)
		f.pool.close()
	})
	return f
}

func handler(t testing.TB, change func(*edgefunction.Settings)) *function {
	return compiled(t, "testdata/handler", true, change)
}

func command(t testing.TB, change func(*edgefunction.Settings)) *function {
	return compiled(t, "testdata/command", false, change)
}

// nextFunc is a next handler.
type nextFunc func(http.ResponseWriter, *http.Request) error

func (f nextFunc) ServeHTTP(w http.ResponseWriter, r *http.Request) error { return f(w, r) }

// refuse is the next of functions that are to answer themselves.
var refuse = nextFunc(func(http.ResponseWriter, *http.Request) error { return errors.New("next was called") })

func (f *function) get(path string, next nextFunc) (*httptest.ResponseRecorder, error) {
	return f.ask(httptest.NewRequest(http.MethodGet, path, nil), next)
}

func (f *function) ask(r *http.Request, next nextFunc) (*httptest.ResponseRecorder, error) {
	if next == nil {
		next = refuse
	}
	w := httptest.NewRecorder()
	return w, f.Serve(w, r, next)
}

// wantBody is what a good answer holds.
func wantBody(t *testing.T, w *httptest.ResponseRecorder, err error, want string) {
	t.Helper()
	if err != nil || w.Body.String() != want {
		t.Errorf("%q, %v: want %q", w.Body, err, want)
	}
}

// wantFault holds that err is a fault of a kind that says something, and that the
// answer is untouched.
func wantFault(t *testing.T, w *httptest.ResponseRecorder, err error, kind edgefunction.FaultKind, says string) {
	t.Helper()
	if fault, ok := edgefunction.AsFault(err); !ok || fault.Kind != kind || !strings.Contains(err.Error(), says) {
		t.Errorf("%v: want %s: %s", err, kind, says)
	}
	if w != nil && (w.Body.Len() > 0 || len(w.Header()) > 0) {
		t.Errorf("it left %q %v", w.Body, w.Header())
	}
}

func short(s *edgefunction.Settings) { s.Timeout = 100 * time.Millisecond }
