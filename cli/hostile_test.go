package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/spf13/cobra"
)

const (
	aRecord   = `{"kind":"DomainRecord","apiVersion":"core.apoxy.dev/v1alpha3","metadata":{"name":"a.example.com","resourceVersion":"5"},"spec":{"name":"a.example.com"}}`
	emptyList = `{"kind":"DomainRecordList","apiVersion":"core.apoxy.dev/v1alpha3","metadata":{"resourceVersion":"5"},"items":[]}`
	notThere  = `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"NotFound","code":404,"message":"\"a.example.com\" not found"}`
)

// asked is what a command printed and how it ended.
type asked struct {
	code        int
	out, errOut string
}

// askServer runs a command against a server that is made up.
func askServer(t *testing.T, ctx context.Context, h http.HandlerFunc, args ...string) asked {
	t.Helper()
	srv := httptest.NewServer(h)
	defer srv.Close()
	defer srv.CloseClientConnections()
	return askEnv(ctx, Env{
		Client: func(*cobra.Command) (*http.Client, string, error) { return srv.Client(), srv.URL + "/", nil },
		Stdin:  strings.NewReader(`{"apiVersion":"core.apoxy.dev/v1alpha3","kind":"DomainRecord","spec":{"name":"a.example.com","target":{"ref":{"kind":"Proxy","name":"p"}}}}`),
	}, args...)
}

func askEnv(ctx context.Context, env Env, args ...string) asked {
	out, errs := newScreen(), newScreen()
	if env.Stdout == nil {
		env.Stdout = out
	}
	env.Stderr = errs
	cmd := Command(env)
	cmd.SetArgs(args)
	err := cmd.ExecuteContext(ctx)
	return asked{ExitCode(err), out.String(), errs.String()}
}

// answer answers every request with a status and a body.
func answer(code int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(code)
		fmt.Fprint(w, body)
	}
}

// cut announces more than it sends.
func cut(body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "100000")
		fmt.Fprint(w, body)
	}
}

// commands is every command that reads an answer, each in the ways that differ.
var commands = [][]string{
	{"get"}, {"get", "-o", "yaml"}, {"get", "a.example.com"}, {"get", "a.example.com", "-o", "json"},
	{"get", "-w"}, {"get", "a.example.com", "--watch-only", "-o", "name"},
	{"describe", "a.example.com"}, {"describe", "-l", "a=b"}, {"check", "a.example.com"}, {"check", "a.example.com", "-o", "yaml"},
	{"revoke", "a.example.com"}, {"certificate", "a.example.com", "--remove"}, {"apply", "-f", "-"}, {"diff", "-f", "-"}, {"edit", "a.example.com"},
	{"label", "a.example.com", "a=b"}, {"annotate", "--all", "a=b"}, {"wait", "a.example.com", "--for=delete"}, {"wait", "--all", "--for=create"},
	{"delete", "-l", "a=b"},
}

// Whatever answers in the API's place, every command fails with one line that names
// the endpoint, and prints nothing as if it were done.
func TestNoCommandTakesAnotherAnswerForTheAPIs(t *testing.T) {
	for name, h := range map[string]http.HandlerFunc{
		"a web page":         answer(200, "<html>\x1b[31mwelcome</html>"),
		"nothing":            answer(200, ""),
		"another kind":       answer(200, `{"kind":"Pod","apiVersion":"v1","metadata":{"name":"a.example.com"}}`),
		"a list of another":  answer(200, `{"kind":"PodList","apiVersion":"v1","metadata":{},"items":[]}`),
		"JSON without kind":  answer(200, `{}`),
		"an array":           answer(200, `[]`),
		"a number":           answer(200, `7`),
		"an answer cut":      cut(`{"kind":"DomainRecord",`),
		"an error cut":       answer(500, `{"kind":"Sta`),
		"a huge error":       answer(500, strings.Repeat("x", 2*maxErrorBody)),
		"JSON of huge depth": answer(200, strings.Repeat(`{"a":`, 20000)),
		"a redirect to itself": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, r.URL.String(), http.StatusFound)
		},
	} {
		for _, args := range commands {
			t.Run(name+" to "+strings.Join(args, " "), func(t *testing.T) {
				t.Parallel()
				got := askServer(t, t.Context(), h, args...)
				want := ExitFailed
				if args[0] == "diff" {
					want = 2
				}
				if got.code != want || strings.Count(got.errOut, "error: ") != 1 || len(got.errOut) > 700 || !strings.HasSuffix(got.errOut, "\n") {
					t.Errorf("exit status %d, %.900q", got.code, got.errOut)
				}
				if strings.ContainsRune(got.errOut+got.out, '\x1b') {
					t.Errorf("a control character is printed: %q, %q", got.out, got.errOut)
				}
				for _, done := range []string{"created", "configured", "deleted", "edited", "labeled", "annotated", "revoked", "certificate removed", "condition met", "kind:", "Name:"} {
					if strings.Contains(got.out, done) {
						t.Errorf("it says %q: %q", done, got.out)
					}
				}
			})
		}
	}
}

