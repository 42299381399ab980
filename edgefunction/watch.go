package edgefunction

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/apoxy-dev/caddy-apoxy/internal/filewatch"
)

// retry is after how many seconds a file that did not compile is compiled again,
// although it did not change: what it needs may have, a file that it imports.
const retry = 5

// HealthCheck asks a function from time to time whether it is well.
type HealthCheck struct {
	// Path is what is asked for with GET; an answer of 200 to 299 is well. Empty:
	// a function is well once it is compiled.
	Path string
	// Interval is the time between two checks.
	Interval time.Duration
}

// Sources is implemented by programs that are made of more than one file.
type Sources interface {
	// Files are the other files, as paths.
	Files() []string
}

// Run watches the file, and what else the program was made of, and checks the
// function's health, until the context ends. The caller has called Load before.
// Loaded is told what became of each load after a change, but for one that fails as
// the one before did; without loaded, the log is.
func (f *Function) Run(ctx context.Context, loaded func(error)) {
	var both sync.WaitGroup
	if f.check.Path != "" {
		both.Go(func() { f.checks(ctx) })
	}
	both.Go(func() { f.watch(ctx, loaded) })
	both.Wait()
}

// watch loads the file anew when it changes.
func (f *Function) watch(ctx context.Context, loaded func(error)) {
	look := func() (string, error) { return f.look(time.Now().Add(time.Hour)) }
	filewatch.Run(ctx, f.state, look, func(err error) {
		f.log.Error("the function's file cannot be seen; what it held is served on", slog.Any("error", err))
		f.record.compiled(err)
		f.failed = err.Error()
	}, func(now string) string {
		before := f.failed
		err := f.Load(ctx)
		switch {
		case err == nil:
			now = f.state
		case ctx.Err() != nil, f.failed == before:
			return now
		}
		switch {
		case loaded != nil:
			loaded(err)
		case err == nil:
			f.log.Info("function reloaded", slog.String("file", f.file))
		default:
			f.log.Error("the function's file was changed and does not compile; what it held before is served on", slog.String("error", says(err)))
		}
		return now
	})
}

// look tells one state of all the files from another. One that was written after
// read, when they were, is in a state that no later look returns.
func (f *Function) look(read time.Time) (string, error) {
	first, err := filewatch.Look(f.file)
	if err != nil {
		return "", err
	}
	state := fmt.Sprint(first) + f.lookAtOthers(read)
	if f.failed != "" {
		state += fmt.Sprint(time.Now().Unix() / retry)
	}
	return state, nil
}

func (f *Function) lookAtOthers(read time.Time) string {
	var all strings.Builder
	for _, file := range f.others() {
		s, err := filewatch.Look(file) // one that is missing is in a state, too
		fmt.Fprint(&all, s, err)
		if s.After(read) {
			all.WriteString(" and written since")
		}
	}
	return all.String()
}

func (f *Function) others() []string {
	v := f.enter()
	if v == nil {
		return nil
	}
	defer v.leave()
	if s, ok := v.program.(Sources); ok {
		return s.Files()
	}
	return nil
}

// checks asks the function until the context ends.
func (f *Function) checks(ctx context.Context) {
	ticker := time.NewTicker(f.check.Interval)
	defer ticker.Stop()
	for {
		f.checkOnce(ctx)
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

func (f *Function) checkOnce(ctx context.Context) {
	v := f.enter()
	if v == nil {
		return
	}
	defer v.leave()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://localhost"+f.check.Path, http.NoBody)
	if err != nil {
		f.record.checked(err)
		return
	}
	r.RemoteAddr, r.RequestURI = "127.0.0.1:0", f.check.Path
	w := &checked{header: http.Header{}}
	err = v.program.Serve(w, r, w)
	if err == nil && (w.status < 200 || w.status > 299) {
		err = fmt.Errorf("the answer is %d: expected 200 to 299", w.status)
	}
	if ctx.Err() == nil {
		f.record.checked(err)
	}
}

// checked notes the status of the answer to a health check. As the next handler it
// answers 404: the function has to answer itself.
type checked struct {
	header http.Header
	status int
}

// Header implements http.ResponseWriter.
func (c *checked) Header() http.Header { return c.header }

// Write implements http.ResponseWriter.
func (c *checked) Write(p []byte) (int, error) {
	c.WriteHeader(http.StatusOK)
	return len(p), nil
}

// WriteHeader implements http.ResponseWriter.
func (c *checked) WriteHeader(status int) {
	if c.status == 0 && status >= 200 {
		c.status = status
	}
}

// ServeHTTP implements Next.
func (c *checked) ServeHTTP(w http.ResponseWriter, _ *http.Request) error {
	w.WriteHeader(http.StatusNotFound)
	return nil
}
