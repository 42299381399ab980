package command

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/spf13/cobra"
)

// said collects what a command prints while it runs.
type said struct {
	mu  sync.Mutex
	all bytes.Buffer
}

func (s *said) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.all.Write(p)
}

func (s *said) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.all.String()
}

var errWrong = errors.New("wrong")

// ran is a command under way.
type ran struct {
	out, errs said
	stop      context.CancelFunc
	ended     chan error
	url       string
}

// start runs the command until the test ends, and waits until it listens.
func start(t *testing.T, args ...string) *ran {
	t.Helper()
	r := &ran{ended: make(chan error, 1)}
	var ctx context.Context
	ctx, r.stop = context.WithCancel(context.Background())
	cmd := New(Env{Wrong: func(*cobra.Command, error) error { return errWrong }})
	cmd.SetOut(&r.out)
	cmd.SetErr(&r.errs)
	cmd.SetArgs(append(args, "--listen", "127.0.0.1:0"))
	go func() { r.ended <- cmd.ExecuteContext(ctx) }()
	t.Cleanup(func() {
		r.stop()
		if err := <-r.ended; err != nil {
			t.Errorf("the command ends with %v", err)
		}
		if t.Failed() {
			t.Logf("standard output:\n%s\nstandard error:\n%s", &r.out, &r.errs)
		}
	})
	listens := regexp.MustCompile(`listening on (http://\S+)`)
	r.until(t, "the address", func() bool {
		m := listens.FindStringSubmatch(r.errs.String())
		if m != nil {
			r.url = m[1]
		}
		return m != nil
	})
	return r
}

func (r *ran) until(t *testing.T, what string, cond func() bool) {
	t.Helper()
	deadline, tick := time.After(20*time.Second), time.NewTicker(5*time.Millisecond)
	defer tick.Stop()
	for !cond() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("waiting for %s took more than 20 s", what)
		}
	}
}

func (r *ran) get(t *testing.T) string {
	t.Helper()
	res, err := http.Get(r.url + "/path?query")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%d %s", res.StatusCode, body)
}

func write(t *testing.T, file, source string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(source), 0o600); err != nil {
		t.Fatal(err)
	}
}

const broken = "export default {\n\tfetch() { return ( }\n}\n"

func says(text string) string {
	return fmt.Sprintf("export default {\n\tfetch() { return new Response(%q) }\n}\n", text)
}

// A save that breaks the function is told with file, line and column, and what it
// held before is served on; a save that mends it is served.
func TestASaveIsServed(t *testing.T) {
	file := filepath.Join(t.TempDir(), "hello.js")
	write(t, file, says("first"))
	r := start(t, file)
	if got := r.get(t); got != "200 first" {
		t.Errorf("at first: %q", got)
	}
	write(t, file, broken)
	place := regexp.MustCompile("(?m)^" + regexp.QuoteMeta(file) + `:2:\d+: `)
	r.until(t, "the error", func() bool {
		return place.MatchString(r.errs.String()) && strings.Contains(r.errs.String(), "served on")
	})
	if got := r.get(t); got != "200 first" {
		t.Errorf("broken: %q", got)
	}
	write(t, file, says("second"))
	r.until(t, "the mended function", func() bool { return r.get(t) == "200 second" })
	r.until(t, "word of it", func() bool { return strings.Contains(r.errs.String(), "hello.js is reloaded") })
	if requests := strings.Count(r.errs.String(), `GET "/path?query": 200, `); requests < 3 {
		t.Errorf("%d requests are told of", requests)
	}
	if r.out.String() != "" {
		t.Errorf("standard output, which is the function's: %q", &r.out)
	}
}

// A file that is broken, or missing, from the start is served once it is mended.
func TestABrokenStartIsMended(t *testing.T) {
	for what, source := range map[string]string{"broken": broken, "missing": ""} {
		t.Run(what, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "hello.mjs")
			if source != "" {
				write(t, file, source)
			}
			r := start(t, file)
			if got := r.get(t); !strings.HasPrefix(got, "503 ") || !strings.Contains(got, file) {
				t.Errorf("%q", got)
			}
			if !strings.Contains(r.errs.String(), file+": ") && !strings.Contains(r.errs.String(), file+":2:") {
				t.Errorf("says %q", &r.errs)
			}
			write(t, file, says("hello"))
			r.until(t, "the function", func() bool { return r.get(t) == "200 hello" })
		})
	}
}