// A command ends with its context, whatever the server does meanwhile.
func TestEveryCommandEndsWithItsContext(t *testing.T) {
	for _, args := range commands {
		t.Run(strings.Join(args, " "), func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			got := askServer(t, ctx, func(_ http.ResponseWriter, r *http.Request) {
				_, _ = io.Copy(io.Discard, r.Body) // else the server does not see the client go
				cancel()
				<-r.Context().Done()
			}, args...)
			if got.code == ExitDone || !strings.Contains(got.errOut, "interrupted") && !strings.Contains(got.errOut, "canceled") {
				t.Errorf("%+v", got)
			}
		})
	}
}

// A record that cannot be looked for by its hostname is not told to be missing.
func TestAFailedSearchByHostnameIsNotAMissingRecord(t *testing.T) {
	h := func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/"+collection+"/a.example.com" || strings.HasPrefix(r.URL.Path, "/"+collection+"/a.example.com/") {
			answer(404, notThere)(w, r)
			return
		}
		answer(503, `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"ServiceUnavailable","code":503,"message":"the store is away"}`)(w, r)
	}
	for _, args := range [][]string{
		{"get", "a.example.com"}, {"get", "a.example.com", "--ignore-not-found"}, {"describe", "a.example.com"}, {"check", "a.example.com"}, {"revoke", "a.example.com"},
		{"delete", "a.example.com", "--ignore-not-found"}, {"label", "a.example.com", "a=b"}, {"edit", "a.example.com"}, {"apply", "-f", "-"}, {"wait", "a.example.com", "--for=delete"},
	} {
		got := askServer(t, t.Context(), func(w http.ResponseWriter, r *http.Request) {
			r.URL.Path = "/" + strings.TrimLeft(r.URL.Path, "/")
			r.URL.Path = strings.Replace(r.URL.Path, collection, "/"+collection, 1)
			h(w, r)
		}, args...)
		if got.code != ExitFailed || !strings.Contains(got.errOut, "the store is away") || strings.Contains(got.errOut, "not found") {
			t.Errorf("%q: %+v", args, got)
		}
	}
}

// A list whose pages lead to themselves ends.
func TestAListThatGoesRoundEnds(t *testing.T) {
	for _, args := range [][]string{{"get", "-o", "yaml"}, {"delete", "--all"}, {"describe", "-l", "a=b"}} {
		var n atomic.Int64
		got := askServer(t, t.Context(), func(w http.ResponseWriter, r *http.Request) {
			n.Add(1)
			fmt.Fprint(w, strings.Replace(emptyList, `"5"`, `"5","continue":"again"`, 1))
		}, args...)
		if got.code != ExitFailed || !strings.Contains(got.errOut, "this one again") || n.Load() != 2 {
			t.Errorf("%q: %+v after %d requests", args, got, n.Load())
		}
	}
}

// A server that ends every watch at once is asked again, but not without a pause.
func TestWatchesThatEndAtOnceAreNotAskedForWithoutAPause(t *testing.T) {
	for name, body := range map[string]string{"nothing": "", "a web page": "<html>"} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			var n atomic.Int64
			begun := time.Now()
			var took time.Duration
			askServer(t, ctx, func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Query().Get("watch") == "" {
					fmt.Fprint(w, emptyList)
					return
				}
				if n.Add(1) == 4 {
					took = time.Since(begun)
					cancel()
				}
				fmt.Fprint(w, body)
			}, "get", "-w", "-o", "name")
			if took < firstPause+2*firstPause+4*firstPause {
				t.Errorf("four watches within %v", took)
			}
		})
	}
}

