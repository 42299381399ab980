package certs

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// profile begins a profile of the processor time of the server that runs, written to the directory
// BENCH_PROFILE if that is set, under the name of the run. It ends after ten seconds; the
// function that it returns waits for that.
func (w *world) profile(b *testing.B, name string) (wait func()) {
	b.Helper()
	dir := os.Getenv("BENCH_PROFILE")
	if dir == "" {
		return func() {}
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		answer, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d/debug/pprof/profile?seconds=10", w.admin))
		if err != nil {
			b.Error(err)
			return
		}
		defer answer.Body.Close()
		text, err := io.ReadAll(answer.Body)
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, strings.ReplaceAll(name, "/", "-")+".pprof"), text, 0o644)
		}
		if err != nil {
			b.Error(err)
		}
	}()
	return func() { <-done }
}
