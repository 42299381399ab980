package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/spf13/cobra"
	"sigs.k8s.io/yaml"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
	"github.com/apoxy-dev/caddy-apoxy/apiserver"
	"github.com/apoxy-dev/caddy-apoxy/store/boltstore"
)

const zone = "cname.example.net"

// start is the time that servers and commands of a script believe it is.
var start = time.Date(2026, 2, 1, 12, 0, 0, 0, time.UTC)

// TestMain also is the command itself, for scripts to run as a process.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"domainrecord": func() { os.Exit(execute(Command, os.Args[1:])) },
		"brake":        func() { os.Exit(execute(BrakeCommand, os.Args[1:])) },
		"cluster":      func() { os.Exit(execute(ClusterCommand, os.Args[1:])) },
		"webhook":      func() { os.Exit(execute(WebhookCommand, os.Args[1:])) },
	})
}

func execute(command func(Env) *cobra.Command, args []string) int {
	address := ""
	cmd := command(Env{
		Flags: func(cmd *cobra.Command) {
			cmd.PersistentFlags().StringVar(&address, "address", os.Getenv("ADDRESS"), "the admin endpoint")
		},
		Client: func(*cobra.Command) (*http.Client, string, error) { return AddressClient(address) },
		Now:    func() time.Time { return start.Add(time.Hour) },
	})
	cmd.SetArgs(args)
	return ExitCode(cmd.Execute())
}

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:           "testdata",
		UpdateScripts: os.Getenv("UPDATE_SCRIPTS") != "",
		Setup: func(env *testscript.Env) error {
			w, err := newWorld(env.WorkDir)
			if err != nil {
				return err
			}
			env.Values["world"] = w
			env.Setenv("ADDRESS", strings.TrimPrefix(w.front.URL, "http://"))
			env.Setenv("TMPDIR", env.WorkDir)
			env.Defer(w.close)
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"status":   scriptStatus,
			"rewrite":  scriptRewrite,
			"kubectl":  scriptKubectl,
			"exitcode": scriptExitCode,
			"cutwatch": func(ts *testscript.TestScript, _ bool, _ []string) {
				ts.Value("world").(*world).front.CloseClientConnections()
			},
			"forbidssa": func(ts *testscript.TestScript, _ bool, _ []string) { ts.Value("world").(*world).noSSA.Store(true) },
			"awaiting":  scriptAwaiting,
			"hold":      func(ts *testscript.TestScript, _ bool, _ []string) { ts.Value("world").(*world).brake.Store(true) },
			"stranger":  scriptStranger,
			"noapp":     func(ts *testscript.TestScript, _ bool, _ []string) { ts.Value("world").(*world).noApp.Store(true) },
		},
	})
}

// certificates takes every certificate whose text says that it is one.
type certificates struct{}

func (certificates) Upload(_ context.Context, _ *v1alpha3.DomainRecord, c apiserver.Certificate) error {
	switch text := string(c.Chain); {
	case strings.Contains(text, "home made") && !c.Untrusted:
		return &apiserver.InvalidCertificate{Field: "certificate", Seen: "its root is home made", Expect: "expected a public one"}
	case !strings.Contains(text, "KEY of it"):
		return &apiserver.InvalidCertificate{Field: "key", Expect: "expected a private key in PEM"}
	}
	return nil
}

func (certificates) Remove(_ context.Context, r *v1alpha3.DomainRecord, _ bool) error {
	if strings.HasPrefix(r.Spec.Name, "without.") {
		return apiserver.ErrNoUpload
	}
	return nil
}

// world is the real API over a real store.
type world struct {
	api     *apiserver.Server
	store   *boltstore.Store
	front   *httptest.Server
	noSSA   atomic.Bool
	expired atomic.Bool
	forget  atomic.Bool
	brake   atomic.Bool // it holds
	noApp   atomic.Bool
	watches atomic.Int64
}

func newWorld(dir string) (*world, error) {
	st, err := boltstore.Open(filepath.Join(dir, ".apoxy.db"), boltstore.Options{})
	if err != nil {
		return nil, err
	}
	w := &world{store: st}
	w.api, err = apiserver.New(apiserver.Config{
		Store: st,
		Zone:  func() string { return zone },
		Now:   func() time.Time { return start },
		Prepare: func(r, _ *v1alpha3.DomainRecord) {
			r.Status.Type, r.Status.Phase = v1alpha3.StatusTypeRef, v1alpha3.PhasePending
			r.Status.DNSRecords = v1alpha3.ExpectedDNSRecords(r, zone, "")
		},
		Check: func(_ context.Context, name string) error {
			return w.setStatus(name, []byte(`{"status":{"phase":"Issuing"}}`))
		},
		Certificates: certificates{},
		SetupLink: func(_ context.Context, r *v1alpha3.DomainRecord, until time.Time) (string, error) {
			if strings.HasPrefix(r.Spec.Name, "without.") {
				return "", fmt.Errorf("no site shows set-up pages: %w", apiserver.ErrUnavailable)
			}
			return "https://setup.example.net/" + r.Name + "/" + until.Format(time.RFC3339), nil
		},
		Revoke: func(_ context.Context, hostname, _ string) error {
			if strings.HasPrefix(hostname, "without.") {
				return apiserver.ErrNoCertificate
			}
			return nil
		},
	})
	if err != nil {
		return nil, err
	}
	w.front = httptest.NewServer(w)
	return w, nil
}

