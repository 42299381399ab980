package pages

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/apoxy-dev/caddy-apoxy/bench"
	"github.com/apoxy-dev/caddy-apoxy/internal/freeport"
	"github.com/apoxy-dev/caddy-apoxy/store"
	"github.com/apoxy-dev/caddy-apoxy/store/boltstore"
)

// records is how many there are: BENCH_PAGES_RECORDS, or 100,000.
var records, recordsErr = strconv.Atoi(cmp.Or(os.Getenv("BENCH_PAGES_RECORDS"), "100000"))

const patience = 3 * time.Minute

// world is the product with its records, and a browser before it.
type world struct {
	admin, pages string // URLs
	pid          int
	tab          context.Context
}

// newWorld fills a store, and runs the product on it until the test ends. What looks it is
// due for end at a resolver that nobody is.
func newWorld(t testing.TB) *world {
	t.Helper()
	if recordsErr != nil {
		t.Fatal(recordsErr)
	}
	dir := t.TempDir()
	program := os.Getenv("BENCH_CADDY")
	if program == "" {
		program = filepath.Join(dir, "caddy")
		if text, err := exec.CommandContext(t.Context(), "go", "-C", "../..", "build", "-o", program, "./cmd/caddy").CombinedOutput(); err != nil {
			t.Fatalf("building our command: %v: %s", err, text)
		}
	}
	file := filepath.Join(dir, "apoxy.db")
	fill(t, file)
	var at [4]string
	for i := range at {
		at[i] = freeport.Address(t)
	}
	config := filepath.Join(dir, "Caddyfile")
	if err := os.WriteFile(config, fmt.Appendf(nil, `{
	admin %s
	persist_config off
	log {
		level WARN
	}
	apoxy {
		zone %s {
			nameserver ns1.%[2]s 203.0.113.53
			edge 203.0.113.10
		}
		resolvers %s
		dns %s
		store bolt %s
	}
}
http://%s {
	apoxy_dashboard
}
`, at[0], bench.Zone, at[1], at[2], file, at[3]), 0o600); err != nil {
		t.Fatal(err)
	}
	w := &world{admin: "http://" + at[0], pages: "http://" + at[3]}
	w.run(t, dir, program, config)
	w.await(t, "all records to be read", func() error {
		body, _, err := get(w.pages + "/records?q=" + bench.Hostname(records-1))
		if err == nil && !strings.Contains(body, `href="records/`+bench.Hostname(records-1)) {
			err = errors.New("the last record is not found")
		}
		return err
	})
	w.browse(t, dir)
	return w
}

func fill(t testing.TB, file string) {
	t.Helper()
	s, err := boltstore.Open(file, boltstore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < records; {
		var ops []store.Op
		for ; i < records && len(ops) < 4000; i++ {
			r := bench.Record(i)
			ops = append(ops, bench.PutOp(i), store.Op{Key: "hostnames/" + r.Spec.Name, Value: []byte(r.Name), If: store.Any})
		}
		if _, err := s.Write(t.Context(), ops...); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

func (w *world) run(t testing.TB, dir, program, config string) {
	t.Helper()
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	cmd := exec.Command(program, "run", "--config", config, "--adapter", "caddyfile")
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Env = append(os.Environ(), "HOME="+dir, "XDG_DATA_HOME="+dir, "XDG_CONFIG_HOME="+dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	w.pid = cmd.Process.Pid
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // the store is the test's alone
		_ = cmd.Wait()
		if t.Failed() {
			text, _ := os.ReadFile(log.Name()) // none: that is said by what is missing
			t.Logf("the product's log ends:\n%s", text[max(0, len(text)-4000):])
		}
	})
}

// browse opens a tab.
func (w *world) browse(t testing.TB, dir string) {
	t.Helper()
	allocated, cancel := chromedp.NewExecAllocator(t.Context(), append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.NoSandbox, chromedp.DisableGPU, chromedp.UserDataDir(filepath.Join(dir, "browser")),
		chromedp.Env("HOME="+dir, "XDG_CONFIG_HOME="+dir, "XDG_CACHE_HOME="+dir),
		chromedp.Flag("disable-dev-shm-usage", true), chromedp.Flag("enable-precise-memory-info", true))...)
	t.Cleanup(cancel)
	w.tab, cancel = chromedp.NewContext(allocated)
	t.Cleanup(cancel)
	if err := chromedp.Do(w.tab, chromedp.EmulateViewport(1280, 900)); err != nil {
		t.Fatalf("starting the browser: %v", err)
	}
}

// open shows a page.
func (w *world) open(t testing.TB, url string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(w.tab, patience)
	defer cancel()
	if err := chromedp.Do(ctx, chromedp.Navigate(url)); err != nil {
		t.Fatalf("opening %s: %v", url, err)
	}
}

// eval is what an expression of JavaScript gives.
func eval[T any](t testing.TB, w *world, expression string) T {
	t.Helper()
	ctx, cancel := context.WithTimeout(w.tab, patience)
	defer cancel()
	v, err := chromedp.Run(ctx, chromedp.Evaluate[T](expression))
	if err != nil {
		t.Fatalf("evaluating %s: %v", expression, err)
	}
	return v
}

// says waits until an expression of JavaScript is true.
func (w *world) says(t testing.TB, what, expression string) {
	t.Helper()
	w.await(t, what, func() error {
		ctx, cancel := context.WithTimeout(w.tab, patience)
		defer cancel()
		is, err := chromedp.Run(ctx, chromedp.Evaluate[bool](expression))
		if err == nil && !is {
			err = errors.New("it is not so")
		}
		return err
	})
}

func (w *world) await(t testing.TB, what string, cond func() error) {
	t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		err := cond()
		if err == nil {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("waiting for %s: %v", what, err)
		}
	}
}

// get asks for a URL and reads the answer.
func get(url string) (body string, took time.Duration, err error) {
	began := time.Now()
	answer, err := http.Get(url)
	if err != nil {
		return "", 0, err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err == nil && answer.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: status %d: %.200s", url, answer.StatusCode, text)
	}
	return string(text), time.Since(began), err
}

// relabel changes a record's owner.
func (w *world) relabel(t testing.TB, name, owner string) {
	t.Helper()
	body, err := json.Marshal(map[string]any{"metadata": map[string]any{"labels": map[string]any{"core.apoxy.dev/owner": owner}}})
	if err != nil {
		t.Fatal(err)
	}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPatch, w.admin+"/apis/core.apoxy.dev/v1alpha3/domainrecords/"+name, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/merge-patch+json")
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(answer.Body) // the status says enough
		t.Fatalf("relabelling %s: %d %s", name, answer.StatusCode, text)
	}
}

// cpu is the processor time that the product has used.
func (w *world) cpu(t testing.TB) time.Duration {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", w.pid))
	if err != nil {
		t.Fatal(err)
	}
	ticks := 0
	for _, f := range strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))[11:13] {
		n, err := strconv.Atoi(f)
		if err != nil {
			t.Fatal(err)
		}
		ticks += n
	}
	return time.Duration(ticks) * time.Second / 100
}
