package caddyapoxy

import (
	"bufio"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/apoxy-dev/caddy-apoxy/controller"
)

// openTestRuntime returns a runtime over a fresh store, not yet started.
func openTestRuntime(t testing.TB, logger *zap.Logger) *runtime {
	t.Helper()
	s := &BoltStore{Path: filepath.Join(t.TempDir(), "apoxy.db")}
	if err := s.Provision(caddy.Context{}); err != nil {
		t.Fatal(err)
	}
	rt, err := openRuntime(s, logger)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := runtimes.Delete(s.Key()); err != nil {
			t.Error(err)
		}
	})
	return rt
}

func TestWhatOutlivesAConfigurationLogsThroughThePresentOne(t *testing.T) {
	one, first := observer.New(zap.InfoLevel)
	two, second := observer.New(zap.DebugLevel)
	rt := openTestRuntime(t, zap.New(one).Named("apoxy"))
	first.TakeAll()
	log := rt.logger.Named("controller").With(zap.String("store", "x"))
	log.Info("before the start")
	log.Debug("of no interest")
	rt.apps.Push(&App{logger: zap.New(two)})
	log.Debug("after a reload")
	for _, c := range []struct {
		logs *observer.ObservedLogs
		want string
	}{{first, "before the start"}, {second, "after a reload"}} {
		all := c.logs.All()
		if len(all) != 1 || all[0].Message != c.want || all[0].LoggerName != "apoxy.controller" || all[0].ContextMap()["store"] != "x" {
			t.Errorf("logged %+v, want %q once", all, c.want)
		}
	}
}

func TestEventHandlersHoldNobodyUp(t *testing.T) {
	core, logs := observer.New(zap.ErrorLevel)
	rt := openTestRuntime(t, zap.New(core))
	done := make(chan struct{})
	go func() { // as if a handler never returned
		defer close(done)
		for i := range 2 * eventBacklog {
			rt.emit(controller.Transition{Name: fmt.Sprint(i)})
		}
	}()
	select {
	case <-done:
	case <-time.After(20 * time.Second):
		t.Fatal("a change of a record waits for event handlers")
	}
	if n := logs.Len(); n != 1 {
		t.Errorf("that events are lost was logged %d times, want once", n)
	}
	if first := <-rt.events; first.Name != "0" {
		t.Errorf("the first event is %q, want 0", first.Name)
	}
}

func TestRedirectsStayAtTheHost(t *testing.T) {
	h := &Handler{app: new(App)}
	for line, want := range map[string]string{
		"GET /a?b=c HTTP/1.1":           "https://api.example.com/a?b=c",
		"GET //evil.test/ HTTP/1.1":     "https://api.example.com//evil.test/",
		"GET http:.evil.test/ HTTP/1.1": "https://api.example.com/",
		"OPTIONS * HTTP/1.1":            "https://api.example.com/",
	} {
		r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(line + "\r\nHost: api.example.com\r\n\r\n")))
		if err != nil {
			t.Errorf("%s: %v", line, err)
		} else if got := h.httpsURL(r, "api.example.com"); got != want {
			t.Errorf("%s leads to %s, want %s", line, got, want)
		}
	}
}
