package cli

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/spf13/cobra"
)

// screen is standard output that a test can wait on.
type screen struct {
	mu   sync.Mutex
	text bytes.Buffer
	more chan struct{}
}

func newScreen() *screen { return &screen{more: make(chan struct{}, 1)} }

func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case s.more <- struct{}{}:
	default:
	}
	return s.text.Write(p)
}

func (s *screen) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

// until waits until the screen shows text.
func (s *screen) until(t *testing.T, text string) {
	t.Helper()
	timeout := time.After(10 * time.Second)
	for !strings.Contains(s.String(), text) {
		select {
		case <-s.more:
		case <-timeout:
			t.Fatalf("the screen does not show %q:\n%s", text, s)
		}
	}
}

// stage runs commands in this process against a world.
type stage struct {
	*world
	t *testing.T
}

func newStage(t *testing.T) *stage {
	t.Helper()
	w, err := newWorld(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.close)
	return &stage{w, t}
}

func (s *stage) client(*cobra.Command) (*http.Client, string, error) {
	return AddressClient(s.front.URL)
}

func (s *stage) command(out, errs *screen, stdin string, args ...string) *cobra.Command {
	cmd := Command(Env{
		Client: s.client,
		Stdin:  strings.NewReader(stdin), Stdout: out, Stderr: errs,
		Now: func() time.Time { return start },
	})
	cmd.SetArgs(args)
	return cmd
}

// run runs a command to its end.
func (s *stage) run(stdin string, args ...string) string {
	s.t.Helper()
	out := newScreen()
	errs := newScreen()
	if err := s.command(out, errs, stdin, args...).ExecuteContext(s.t.Context()); err != nil {
		s.t.Fatalf("%v: %v: %s", args, err, errs)
	}
	return out.String()
}

// begin runs a command until the function it returns is called.
func (s *stage) begin(args ...string) (out, errs *screen, end func() error) {
	ctx, cancel := context.WithCancel(s.t.Context())
	out, errs = newScreen(), newScreen()
	done := make(chan error, 1)
	go func() { done <- s.command(out, errs, "", args...).ExecuteContext(ctx) }()
	return out, errs, func() error { cancel(); return <-done }
}

func plain(hostname string) string {
	return "{apiVersion: core.apoxy.dev/v1alpha3, kind: DomainRecord, spec: {name: " + hostname + ", target: {ref: {kind: Gateway, name: default}}}}"
}

func (s *stage) phase(name, phase string) {
	s.t.Helper()
	if err := s.setStatus(name, []byte(`{"status":{"phase":"`+phase+`"}}`)); err != nil {
		s.t.Fatal(err)
	}
}

func TestWatchingATableShowsEachChangeOnce(t *testing.T) {
	s := newStage(t)
	s.run(plain("api.example.com"), "apply", "-f", "-")
	out, _, end := s.begin("get", "-w")
	out.until(t, "Pending")
	s.phase("api.example.com", "Issuing")
	out.until(t, "Issuing")
	s.front.CloseClientConnections() // what happens meanwhile is not lost
	s.phase("api.example.com", "Active")
	s.run(plain("www.example.com"), "apply", "-f", "-")
	out.until(t, "www.example.com")
	if err := end(); ExitCode(err) != ExitFailed {
		t.Errorf("interrupted, it ends with %v", err)
	}
	var got []string
	for line := range strings.Lines(out.String()) {
		f := strings.Fields(line)
		got = append(got, f[0]+" "+f[2])
	}
	want := "NAME PHASE|api.example.com Pending|api.example.com Issuing|api.example.com Active|www.example.com Pending"
	if strings.Join(got, "|") != want {
		t.Errorf("shown are %q, want %q", strings.Join(got, "|"), want)
	}
}