// What the function prints is standard output's, what it does wrong is standard error's.
func TestWhatAFunctionPrintsIsShown(t *testing.T) {
	file := filepath.Join(t.TempDir(), "hello.js")
	write(t, file, "export default {\n\tfetch(request, env) {\n\t\tconsole.log(\"asked\")\n\t\treturn new Response(env.KEY)\n\t}\n}\n")
	r := start(t, file, "--env", "KEY=a=b")
	if got := r.get(t); got != "200 a=b" {
		t.Errorf("%q", got)
	}
	r.until(t, "the output", func() bool { return r.out.String() == "asked\n" })
	write(t, file, "export default {\n\tfetch() { throw new Error(\"out of stock\") }\n}\n")
	r.until(t, "the error", func() bool { return strings.Contains(r.get(t), "out of stock") })
	if !strings.Contains(r.errs.String(), "error: crash: ") || !strings.Contains(r.errs.String(), "out of stock") {
		t.Errorf("says %q", &r.errs)
	}
}

// The function has the limits and the grants that the flags say.
func TestFlagsAreInForce(t *testing.T) {
	origin, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "origin") })}
	go func() { _ = server.Serve(origin) }() // ends with the test
	t.Cleanup(func() { server.Close() })
	url := "http://" + origin.Addr().String()
	file := filepath.Join(t.TempDir(), "hello.js")
	write(t, file, "export default {\n\tasync fetch(request, env) {\n\t\tconst r = await fetch(env.ORIGIN)\n\t\treturn new Response(\"from the \" + await r.text())\n\t}\n}\n")
	if got := start(t, file, "--env", "ORIGIN="+url, "--fetch", url).get(t); got != "200 from the origin" {
		t.Errorf("granted: %q", got)
	}
	if got := start(t, file, "--env", "ORIGIN="+url).get(t); !strings.HasPrefix(got, "500 ") {
		t.Errorf("not granted: %q", got)
	}
	write(t, file, "export default {\n\tfetch() { for (;;) {} }\n}\n")
	if got := start(t, file, "--timeout", "50ms").get(t); !strings.HasPrefix(got, "504 ") {
		t.Errorf("without an end: %q", got)
	}
}

func TestWrongUseIsOneLineThatSaysWhatToDo(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for args, want := range map[string]string{
		"":                                       "expected one function's file",
		"a.js b.js":                              "expected one function's file",
		"a.py":                                   `file: "a.py": expected a name that ends with`,
		"a.js --nope":                            "unknown flag: --nope",
		"a.js --listen 8787":                     `--listen is "8787": expected an address and a port`,
		"a.js --timeout 0s":                      "--timeout is 0s: expected",
		"a.js --timeout 2h":                      "--timeout is 2h0m0s: expected 1ms to 1h",
		"a.js --timeout x":                       "invalid argument",
		"a.js --memory lots":                     `--memory is "lots": expected a positive size`,
		"a.js --memory 1KiB":                     "--memory is 1024 bytes: expected 64KiB to 4GiB",
		"a.js --env secretword":                  "expected KEY=VALUE",
		"a.js --env =x":                          "--env: the name is",
		"a.js --env A=x --env A=y":               "two values",
		"a.js --fetch api.example.net":           "--fetch: ",
		"a.js --mount ./public":                  "expected DIR:AT",
		"a.js --mount ./public:public":           "--mount: ",
		"a.js --listen " + taken.Addr().String(): "address already in use",
	} {
		cmd := New(Env{Wrong: func(*cobra.Command, error) error { return errWrong }})
		var said bytes.Buffer
		cmd.SetErr(&said)
		cmd.SetOut(&said)
		cmd.SetArgs(strings.Fields(args))
		err := cmd.ExecuteContext(t.Context())
		if usage := !strings.Contains(want, "already"); err == nil || errors.Is(err, errWrong) != usage {
			t.Errorf("%s: error %v", args, err)
		}
		if strings.Contains(said.String(), "secretword") {
			t.Errorf("%s: a value is printed", args)
		}
		if line := said.String(); !strings.HasPrefix(line, "error: ") || !strings.Contains(line, want) || strings.Count(line, "\n") != 1 {
			t.Errorf("%s: says %q, want %q", args, line, want)
		}
	}
}
