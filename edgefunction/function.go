package edgefunction

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"sync/atomic"
	"time"

	"github.com/apoxy-dev/caddy-apoxy/internal/filewatch"
)

const (
	// maxFile bounds the size of a function's file, in bytes.
	maxFile = 64 << 20
	// compileTime bounds how long one file may take to compile.
	compileTime = time.Minute
	// busyWait is how long a request waits for its turn with a function that has
	// as many as it may.
	busyWait = time.Second
)

// ErrNotCompiled is the error of a request to a function whose file never compiled.
var ErrNotCompiled = errors.New("the function's file does not compile")

// Function serves requests by the program that its file holds. It is safe for
// concurrent use.
type Function struct {
	file     string
	compile  Compiler
	settings Settings
	log      *slog.Logger
	check    HealthCheck

	slots   chan struct{}
	program atomic.Pointer[version] // nil before the file compiled once, and at the end
	record  record

	// Load's and Run's alone:
	state  string // what look returned of the files in force
	failed string // what the last Load said was wrong
}

// New returns the function of a file, which Load then reads.
func New(file string, compile Compiler, settings Settings, check HealthCheck) *Function {
	return &Function{
		file: file, compile: compile, settings: settings, log: settings.Log, check: check,
		slots: make(chan struct{}, settings.Concurrency), record: record{name: settings.Name},
	}
}

// Load reads and compiles the file. With an error, which names file, line and column
// where they are known, the function serves on as before. Load is not called
// concurrently with itself.
func (f *Function) Load(ctx context.Context) error {
	began := time.Now()
	stamp, _ := filewatch.Look(f.file) // before it is read: what is written meanwhile is a change
	program, err := f.read(ctx)
	f.record.compiled(err)
	f.failed = ""
	if err != nil {
		f.failed = err.Error()
		return err
	}
	if old := f.program.Swap(newVersion(program, f.log)); old != nil {
		old.leave()
	}
	f.state = fmt.Sprint(stamp) + f.lookAtOthers(began)
	return nil
}

func (f *Function) read(ctx context.Context) (Program, error) {
	source, err := readFile(f.file)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, compileTime)
	defer cancel()
	return f.compile(ctx, f.file, source, f.settings)
}

func readFile(path string) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	if info.Size() > maxFile || !info.Mode().IsRegular() {
		return nil, &SourceError{File: path, Message: fmt.Sprintf("expected a regular file of at most %d MiB", maxFile>>20)}
	}
	return io.ReadAll(io.LimitReader(file, maxFile))
}

// Close ends the function. Requests that are with it are served to their end.
func (f *Function) Close() error {
	if v := f.program.Swap(nil); v != nil {
		v.leave()
	}
	return nil
}

// Serve has the function answer the request, or next where the function hands it on.
// It returns a *Fault for what the function did wrong, ErrNotCompiled, or what next
// returned. A fault after the response has begun aborts it with
// http.ErrAbortHandler, so that the client does not take it for whole.
func (f *Function) Serve(w http.ResponseWriter, r *http.Request, next Next) error {
	v := f.enter()
	if v == nil {
		return ErrNotCompiled
	}
	defer v.leave()
	if busy := f.turn(r.Context()); busy != nil {
		f.record.fault(busy)
		return busy
	}
	defer func() { <-f.slots }()
	answer := &answer{ResponseWriter: w}
	err := v.program.Serve(answer, r, next)
	fault, ok := AsFault(err)
	if !ok {
		f.record.served()
		return err
	}
	if r.Context().Err() != nil {
		return err // the client is gone: whatever failed then is not the function's fault
	}
	f.record.fault(fault)
	if answer.begun {
		f.log.Error("a request's answer was cut off", slog.Any("error", err))
		panic(http.ErrAbortHandler)
	}
	return err
}

// enter returns the program in force, which the caller leaves; nil if there is none.
func (f *Function) enter() *version {
	for {
		v := f.program.Load()
		if v == nil || v.enter() {
			return v
		}
	}
}

// turn waits until the request may be with the function.
func (f *Function) turn(ctx context.Context) *Fault {
	select {
	case f.slots <- struct{}{}:
		return nil
	default:
	}
	timer := time.NewTimer(busyWait)
	defer timer.Stop()
	select {
	case f.slots <- struct{}{}:
		return nil
	case <-ctx.Done():
	case <-timer.C:
	}
	return Faultf(FaultBusy, "%d requests are with the function, as many as may be, and none ended in %s", f.settings.Concurrency, busyWait)
}

// version is one compiled state of the file, which is closed when it is no longer in
// force and the last request has left it.
type version struct {
	program Program
	log     *slog.Logger
	users   atomic.Int64 // being in force counts as one
}

func newVersion(p Program, log *slog.Logger) *version {
	v := &version{program: p, log: log}
	v.users.Store(1)
	return v
}

// enter reports whether the version may still be used.
func (v *version) enter() bool {
	for {
		n := v.users.Load()
		if n == 0 {
			return false
		}
		if v.users.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

func (v *version) leave() {
	if v.users.Add(-1) > 0 {
		return
	}
	if err := v.program.Close(); err != nil {
		v.log.Error("closing a function's program", slog.Any("error", err))
	}
}

// answer knows whether the response has begun.
type answer struct {
	http.ResponseWriter
	begun bool
}

// WriteHeader passes the status on.
func (a *answer) WriteHeader(status int) {
	a.begun = a.begun || status >= 200 || status == http.StatusSwitchingProtocols
	a.ResponseWriter.WriteHeader(status)
}

// Write passes a part of the body on.
func (a *answer) Write(p []byte) (int, error) {
	a.begun = true
	return a.ResponseWriter.Write(p)
}

// ReadFrom lets what follows the function send files as it would without it.
func (a *answer) ReadFrom(r io.Reader) (int64, error) {
	a.begun = true
	return io.Copy(a.ResponseWriter, r)
}

// Unwrap is for http.ResponseController.
func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }
