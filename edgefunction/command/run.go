package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/apoxy-dev/caddy-apoxy/edgefunction"
)

const (
	// headerTime bounds how long a client may take to send a request's header.
	headerTime = 10 * time.Second
	// endTime bounds how long the end waits for requests that are under way.
	endTime = 5 * time.Second
)

// run serves a file on an address until the context ends.
func run(ctx context.Context, address, file string, compile edgefunction.Compiler, settings edgefunction.Settings, out, errs io.Writer) error {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return fmt.Errorf("--listen: %w", err)
	}
	said := &lines{w: errs}
	prints := slog.New(&console{to: &lines{w: out}})
	settings.Log = slog.New(&console{to: said})
	s := &server{file: file, said: said}
	s.Function = edgefunction.New(file, func(ctx context.Context, file string, source []byte, settings edgefunction.Settings) (edgefunction.Program, error) {
		settings.Log = prints // what the function prints is apart from what is said of it
		return compile(ctx, file, source, settings)
	}, settings, edgefunction.HealthCheck{})
	defer s.Close()
	s.loaded(s.Load(ctx))
	said.printf("listening on http://%s", listener.Addr())
	return s.serve(ctx, listener)
}

// serve serves, and reloads on every save, until the context ends.
func (s *server) serve(ctx context.Context, listener net.Listener) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	server := &http.Server{Handler: s, ReadHeaderTimeout: headerTime, ErrorLog: slog.NewLogLogger(&console{to: s.said}, slog.LevelError)}
	failed := make(chan error, 1)
	var work sync.WaitGroup
	work.Go(func() { s.Run(ctx, s.loaded) })
	work.Go(func() { failed <- server.Serve(listener); stop() })
	<-ctx.Done()
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), endTime)
	defer cancel()
	if server.Shutdown(grace) != nil {
		server.Close()
	}
	work.Wait()
	if err := <-failed; !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// server serves the function of a file, and tells how that goes.
type server struct {
	*edgefunction.Function
	file     string
	said     *lines
	compiled bool // once; Run's and, before that, run's alone
}

// loaded tells what became of a load.
func (s *server) loaded(err error) {
	switch {
	case err == nil && s.compiled:
		s.said.printf("%s is reloaded", s.file)
	case err == nil:
		s.compiled = true
		s.said.printf("%s is compiled", s.file)
	case s.compiled:
		s.said.printf("%v\n%s does not compile: what it held before is served on", err, s.file)
	default:
		s.said.printf("%v\n%s does not compile: requests get 503 until it does", err, s.file)
	}
}

// ServeHTTP implements http.Handler: the function's answer, or in plain text what was
// wrong, and a line about the request.
func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	began, a := time.Now(), &answer{ResponseWriter: w}
	defer func() { // also where a panic ends the connection
		s.said.printf("%s %.200q: %s, %s", r.Method, r.URL.RequestURI(), a.said(), time.Since(began).Round(10*time.Microsecond))
	}()
	err := s.Serve(a, r, nobody{})
	if err == nil {
		return
	}
	status, text := http.StatusInternalServerError, err.Error()
	if fault, ok := edgefunction.AsFault(err); ok {
		status = fault.Kind.Status()
	}
	if errors.Is(err, edgefunction.ErrNotCompiled) {
		status = http.StatusServiceUnavailable
		_, text = s.Health()
		w.Header().Set("Retry-After", "1")
	} else {
		s.said.printf("error: %s", text)
	}
	http.Error(a, text, status)
}

// nobody is what follows the function here.
type nobody struct{}

// ServeHTTP implements edgefunction.Next.
func (nobody) ServeHTTP(w http.ResponseWriter, _ *http.Request) error {
	http.Error(w, "the function does not answer this request: in Caddy the site's next handler would", http.StatusNotFound)
	return nil
}

// answer notes the status of a response.
type answer struct {
	http.ResponseWriter
	status int
}

// WriteHeader implements http.ResponseWriter.
func (a *answer) WriteHeader(status int) {
	if a.status < 200 {
		a.status = status
	}
	a.ResponseWriter.WriteHeader(status)
}

// Write implements http.ResponseWriter.
func (a *answer) Write(p []byte) (int, error) {
	if a.status < 200 {
		a.status = http.StatusOK
	}
	return a.ResponseWriter.Write(p)
}

// Unwrap is for http.ResponseController.
func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

func (a *answer) said() string {
	if a.status < 200 {
		return "no answer"
	}
	return fmt.Sprint(a.status)
}
