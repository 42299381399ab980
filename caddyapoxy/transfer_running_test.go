package caddyapoxy

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/spf13/cobra"
	"go.uber.org/zap"

	"github.com/apoxy-dev/caddy-apoxy/internal/etcdtest"
	"github.com/apoxy-dev/caddy-apoxy/store"
	"github.com/apoxy-dev/caddy-apoxy/store/boltstore"
	"github.com/apoxy-dev/caddy-apoxy/store/snapshot"
)

func TestAStoreInUseIsCopiedThroughCaddy(t *testing.T) {
	_, port, _ := strings.Cut(freePort(t), ":")
	w := newWorld(t)
	text := w.withAdmin("admin localhost:" + port)
	if err := load(t, text); err != nil {
		t.Fatal(err)
	}
	config := filepath.Join(w.dir, "Caddyfile")
	writeFile(t, config, []byte(text))
	bolt := "bolt " + filepath.Join(w.dir, "apoxy.db")
	rt, err := runtimeInForce(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for i := range 50 {
		putRecord(t, rt.store, fmt.Sprintf("r%d.test", i))
	}
	dir := t.TempDir()
	t.Chdir(w.dir) // where ./Caddyfile is
	address := "localhost:" + port
	for i, args := range [][]string{
		{"store", "copy", "--from", config},
		{"store", "copy", "--from", bolt, "--address", address},
		{"backup", "--config", config},
		{"backup", "--address", address},
		{"backup"},
	} {
		to := filepath.Join(dir, fmt.Sprint(i, ".db"))
		if args[0] == "backup" {
			file := filepath.Join(dir, fmt.Sprint(i, ".backup"))
			if _, said, err := commandLine(t, append(args, file)...); err != nil || said != "" {
				t.Fatalf("%q: %v, %q", args, err, said)
			}
			if _, said, err := commandLine(t, "restore", file, "--store", "bolt "+to); err != nil {
				t.Fatalf("%v, %q", err, said)
			}
		} else if out, said, err := commandLine(t, append(args, "--to", "bolt "+to)...); err != nil || said != "" || !strings.Contains(out, "stop Caddy") {
			t.Fatalf("%q: %v, %q, %q", args, err, said, out)
		}
		if got := holds(t, "bolt "+to); strings.Count(got, "domainrecords/") != 50 {
			t.Errorf("%q: %s", args, got)
		}
	}
	if _, said, err := commandLine(t, "store", "compact", "--config", config); err == nil || !strings.Contains(said, "stop the Caddy") {
		t.Errorf("compact: %v, %q", err, said)
	}
	// A store that something else has open is not this Caddy's.
	other := filepath.Join(dir, "other.db")
	s, err := boltstore.Open(other, boltstore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for _, args := range [][]string{
		{"store", "copy", "--from", "bolt " + other, "--to", "bolt " + dir + "/x.db", "--address", address},
		{"backup", dir + "/x.backup", "--store", "bolt " + other},
	} {
		if _, said, err := commandLine(t, args...); err == nil || !strings.HasPrefix(said, "error: ") || strings.Count(said, "\n") != 1 {
			t.Errorf("%q: %v, %q", args, err, said)
		}
	}
	left, _ := filepath.Glob(dir + "/*x.*")
	if len(left) > 0 {
		t.Errorf("%q are there", left)
	}
}

// A store that a copy has filled in part is not served, and the same copy mends it.
func TestCaddyDoesNotStartOnAPart(t *testing.T) {
	w := newWorld(t)
	endpoint := etcdtest.Start(t)
	bolt := boltFile(t, "domainrecords/a.test", recordValue(t, "a.test", "a.test"), "hostnames/a.test", "a.test")
	if err := provisioned(t, endpoint, "").opened(func(s store.Store) error {
		_, err := s.Write(t.Context(), store.Op{Key: snapshot.FillingKey, Value: []byte("{}"), If: store.Absent}, store.Op{Key: "domainrecords/a.test", Value: []byte("half"), If: store.Any})
		return err
	}); err != nil {
		t.Fatal(err)
	}
	config := strings.Replace(w.caddyfile(), "store bolt "+filepath.Join(w.dir, "apoxy.db"), "store etcd {\n\t\t\tendpoints "+endpoint+"\n\t\t}", 1)
	if err := load(t, config); err == nil || !strings.Contains(err.Error(), "run that again to its end") {
		t.Fatalf("on a part: %v", err)
	}
	file := filepath.Join(t.TempDir(), "Caddyfile")
	writeFile(t, file, []byte(config))
	if _, said, err := commandLine(t, "store", "copy", "--from", "bolt "+bolt, "--to", file); err != nil {
		t.Fatalf("%v, %q", err, said)
	}
	if err := load(t, config); err != nil {
		t.Fatal(err)
	}
	rt, err := runtimeInForce(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := rt.table.Get("a.test"); !ok || rt.since.Load() == 0 {
		t.Errorf("the record is served: %v, history since %d", ok, rt.since.Load())
	}
	if err := caddy.Stop(); err != nil {
		t.Fatal(err)
	}
}

func TestBackupThroughCaddyIsRefused(t *testing.T) {
	rt := openTestRuntime(t, zap.NewNop())
	admin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _ = rt.backup(w, r) }))
	defer admin.Close()
	resp, err := http.Post(admin.URL+backupPath, "", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("POST is answered %s", resp.Status)
	}
	rt.backingUp.Lock()
	if err := fetchBackup(t.Context(), http.DefaultClient, admin.URL, new(bytes.Buffer)); err == nil || !strings.Contains(err.Error(), "429") {
		t.Errorf("two at once: %v", err)
	}
	rt.backingUp.Unlock()
	asked := 0
	for name, answer := range map[string]http.HandlerFunc{
		"cut off": func(w http.ResponseWriter, r *http.Request) {
			var out bytes.Buffer
			_, _ = snapshot.Write(r.Context(), &out, rt.store, "s", time.Now())
			_, _ = w.Write(out.Bytes()[:out.Len()-20])
		},
		"expired": func(w http.ResponseWriter, r *http.Request) {
			asked++
			_, _ = snapshot.Write(r.Context(), w, outrun{rt.store}, "s", time.Now())
		},
	} {
		s := httptest.NewServer(answer)
		src := source{endpoint: func() (*http.Client, string, error) { return http.DefaultClient, s.URL, nil }}
		file := filepath.Join(t.TempDir(), "backup")
		if _, err := backupTo(t.Context(), src, file, nil); !errors.Is(err, snapshot.ErrBroken) {
			t.Errorf("%s: %v", name, err)
		}
		if left, _ := os.ReadDir(filepath.Dir(file)); len(left) > 0 {
			t.Errorf("%s: %v was left", name, left)
		}
		s.Close()
	}
	if asked != attempts {
		t.Errorf("what had expired was tried %d times", asked)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	src := source{store: &BoltStore{Path: boltFile(t)}}
	if _, err := backupTo(ctx, src, filepath.Join(t.TempDir(), "backup"), nil); !errors.Is(err, context.Canceled) {
		t.Errorf("interrupted: %v", err)
	}
	var said bytes.Buffer
	cmd := new(cobra.Command)
	cmd.SetErr(&said)
	if err := fails(cmd, ctx.Err()); err == nil || said.String() != "error: interrupted: the same command begins anew\n" {
		t.Errorf("interrupted: %v, %q", err, said.String())
	}
}

// outrun is a store whose history does not reach back.
type outrun struct{ store.Store }

func (outrun) List(context.Context, string, store.ListOptions) (store.ListResult, error) {
	return store.ListResult{}, store.ErrExpired
}
