package apiserver

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/apoxy-dev/caddy-apoxy/store"
)

// hooked is a store whose answers a test can bend.
type hooked struct {
	store.Store
	list  func(store.ListOptions) error
	next  func() error
	write func([]store.Op)
}

func (h *hooked) List(ctx context.Context, prefix string, o store.ListOptions) (store.ListResult, error) {
	if h.list != nil {
		if err := h.list(o); err != nil {
			return store.ListResult{}, err
		}
	}
	return h.Store.List(ctx, prefix, o)
}

func (h *hooked) Write(ctx context.Context, ops ...store.Op) (int64, error) {
	if h.write != nil {
		h.write(ops)
	}
	return h.Store.Write(ctx, ops...)
}

func (h *hooked) Watch(ctx context.Context, prefix string, after int64) (store.Watcher, error) {
	w, err := h.Store.Watch(ctx, prefix, after)
	return hookedWatcher{w, h}, err
}

type hookedWatcher struct {
	store.Watcher
	h *hooked
}

func (w hookedWatcher) Next(ctx context.Context) (store.Batch, error) {
	if w.h.next != nil {
		if err := w.h.next(); err != nil {
			return store.Batch{}, err
		}
	}
	return w.Watcher.Next(ctx)
}

func hookedWorld(t *testing.T) (*world, *hooked) {
	h := new(hooked)
	w := newWorld(t, func(c *Config) {
		h.Store = c.Store
		c.Store = h
		c.Index = nil // every list comes by the store's
	})
	return w, h
}

func TestWatchThatFallsBehindEndsWithAnError(t *testing.T) {
	w, h := hookedWorld(t)
	h.next = func() error { return store.ErrExpired }
	s := w.watch("")
	e, _ := s.next()
	var st metav1.Status
	if err := json.Unmarshal(e.Object, &st); err != nil || e.Type != "ERROR" || st.Code != 410 || st.Reason != metav1.StatusReasonExpired {
		t.Errorf("got %s %s", e.Type, e.Object)
	}
	s.expectEnd()
}

func TestListThatCannotBeFinishedIsCutOff(t *testing.T) {
	w, h := hookedWorld(t)
	w.fill(chunk + 1)
	h.list = func(o store.ListOptions) error {
		if o.After != "" {
			return store.ErrExpired
		}
		return nil
	}
	res, err := http.Get(w.http.URL + base)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if _, err := io.ReadAll(res.Body); err == nil {
		t.Error("half a list looks like a whole one")
	}
	w.call("GET", base+"?labelSelector=none", "").status(410, metav1.StatusReasonExpired)
}

func TestWritesTryAgainAfterAConflict(t *testing.T) {
	w, h := hookedWorld(t)
	w.create("a.example.com")
	var once sync.Once
	between := func(ops []store.Op) {
		if ops[0].Key != recordKey("a.example.com") {
			return
		}
		once.Do(func() {
			e, _, err := h.Store.Get(t.Context(), ops[0].Key)
			if err != nil {
				t.Error(err)
			}
			value := []byte(strings.Replace(string(e.Value), `"phase":"Pending"`, `"phase":"Active"`, 1))
			if _, err := h.Store.Write(t.Context(), store.Op{Key: e.Key, Value: value, If: e.Revision}); err != nil {
				t.Error(err)
			}
		})
	}
	t.Run("a patch is applied to what the other write left", func(t *testing.T) {
		h.write = between
		r := w.merge("a.example.com", `{"metadata":{"labels":{"a":"b"}}}`).want(200).record()
		if r.Status.Phase != "Active" || r.Labels["a"] != "b" {
			t.Errorf("patched to %+v", r)
		}
	})
	t.Run("a delete goes through", func(t *testing.T) {
		once = sync.Once{}
		w.call("DELETE", base+"/a.example.com", "").want(200)
	})
}

func TestBookmarksTakeTheFormOfTheWatch(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.Limits.Bookmark = time.Millisecond })
	w.create("a.example.com")
	for form, kind := range map[string]string{"Table": "Table", "PartialObjectMetadata": "PartialObjectMetadata"} {
		s := w.watch("allowWatchBookmarks=true", "Accept", "application/json;as="+form+";v=v1;g=meta.k8s.io")
		for {
			e, ok := s.next()
			if !ok {
				t.Fatal("the watch ended")
			}
			if e.Type != "BOOKMARK" {
				continue
			}
			var o struct {
				Kind     string
				Metadata struct{ ResourceVersion string }
			}
			if err := json.Unmarshal(e.Object, &o); err != nil || o.Kind != kind || o.Metadata.ResourceVersion == "" {
				t.Errorf("%s: %s", form, e.Object)
			}
			break
		}
	}
}

func TestYAMLSaysWhatItSaysTwice(t *testing.T) {
	w := newWorld(t)
	body := "spec:\n  name: a.example.com\n  ttl: 1\n  ttl: 2\n  target: {ref: {kind: Proxy, name: p}}\n"
	w.call("POST", base+"?fieldValidation=Strict", body, "Content-Type", typeYAML).status(400, metav1.StatusReasonBadRequest)
	a := w.call("POST", base, body, "Content-Type", typeYAML).want(201)
	if !strings.Contains(a.header.Get("Warning"), "ttl") {
		t.Errorf("warning %q", a.header.Get("Warning"))
	}
	w.call("POST", base, "a: [", "Content-Type", typeYAML).status(400, metav1.StatusReasonBadRequest)
}

func TestWarningsAreBounded(t *testing.T) {
	w := newWorld(t)
	var b strings.Builder
	for i := range 90 {
		b.WriteString(`"` + strings.Repeat(string(rune('a'+i%26)), 5000+i) + `":1,`)
	}
	body := strings.Replace(manifest("a.example.com"), `"spec":{`, `"spec":{`+b.String(), 1)
	total := 0
	for _, h := range w.call("POST", base, body).want(201).header.Values("Warning") {
		total += len(h)
	}
	if total == 0 || total > 8<<10 {
		t.Errorf("%d bytes of warnings", total)
	}
}

func TestClosedStoreIsUnavailable(t *testing.T) {
	w := newWorld(t)
	w.create("a.example.com")
	w.store.Close()
	w.call("GET", base+"/a.example.com", "").status(503, metav1.StatusReasonServiceUnavailable)
	w.call("POST", base, manifest("b.example.com")).status(503, metav1.StatusReasonServiceUnavailable)
}

// TestNewRefuses what cannot work.
func TestNewRefuses(t *testing.T) {
	if _, err := New(Config{Zone: func() string { return "" }}); err == nil {
		t.Error("no store")
	}
	if _, err := New(Config{Store: new(hooked)}); err == nil {
		t.Error("no zone")
	}
}

// While the engine cannot be reached the answer says which, and when to come again.
func TestAStoreThatIsNotAvailableIsNamed(t *testing.T) {
	w, h := hookedWorld(t)
	h.list = func(store.ListOptions) error {
		return &store.UnavailableError{Engine: "etcd at 192.0.2.1:2379", Reason: "it does not answer in time"}
	}
	a := w.call("GET", base, "")
	a.status(503, metav1.StatusReasonServiceUnavailable)
	if a.header.Get("Retry-After") != "2" || !strings.Contains(string(a.body), "etcd at 192.0.2.1:2379: it does not answer in time") {
		t.Errorf("Retry-After %q, %s", a.header.Get("Retry-After"), a.body)
	}
}
