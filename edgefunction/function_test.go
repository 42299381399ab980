package edgefunction

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// script is a program whose source is one command: "say TEXT", "next", "fault KIND",
// "late" (a fault after the answer began) or "hold" (until released). A second line
// names another file of it.
type script struct {
	command, text string
	files         []string
	closed        *atomic.Int64
	held, release chan struct{}
}

func (s *script) Serve(w http.ResponseWriter, r *http.Request, next Next) error {
	switch s.command {
	case "say":
		_, err := io.WriteString(w, s.text)
		return err
	case "next":
		return next.ServeHTTP(w, r)
	case "fault":
		return Faultf(FaultKind(s.text), "seen in line 3")
	case "late":
		w.WriteHeader(http.StatusOK)
		return Faultf(FaultCrash, "after the header")
	default:
		s.held <- struct{}{}
		<-s.release
		return nil
	}
}

func (s *script) Close() error { s.closed.Add(1); return nil }

func (s *script) Files() []string { return s.files }

// bench is a function whose file the test writes.
type bench struct {
	*Function
	file          string
	closed        atomic.Int64
	held, release chan struct{}
	mu            sync.Mutex
	logged        bytes.Buffer
}

func (b *bench) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.logged.Write(p)
}

func newBench(t *testing.T, source string, check HealthCheck) *bench {
	b := &bench{file: filepath.Join(t.TempDir(), "fn.script"), held: make(chan struct{}, 9), release: make(chan struct{})}
	settings := Settings{Name: t.Name(), Log: slog.New(slog.NewTextHandler(b, nil)), Limits: Defaults}
	settings.Concurrency = 2
	compile := func(_ context.Context, file string, source []byte, _ Settings) (Program, error) {
		line, others, _ := strings.Cut(string(source), "\n")
		command, text, _ := strings.Cut(line, " ")
		files := strings.Fields(others)
		for _, other := range files {
			if data, err := os.ReadFile(other); err != nil || string(data) == "broken" {
				return nil, &SourceError{File: other, Line: 1, Message: "cannot be read"}
			}
		}
		if command == "broken" {
			return nil, &SourceError{File: file, Line: 3, Column: 7, Message: "unexpected end"}
		}
		return &script{command, text, files, &b.closed, b.held, b.release}, nil
	}
	b.write(t, source)
	b.Function = New(b.file, compile, settings, check)
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	return b
}

func (b *bench) write(t *testing.T, source string) { write(t, b.file, source) }

func write(t *testing.T, file, source string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(source), 0o600); err != nil {
		t.Fatal(err)
	}
}

// run watches until the test ends, and sends what each load came to.
func (b *bench) run(t *testing.T) <-chan error {
	loads := make(chan error, 9)
	ctx, cancel := context.WithCancel(context.Background())
	var done sync.WaitGroup
	done.Go(func() { b.Run(ctx, func(err error) { loads <- err }) })
	t.Cleanup(func() { cancel(); done.Wait() })
	return loads
}

func (b *bench) ask() (*httptest.ResponseRecorder, error) {
	w := httptest.NewRecorder()
	return w, b.Serve(w, httptest.NewRequest(http.MethodGet, "/", nil), nextSays("from next"))
}

type nextSays string

func (s nextSays) ServeHTTP(w http.ResponseWriter, _ *http.Request) error {
	_, err := io.WriteString(w, string(s))
	return err
}

func TestAFunctionServesWhatItsFileHolds(t *testing.T) {
	b := newBench(t, "say one", HealthCheck{})
	if _, err := b.ask(); !errors.Is(err, ErrNotCompiled) {
		t.Fatalf("before the file was compiled: %v", err)
	}
	if err := b.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	loads := b.run(t)
	if w, err := b.ask(); err != nil || w.Body.String() != "one" {
		t.Fatal(w.Body, err)
	}
	b.write(t, "next")
	if err := <-loads; err != nil {
		t.Fatal(err)
	}
	if w, err := b.ask(); err != nil || w.Body.String() != "from next" {
		t.Fatal(w.Body, err)
	}
	if n := b.closed.Load(); n != 1 {
		t.Errorf("%d programs were closed: want the first alone", n)
	}
}

func TestAFileThatBreaksIsServedAsItWas(t *testing.T) {
	b := newBench(t, "broken", HealthCheck{})
	var at *SourceError
	if err := b.Load(t.Context()); !errors.As(err, &at) || at.Line != 3 {
		t.Fatal(err)
	}
	if well, said := b.Health(); well || said != "its file does not compile: "+b.file+":3:7: unexpected end" {
		t.Error(well, said)
	}
	loads := b.run(t)
	b.write(t, "say good")
	if err := <-loads; err != nil {
		t.Fatal(err)
	}
	if well, said := b.Health(); !well || !strings.HasPrefix(said, "compiled from ") || strings.Contains(said, "fail") {
		t.Error(well, said)
	}
	b.write(t, "broken")
	if err := <-loads; err == nil {
		t.Fatal("it compiled")
	}
	if well, said := b.Health(); well || !strings.Contains(said, "no longer compiles: "+b.file+":3:7: unexpected end; what it held at 2") {
		t.Error(well, said)
	}
	if w, err := b.ask(); err != nil || w.Body.String() != "good" {
		t.Error(w.Body, err)
	}
	b.write(t, "say mended")
	if err := <-loads; err != nil {
		t.Fatal(err)
	}
	if well, _ := b.Health(); !well {
		t.Error("unwell after it was mended")
	}
}