func TestAWatchEndsWithAnEventThatIsTooLarge(t *testing.T) {
	const event = `{"type":"ADDED","object":` + aRecord + `}`
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, event, event, event, `{"type":"ADDED","object":{"a":"`, strings.Repeat("x", 2<<20))
	}))
	defer srv.Close()
	c := &client{http: srv.Client(), base: srv.URL, warn: io.Discard, mostEvent: 1 << 20}
	seen := 0
	err := c.follow(t.Context(), follower{
		patience: time.Hour,
		begin:    func(context.Context) (string, bool, error) { return "5", false, nil },
		each:     func(change) (bool, error) { seen++; return false, nil },
	})
	if !errors.Is(err, errEvent) || seen != 3 {
		t.Errorf("after %d events: %v", seen, err)
	}
}

// full takes nothing.
type full struct{}

func (full) Write([]byte) (int, error) { return 0, errors.New("the disk is full") }

func TestWhatCannotBePrintedIsAFailure(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.Contains(r.Header.Get("Accept"), "as=Table"):
			fmt.Fprint(w, `{"kind":"Table","apiVersion":"meta.k8s.io/v1","columnDefinitions":[{"name":"Name","type":"string"}],"rows":[{"cells":["a"]}]}`)
		case strings.HasSuffix(r.URL.Path, collection):
			fmt.Fprint(w, strings.Replace(emptyList, "[]", "["+aRecord+"]", 1))
		default:
			fmt.Fprint(w, aRecord)
		}
	}))
	defer srv.Close()
	for _, args := range [][]string{
		{"get"}, {"get", "-o", "yaml"}, {"get", "a.example.com", "-o", "json"}, {"get", "-o", "custom-columns=A:.spec.name"}, {"describe", "a.example.com"},
		{"check", "a.example.com"}, {"check", "a.example.com", "-o", "json"}, {"revoke", "a.example.com"},
	} {
		got := askEnv(t.Context(), Env{Stdout: full{}, Client: func(*cobra.Command) (*http.Client, string, error) { return srv.Client(), srv.URL, nil }}, args...)
		if got.code != ExitFailed || !strings.Contains(got.errOut, "the disk is full") {
			t.Errorf("%q: %+v", args, got)
		}
	}
}

func TestWhatReachingTheEndpointFailsOf(t *testing.T) {
	secure := httptest.NewTLSServer(http.NotFoundHandler())
	defer secure.Close()
	secure.Config.ErrorLog = nil
	plain := httptest.NewServer(http.NotFoundHandler())
	defer plain.Close()
	dir := t.TempDir()
	for name, c := range map[string]struct{ address, says string }{
		"HTTP to HTTPS":        {"http" + strings.TrimPrefix(secure.URL, "https"), "it speaks HTTPS: give --address https://HOST:PORT"},
		"HTTPS to HTTP":        {"https" + strings.TrimPrefix(plain.URL, "http"), "it speaks no HTTPS: write http:// in the address."},
		"an untrusted HTTPS":   {secure.URL, "--address names another endpoint"},
		"a name that is none":  {"nobody.invalid:2019", `the name "nobody.invalid" does not resolve.`},
		"a directory, no sock": {"unix/" + dir, "--address names another endpoint"},
	} {
		t.Run(name, func(t *testing.T) {
			got := askEnv(t.Context(), Env{Client: func(*cobra.Command) (*http.Client, string, error) { return AddressClient(c.address) }}, "get")
			if got.code != ExitFailed || !strings.Contains(got.errOut, c.says) || strings.Count(got.errOut, "\n") != 1 {
				t.Errorf("%+v, want %q", got, c.says)
			}
		})
	}
	if err := unreachable("unix/x", os.NewSyscallError("connect", os.ErrPermission)); err == nil || !strings.Contains(err.Error(), "unix/x") {
		t.Error(err)
	}
}
