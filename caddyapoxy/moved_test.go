package caddyapoxy

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/apoxy-dev/caddy-apoxy/hosts"
	"github.com/apoxy-dev/caddy-apoxy/internal/etcdtest"
	"github.com/apoxy-dev/caddy-apoxy/ownership"
	"github.com/apoxy-dev/caddy-apoxy/store"
)

func TestMain(m *testing.M) { etcdtest.Main(m) }

// serving opens a store as Caddy does, as far as the API goes.
func serving(t *testing.T, s StoreModule) *runtime {
	t.Helper()
	rt, err := openRuntime(s, zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := runtimes.Delete(s.Key()); err != nil {
			t.Error(err)
		}
	})
	rt.apps.Push(&App{logger: zap.NewNop(), settings: ownership.Settings{Zone: ownership.Zone{Name: "cname.example.net"}}})
	rt.run("following the records", func(ctx context.Context) error {
		return hosts.Follow(ctx, rt.store, hosts.Follower{Table: rt.table})
	})
	if err := rt.whole(t.Context()); err != nil {
		t.Fatal(err)
	}
	return rt
}

func putRecord(t *testing.T, s store.Store, name string) int64 {
	t.Helper()
	rev, err := s.Write(t.Context(), store.Op{Key: hosts.Prefix + name, Value: []byte(recordValue(t, name, name)), If: store.Any})
	if err != nil {
		t.Fatal(err)
	}
	return rev
}

// provisioned is a store of an etcd below a prefix.
func provisioned(t *testing.T, endpoint, prefix string) *EtcdStore {
	t.Helper()
	t.Setenv("XDG_DATA_HOME", t.TempDir()) // where its copy is kept
	e := &EtcdStore{Endpoints: []string{endpoint}, Prefix: prefix}
	if err := e.Provision(caddy.Context{}); err != nil {
		t.Fatal(err)
	}
	return e
}

// A client that remembers revisions of one engine is not misled by the other's, be they
// smaller or larger: every watch from one of them, and every list at one, is refused with
// what has clients list again.
func TestRevisionsOfAnotherEngineAreExpired(t *testing.T) {
	for name, ahead := range map[string]int{"theirs are smaller": 0, "theirs pass ours while all is copied": 398, "theirs are larger": 2000} {
		t.Run("etcd, "+name, func(t *testing.T) {
			endpoint := etcdtest.Start(t)
			err := provisioned(t, endpoint, "/another").opened(func(s store.Store) error {
				for range ahead {
					if _, err := s.Write(t.Context(), store.Op{Key: "x", Value: []byte("x"), If: store.Any}); err != nil {
						return err
					}
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			revisionsExpire(t, provisioned(t, endpoint, ""), ahead == 0)
		})
	}
	t.Run("bolt", func(t *testing.T) {
		revisionsExpire(t, &BoltStore{Path: filepath.Join(t.TempDir(), "new.db")}, false)
	})
}

func revisionsExpire(t *testing.T, into StoreModule, smaller bool) {
	old := &BoltStore{Path: filepath.Join(t.TempDir(), "apoxy.db")}
	one, err := old.Open(zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	last := int64(0)
	for i := range 400 {
		last = putRecord(t, one, fmt.Sprintf("r%d.test", i%200))
	}
	if err := one.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := copyStore(t.Context(), source{store: old}, into, nil); err != nil {
		t.Fatal(err)
	}
	two := serving(t, into)
	ask := func(query string) *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		two.api.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/apis/core.apoxy.dev/v1alpha3/domainrecords?"+query, nil))
		return w
	}
	since := two.since.Load()
	if since == 0 || (since < last) != smaller {
		t.Fatalf("its history begins at %d, the other's has come to %d", since, last)
	}
	for _, rev := range []int64{1, 2, last - 201, last - 3, last} {
		for _, query := range []string{"watch=true&timeoutSeconds=1", "resourceVersionMatch=Exact&limit=5"} {
			w := ask(fmt.Sprintf("%s&resourceVersion=%d", query, rev))
			switch body := w.Body.String(); {
			case rev < since && (w.Code != http.StatusGone || !strings.Contains(body, `"reason":"Expired"`)):
				t.Errorf("%s from %d, history begins at %d: %d, %.300s", query, rev, since, w.Code, body)
			case rev > since && (w.Code != http.StatusGatewayTimeout || !strings.Contains(body, "ResourceVersionTooLarge")):
				t.Errorf("%s from %d, which is not reached: %d, %.300s", query, rev, w.Code, body)
			}
		}
	}
	if w := ask(""); w.Code != http.StatusOK || strings.Count(w.Body.String(), `"kind":"DomainRecord"`) != 200 && strings.Count(w.Body.String(), `"uid"`) > 0 {
		t.Errorf("a list: %d, %.300s", w.Code, w.Body.String())
	}
	next := putRecord(t, two.store, "later.test")
	if w := ask(fmt.Sprintf("watch=true&timeoutSeconds=1&resourceVersion=%d", next-1)); w.Code != http.StatusOK || !strings.Contains(w.Body.String(), "later.test") || strings.Contains(w.Body.String(), "r1.test") {
		t.Errorf("a watch of its own: %d, %.300s", w.Code, w.Body.String())
	}
}

// A node that starts while it is cut off from the store takes it as whole, and goes on
// from its copy.
func TestANodeThatIsCutOffNeedNotAskWhetherTheStoreIsWhole(t *testing.T) {
	var e *EtcdStore
	t.Setenv("XDG_DATA_HOME", t.TempDir())
	data := os.Getenv("XDG_DATA_HOME")
	record := func(rt *runtime, patience time.Duration) error {
		ctx, _ := store.AllowStale(t.Context(), patience)
		_, _, err := rt.store.Get(ctx, hosts.Prefix+"a.test")
		return err
	}
	t.Run("before", func(t *testing.T) { // its etcd ends with it
		e = provisioned(t, etcdtest.Start(t), "")
		t.Setenv("XDG_DATA_HOME", data)
		rt := serving(t, e)
		putRecord(t, rt.store, "a.test")
		until(t, "the copy has it", func() bool { return record(rt, time.Nanosecond) == nil })
	})
	rt := serving(t, e)
	if err := record(rt, 0); err != nil || rt.since.Load() != 0 {
		t.Errorf("%v, since %d", err, rt.since.Load())
	}
}