func TestAFileThatVanishesIsSaidAndComesBack(t *testing.T) {
	b := newBench(t, "say one", HealthCheck{})
	if err := b.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	loads := b.run(t)
	aside := b.file + ".aside"
	if err := os.Rename(b.file, aside); err != nil {
		t.Fatal(err)
	}
	until(t, func() bool { well, said := b.Health(); return !well && strings.Contains(said, "no such file") })
	if w, err := b.ask(); err != nil || w.Body.String() != "one" {
		t.Error(w.Body, err)
	}
	if err := os.Rename(aside, b.file); err != nil {
		t.Fatal(err)
	}
	if err := <-loads; err != nil {
		t.Fatal(err)
	}
	if well, said := b.Health(); !well {
		t.Error(said)
	}
}

func TestAnImportedFileIsWatchedToo(t *testing.T) {
	other := filepath.Join(t.TempDir(), "other")
	b := newBench(t, "say one\n"+other, HealthCheck{})
	if err := b.Load(t.Context()); err == nil {
		t.Fatal("compiled without what it imports")
	}
	loads := b.run(t)
	write(t, other, "there") // nothing says that this file is waited for
	if err := <-loads; err != nil {
		t.Fatal(err)
	}
	write(t, other, "broken")
	if err := <-loads; err == nil {
		t.Fatal("it compiled")
	}
	write(t, other, "there again")
	if err := <-loads; err != nil {
		t.Fatal(err)
	}
}

func TestAChangeDropsNoRequest(t *testing.T) {
	b := newBench(t, "hold", HealthCheck{})
	if err := b.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { _, err := b.ask(); ended <- err }()
	<-b.held
	b.write(t, "say new")
	if err := b.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	if w, err := b.ask(); err != nil || w.Body.String() != "new" {
		t.Fatal(w.Body, err)
	}
	if n := b.closed.Load(); n != 0 {
		t.Fatal("a program was closed under a request")
	}
	close(b.release)
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if n := b.closed.Load(); n != 1 {
		t.Errorf("%d programs were closed, want 1", n)
	}
}

func TestNoMoreRequestsAreWithAFunctionThanMayBe(t *testing.T) {
	b := newBench(t, "hold", HealthCheck{})
	if err := b.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	var ended sync.WaitGroup
	for range 2 {
		ended.Go(func() {
			if _, err := b.ask(); err != nil {
				t.Error(err)
			}
		})
		<-b.held
	}
	_, err := b.ask()
	if fault, ok := AsFault(err); !ok || fault.Kind != FaultBusy || fault.Kind.Status() != http.StatusServiceUnavailable {
		t.Error(err)
	}
	if well, said := b.Health(); !well || !strings.Contains(said, "2 requests are with the function, as many as may be") {
		t.Error(well, said)
	}
	close(b.release)
	ended.Wait()
	if _, err := b.ask(); err != nil {
		t.Error(err)
	}
}

func TestFaultsThatGoOnAreSaidInWordsThatStay(t *testing.T) {
	b := newBench(t, "fault timeout", HealthCheck{})
	if err := b.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	said := ""
	for i := range 3 * unwell {
		_, err := b.ask()
		if fault, ok := AsFault(err); !ok || fault.Kind != FaultTimeout {
			t.Fatal(err)
		}
		well, now := b.Health()
		if well != (i+1 < unwell) {
			t.Errorf("after %d faults in a row: well is %v", i+1, well)
		}
		if said != "" && now != said {
			t.Errorf("the same state is said in other words: %s, then %s", said, now)
		}
		said = now
	}
	if !strings.Contains(said, "Z; since 2") || !strings.HasSuffix(said, "Z requests fail (timeout: seen in line 3)") {
		t.Error(said)
	}
	b.record.mu.Lock()
	b.record.last = b.record.last.Add(-streakEnds - time.Second)
	b.record.mu.Unlock()
	if well, said := b.Health(); !well || !strings.HasPrefix(said, "compiled from ") || strings.Contains(said, "fail") {
		t.Error("long after the last fault:", well, said)
	}
}

func TestAnAnswerThatHadBegunIsCutOff(t *testing.T) {
	b := newBench(t, "late", HealthCheck{})
	if err := b.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if v := recover(); v != http.ErrAbortHandler {
			t.Errorf("recovered %v", v)
		}
		if len(b.slots) != 0 {
			t.Error("the request is still with the function")
		}
	}()
	_, err := b.ask()
	t.Errorf("returned %v", err)
}

func TestHealthChecks(t *testing.T) {
	b := newBench(t, "next", HealthCheck{Path: "/healthz", Interval: 10 * time.Millisecond})
	if err := b.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	loads := b.run(t)
	until(t, func() bool {
		well, said := b.Health()
		return !well && said == "its health check on /healthz fails: the answer is 404: expected 200 to 299"
	})
	b.write(t, "say fine")
	if err := <-loads; err != nil {
		t.Fatal(err)
	}
	until(t, func() bool { well, said := b.Health(); return well && !strings.Contains(said, "fail") })
	b.write(t, "fault memory")
	if err := <-loads; err != nil {
		t.Fatal(err)
	}
	until(t, func() bool {
		_, said := b.Health()
		return strings.Contains(said, "/healthz fails: memory: seen in line 3")
	})
}

// until waits for a condition, for ten seconds at most.
func until(t *testing.T, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !is(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the condition did not come")
		}
	}
}