func TestWatchingOneRecordInYAML(t *testing.T) {
	s := newStage(t)
	s.run(plain("api.example.com"), "apply", "-f", "-")
	s.run(plain("www.example.com"), "apply", "-f", "-")
	out, _, end := s.begin("get", "api.example.com", "--watch-only", "-o", "yaml")
	if err := s.awaitWatches("1"); err != nil {
		t.Fatal(err)
	}
	s.phase("www.example.com", "Active")
	s.phase("api.example.com", "Issuing")
	s.phase("api.example.com", "Active")
	out.until(t, "phase: Active")
	_ = end()
	if got := out.String(); strings.Contains(got, "www.example.com") || strings.Contains(got, "Pending") || strings.Count(got, "---\n") != 1 {
		t.Errorf("shown is:\n%s", got)
	}
}

func TestAWatchBeginsAnewWhenItsRevisionIsForgotten(t *testing.T) {
	s := newStage(t)
	s.run(plain("api.example.com"), "apply", "-f", "-")
	c := &client{http: http.DefaultClient, base: s.front.URL, warn: newScreen()}
	began := 0
	err := c.follow(t.Context(), follower{
		patience: time.Second,
		begin: func(context.Context) (string, bool, error) {
			if began++; began == 1 {
				s.expired.Store(true)
				return "1", false, nil
			}
			s.expired.Store(false)
			return "", true, nil
		},
		each: func(change) (bool, error) { return false, nil },
	})
	if err != nil || began != 2 {
		t.Errorf("began %d times, %v", began, err)
	}
}

func TestAWatchGivesUpWhenPatienceIsOver(t *testing.T) {
	s := newStage(t)
	errs := newScreen()
	c := &client{http: http.DefaultClient, base: s.front.URL, warn: errs}
	err := c.follow(t.Context(), follower{
		patience: 50 * time.Millisecond,
		begin: func(context.Context) (string, bool, error) {
			s.front.Close()
			return "1", false, nil
		},
		each: func(change) (bool, error) { return false, nil },
	})
	if err == nil || !strings.Contains(err.Error(), "is Caddy running?") {
		t.Errorf("it ends with %v", err)
	}
	if n := strings.Count(errs.String(), "lost the connection"); n != 1 {
		t.Errorf("the loss was told %d times: %s", n, errs)
	}
}

func TestAListIsFinishedWhenItsRevisionIsForgotten(t *testing.T) {
	s := newStage(t)
	s.run(plain("a.example.com")+"\n---\n"+plain("b.example.com")+"\n---\n"+plain("c.example.com"), "apply", "-f", "-")
	for _, args := range [][]string{{"get", "--chunk-size=1"}, {"get", "--chunk-size=1", "-o", "name"}} {
		s.forget.Store(true)
		out := s.run("", args...)
		if s.forget.Load() {
			t.Fatal("nothing was forgotten")
		}
		for _, name := range []string{"a.example.com", "b.example.com", "c.example.com"} {
			if !strings.Contains(out, name) {
				t.Errorf("%v does not show %s:\n%s", args, name, out)
			}
		}
	}
}

func TestAWatchSaysWhenItEnds(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", typeJSON)
		if r.URL.Query().Has("watch") {
			w.WriteHeader(http.StatusForbidden)
			fmt.Fprint(w, `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"Forbidden","code":403,"message":"not any more"}`)
			return
		}
		fmt.Fprint(w, `{"kind":"DomainRecordList","apiVersion":"core.apoxy.dev/v1alpha3","metadata":{"resourceVersion":"1"},"items":[]}`)
	}))
	defer srv.Close()
	errs := newScreen()
	cmd := Command(Env{
		Client: func(*cobra.Command) (*http.Client, string, error) { return srv.Client(), srv.URL, nil },
		Stderr: errs, Stdout: newScreen(),
	})
	cmd.SetArgs([]string{"get", "-w", "-o", "name"})
	err := cmd.ExecuteContext(t.Context())
	if want := "error: the watch has ended and shows no more changes: not any more\n"; ExitCode(err) != ExitFailed || errs.String() != want {
		t.Errorf("it ends with %v and %q, want %q", err, errs, want)
	}
}