func (w *world) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	if strings.HasPrefix(r.URL.Path, WebhooksPath) {
		w.serveWebhooks(rw, r)
		return
	}
	if strings.HasPrefix(r.URL.Path, ClusterPath) {
		w.serveCluster(rw, r)
		return
	}
	if r.URL.Path == BrakeReleasePath {
		w.releaseBrake(rw, r)
		return
	}
	if strings.HasPrefix(r.Header.Get("Content-Type"), "application/apply-patch+") && w.noSSA.Load() {
		rw.Header().Set("Content-Type", typeJSON)
		rw.WriteHeader(http.StatusUnsupportedMediaType)
		fmt.Fprint(rw, `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"UnsupportedMediaType","code":415,"message":"no server-side apply here"}`)
		return
	}
	if token := r.URL.Query().Get("continue"); token != "" && w.forget.CompareAndSwap(true, false) {
		rw.Header().Set("Content-Type", typeJSON)
		rw.WriteHeader(http.StatusGone)
		// The token that is offered differs, as that of a server does.
		fmt.Fprintf(rw, `{"kind":"Status","apiVersion":"v1","metadata":{"continue":%q},"status":"Failure","reason":"Expired","code":410}`, "again."+token)
		return
	} else if was, ok := strings.CutPrefix(token, "again."); ok {
		q := r.URL.Query()
		q.Set("continue", was)
		r.URL.RawQuery = q.Encode()
	}
	if r.URL.Query().Get("watch") == "true" {
		if w.expired.Load() {
			rw.Header().Set("Content-Type", typeJSON)
			fmt.Fprintln(rw, `{"type":"ERROR","object":{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"Expired","code":410}}`)
			return
		}
		w.watches.Add(1)
	}
	w.api.ServeHTTP(rw, r)
}

func (w *world) close() {
	w.api.Close()
	w.front.CloseClientConnections()
	w.front.Close()
	w.store.Close()
}

func (w *world) setStatus(name string, patch []byte) error {
	return w.send(http.MethodPatch, collection+"/"+name+"/status", typeMergePatch, patch)
}

func (w *world) send(method, path, contentType string, body []byte) error {
	req, err := http.NewRequest(method, w.front.URL+path, strings.NewReader(string(body)))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", contentType)
	req.Header.Set("User-Agent", "controller")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode >= 300 {
		var s struct{ Message string }
		_ = json.NewDecoder(resp.Body).Decode(&s)
		return fmt.Errorf("%s %s: %s %s", method, path, resp.Status, s.Message)
	}
	return nil
}

// scriptStatus writes a record's status, as the controller does: status NAME FILE.
func scriptStatus(ts *testscript.TestScript, _ bool, args []string) {
	patch(ts, args[0]+"/status", args[1])
}

// scriptRewrite changes a record as another client does: rewrite NAME FILE.
func scriptRewrite(ts *testscript.TestScript, _ bool, args []string) { patch(ts, args[0], args[1]) }

func patch(ts *testscript.TestScript, path, file string) {
	raw, err := yaml.YAMLToJSON([]byte(ts.ReadFile(file)))
	ts.Check(err)
	ts.Check(ts.Value("world").(*world).send(http.MethodPatch, collection+"/"+path, typeMergePatch, raw))
}

// scriptKubectl deletes a record as another client does: kubectl NAME.
func scriptKubectl(ts *testscript.TestScript, _ bool, args []string) {
	ts.Check(ts.Value("world").(*world).send(http.MethodDelete, collection+"/"+args[0], typeJSON, nil))
}

// releaseBrake answers as the admin endpoint does.
func (w *world) releaseBrake(rw http.ResponseWriter, r *http.Request) {
	rw.Header().Set("Content-Type", typeJSON)
	switch {
	case r.Method != http.MethodPost:
		rw.WriteHeader(http.StatusMethodNotAllowed)
	case w.noApp.Load():
		rw.WriteHeader(http.StatusServiceUnavailable)
		fmt.Fprint(rw, `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"ServiceUnavailable","code":503,"message":"the running configuration has no apoxy app"}`)
	default:
		b := BrakeRelease{Released: w.brake.Swap(false)}
		if b.Released {
			b.Since, b.Gone, b.Due = start, 14, 12
		}
		_ = json.NewEncoder(rw).Encode(b)
	}
}

// serveWebhooks answers as the admin endpoint does.
func (w *world) serveWebhooks(rw http.ResponseWriter, r *http.Request) {
	rw.Header().Set("Content-Type", typeJSON)
	q := r.URL.Query()
	switch {
	case w.noApp.Load() || strings.Contains(q.Get("url"), "unknown"):
		rw.WriteHeader(http.StatusNotFound)
		fmt.Fprint(rw, `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"NotFound","code":404,"message":"the configuration has no such webhook"}`)
	case r.URL.Path == WebhooksPath && r.Method == http.MethodGet:
		_ = json.NewEncoder(rw).Encode(WebhookList{[]WebhookStatus{
			{URL: "https://app.example.net/hooks", Waiting: 3, GivenUp: 1, LastSuccess: start.Add(-time.Hour), LastFailure: start, Reason: "it answered 500 \x1b[31m", Next: start.Add(time.Minute)},
			{URL: "https://old.example.net/hooks", Events: []string{"apoxy.phase_changed"}, Gone: start, LastFailure: start, Reason: "it answered 410 Gone"},
		}})
	case r.URL.Path == WebhookTestPath && r.Method == http.MethodPost && q.Get("url") == "":
		_ = json.NewEncoder(rw).Encode(WebhookTests{[]WebhookTest{{URL: "https://app.example.net/hooks", Status: 204, Took: 12}, {URL: "https://old.example.net/hooks", Status: 410, Took: 7, Reason: "it answered 410 Gone"}}})
	case r.URL.Path == WebhookTestPath && r.Method == http.MethodPost:
		_ = json.NewEncoder(rw).Encode(WebhookTests{[]WebhookTest{{URL: q.Get("url"), Status: 200, Took: 3}}})
	case r.URL.Path == WebhookReplayPath && r.Method == http.MethodPost:
		n := 4
		if q.Get("id") != "" || q.Get("since") == start.Format(time.RFC3339) {
			n = 1
		}
		_ = json.NewEncoder(rw).Encode(WebhookReplay{n})
	default:
		rw.WriteHeader(http.StatusMethodNotAllowed)
	}
}

// scriptExitCode runs a command and holds its exit status: exitcode N ARGS...
// It is domainrecord, or the one named before the arguments as in "brake:".
func scriptExitCode(ts *testscript.TestScript, _ bool, args []string) {
	program, rest := "domainrecord", args[1:]
	if len(rest) > 0 {
		if name, ok := strings.CutSuffix(rest[0], ":"); ok {
			program, rest = name, rest[1:]
		}
	}
	err := ts.Exec(program, rest...)
	code := "0"
	if exit, ok := err.(interface{ ExitCode() int }); ok {
		code = fmt.Sprint(exit.ExitCode())
	} else if err != nil {
		ts.Fatalf("running: %v", err)
	}
	if code != args[0] {
		ts.Fatalf("exit status %s, want %s", code, args[0])
	}
}

// scriptAwaiting waits until N watches were opened in all: awaiting N.
func scriptAwaiting(ts *testscript.TestScript, _ bool, args []string) {
	w := ts.Value("world").(*world)
	if err := w.awaitWatches(args[0]); err != nil {
		ts.Fatalf("%v", err)
	}
}

// awaitWatches waits until so many watches were opened in all.
func (w *world) awaitWatches(n string) error {
	end := time.Now().Add(10 * time.Second)
	for fmt.Sprint(w.watches.Load()) != n {
		if time.Now().After(end) {
			return fmt.Errorf("%d watches were opened, want %s", w.watches.Load(), n)
		}
		time.Sleep(time.Millisecond)
	}
	return nil
}

// scriptStranger has the commands that follow ask another server: stranger silent,
// half (an answer that stops), eof, or a status that it answers with.
func scriptStranger(ts *testscript.TestScript, _ bool, args []string) {
	done := make(chan struct{})
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch args[0] {
		case "silent":
		case "half":
			fmt.Fprint(w, `{"kind":`)
			_ = http.NewResponseController(w).Flush()
		case "eof":
			panic(http.ErrAbortHandler)
		default:
			code, _ := strconv.Atoi(args[0])
			w.WriteHeader(code)
			return
		}
		select {
		case <-r.Context().Done():
		case <-done:
		}
	}))
	ts.Defer(func() {
		close(done)
		srv.CloseClientConnections()
		srv.Close()
	})
	ts.Setenv("ADDRESS", srv.URL)
}

// serveCluster is a cluster of three nodes, of which one is gone and one says strange things.
func (w *world) serveCluster(rw http.ResponseWriter, r *http.Request) {
	rw.Header().Set("Content-Type", typeJSON)
	switch {
	case r.URL.Path == ClusterPath && r.Method == http.MethodGet:
		s := ClusterStatus{Node: "n1", Records: 30, Nodes: []ClusterNode{
			{Name: "n1", Live: true, Since: start, Version: "v1", Answers: true, Looks: 20},
			{Name: "n2", Live: true, Since: start, Problem: "asking node n2: \x1b[31mthe node does not answer\nn9  live"},
			{Name: "n3", Since: start},
		}}
		if w.brake.Load() {
			s.Problem = "etcd is \x1b[31maway"
		}
		_ = json.NewEncoder(rw).Encode(s)
	case r.URL.Path == ClusterForgetPath && r.Method == http.MethodPost:
		_ = json.NewEncoder(rw).Encode(ClusterForgotten{Forgotten: r.URL.Query().Get("node") == "n3"})
	default:
		rw.WriteHeader(http.StatusMethodNotAllowed)
	}
}
