package apiserver

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
	"github.com/apoxy-dev/caddy-apoxy/store"
	"github.com/apoxy-dev/caddy-apoxy/store/boltstore"
)

// withHistory gives the world a store that keeps so few changes.
func withHistory(t testing.TB, n int) func(*Config) {
	return func(c *Config) {
		st, err := boltstore.Open(t.TempDir()+"/small.db", boltstore.Options{History: n})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { st.Close() })
		c.Store = st
	}
}

// fill writes n records straight into the store.
func (w *world) fill(n int) {
	w.t.Helper()
	template := w.create("h.example.com")
	var ops []store.Op
	for i := range n - 1 {
		r := template.DeepCopy()
		r.Name = fmt.Sprintf("h%06d.example.com", i)
		r.Spec.Name = r.Name
		data, err := w.s.encodeEntry(r)
		if err != nil {
			w.t.Fatal(err)
		}
		ops = append(ops, store.Op{Key: recordKey(r.Name), Value: data, If: store.Absent},
			store.Op{Key: hostnameKey(r.Name), Value: []byte(r.Name), If: store.Absent})
		if len(ops) >= 1000 || i == n-2 {
			if _, err := w.s.cfg.Store.Write(w.t.Context(), ops...); err != nil {
				w.t.Fatal(err)
			}
			ops = ops[:0]
		}
	}
}

// event is a watch event, its object still in its form.
type event struct {
	Type   string
	Object json.RawMessage
}

func (e event) record(t testing.TB) *v1alpha3.DomainRecord {
	t.Helper()
	r := new(v1alpha3.DomainRecord)
	if err := json.Unmarshal(e.Object, r); err != nil {
		t.Fatal(err)
	}
	return r
}

// stream is an open watch.
type stream struct {
	t      testing.TB
	lines  *bufio.Reader
	cancel context.CancelFunc
}

func (w *world) watch(query string, headers ...string) *stream {
	w.t.Helper()
	ctx, cancel := context.WithCancel(w.t.Context())
	w.t.Cleanup(cancel)
	req, err := http.NewRequestWithContext(ctx, "GET", w.http.URL+base+"?watch=true&"+query, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	res, err := w.http.Client().Do(req)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { res.Body.Close() })
	if res.StatusCode != 200 {
		w.t.Fatalf("watch %s: status %d", query, res.StatusCode)
	}
	return &stream{t: w.t, lines: bufio.NewReader(res.Body), cancel: cancel}
}

// next waits for an event; ok is false when the watch has ended.
func (s *stream) next() (e event, ok bool) {
	s.t.Helper()
	line, err := s.lines.ReadBytes('\n')
	if err != nil {
		return e, false
	}
	if err := json.Unmarshal(line, &e); err != nil {
		s.t.Fatalf("event %s: %v", line, err)
	}
	return e, true
}

// expect reads events that must be these: "ADDED a@5" or, for any revision,
// "ADDED a".
func (s *stream) expect(want ...string) {
	s.t.Helper()
	for _, w := range want {
		e, ok := s.next()
		if !ok {
			s.t.Fatalf("the watch ended before %q", w)
		}
		r := e.record(s.t)
		got := strings.TrimSpace(e.Type + " " + strings.TrimSuffix(r.Name, ".example.com"))
		if strings.Contains(w, "@") {
			got += "@" + r.ResourceVersion
		}
		if got != w {
			s.t.Fatalf("got %q, want %q: %s", got, w, e.Object)
		}
	}
}

func (s *stream) expectEnd() {
	s.t.Helper()
	if e, ok := s.next(); ok {
		s.t.Fatalf("the watch went on with %s %s", e.Type, e.Object)
	}
}

func TestWatchBegins(t *testing.T) {
	w := newWorld(t)
	a := w.create("a.example.com").ResourceVersion
	w.create("b.example.com")
	c := func(s *stream) {
		w.merge("a.example.com", `{"metadata":{"labels":{"n":"`+fmt.Sprint(time.Now().UnixNano())+`"}}}`).want(200)
	}
	t.Run("with the present state when no revision is given", func(t *testing.T) {
		s := w.watch("")
		s.expect("ADDED a", "ADDED b")
		c(s)
		s.expect("MODIFIED a")
	})
	t.Run("with the present state from revision 0", func(t *testing.T) { w.watch("resourceVersion=0").expect("ADDED a", "ADDED b") })
	t.Run("after the revision that is given", func(t *testing.T) { w.watch("resourceVersion="+a).expect("ADDED b", "MODIFIED a") })
	t.Run("now when initial events are not wanted", func(t *testing.T) {
		s := w.watch("sendInitialEvents=false&resourceVersionMatch=NotOlderThan")
		c(s)
		s.expect("MODIFIED a")
	})
	t.Run("as WatchList does, with a bookmark at the end of the beginning", func(t *testing.T) {
		s := w.watch("sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true&resourceVersion=" + a)
		s.expect("ADDED a", "ADDED b")
		e, _ := s.next()
		r := e.record(t)
		if e.Type != "BOOKMARK" || r.Annotations["k8s.io/initial-events-end"] != "true" || r.Kind != "DomainRecord" {
			t.Fatalf("got %s %s", e.Type, e.Object)
		}
		if l := w.call("GET", base, "").list(); l.ResourceVersion != r.ResourceVersion {
			t.Errorf("bookmark at %s, store at %s", r.ResourceVersion, l.ResourceVersion)
		}
		c(s)
		s.expect("MODIFIED a")
	})
}

func TestWatchOfAnEmptyStoreMissesNothing(t *testing.T) {
	w := newWorld(t)
	s := w.watch("sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true")
	s.expect("BOOKMARK")
	w.create("a.example.com")
	s.expect("ADDED a")
}

func TestWatchSeesThroughSelectors(t *testing.T) {
	w := newWorld(t)
	w.create("a.example.com", `"labels":{"in":"yes"}`)
	w.create("b.example.com")
	s := w.watch("labelSelector=in%3Dyes")
	s.expect("ADDED a")
	w.merge("b.example.com", `{"metadata":{"labels":{"in":"yes"}}}`).want(200)
	s.expect("ADDED b")
	w.merge("b.example.com", `{"spec":{"ttl":60}}`).want(200)
	s.expect("MODIFIED b")
	rev := w.merge("b.example.com", `{"metadata":{"labels":{"in":"no"}}}`).want(200).record().ResourceVersion
	e, _ := s.next()
	if r := e.record(t); e.Type != "DELETED" || r.Labels["in"] != "yes" || r.ResourceVersion != rev {
		t.Errorf("left with %s %s, want the old state at revision %s", e.Type, e.Object, rev)
	}
	w.merge("b.example.com", `{"spec":{"ttl":61}}`).want(200)
	w.call("DELETE", base+"/a.example.com", "").want(200)
	last := w.call("GET", base, "").list().ResourceVersion
	s.expect("DELETED a@" + last)
	one := w.watch("fieldSelector=metadata.name%3Db.example.com")
	one.expect("ADDED b")
}

func TestWatchForms(t *testing.T) {
	w := newWorld(t)
	w.create("a.example.com")
	w.create("b.example.com")
	t.Run("tables carry their columns once", func(t *testing.T) {
		s := w.watch("", "Accept", "application/json;as=Table;v=v1;g=meta.k8s.io")
		for i := range 2 {
			e, _ := s.next()
			var table metav1.Table
			if err := json.Unmarshal(e.Object, &table); err != nil {
				t.Fatal(err)
			}
			if len(table.Rows) != 1 || (len(table.ColumnDefinitions) > 0) != (i == 0) {
				t.Errorf("event %d: %s", i, e.Object)
			}
		}
	})
	t.Run("metadata alone", func(t *testing.T) {
		e, _ := w.watch("", "Accept", "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io").next()
		if !strings.Contains(string(e.Object), `"kind":"PartialObjectMetadata"`) {
			t.Errorf("event %s", e.Object)
		}
	})
}

func TestWatchTellsOfExpiredHistory(t *testing.T) {
	w := newWorld(t, withHistory(t, 4))
	first := w.create("a.example.com").ResourceVersion
	for i := range 20 {
		w.merge("a.example.com", fmt.Sprintf(`{"metadata":{"labels":{"a":"%d"}}}`, i)).want(200)
	}
	w.call("GET", base+"?watch=true&resourceVersion="+first, "").status(410, metav1.StatusReasonExpired)
}

func TestWatchBookmarksAndEnd(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.Limits.Bookmark = 20 * time.Millisecond })
	rev := w.create("a.example.com").ResourceVersion
	s := w.watch("allowWatchBookmarks=true&timeoutSeconds=1&resourceVersion=" + rev)
	marks := 0
	for {
		e, ok := s.next()
		if !ok {
			break
		}
		if e.Type != "BOOKMARK" || e.record(t).ResourceVersion != rev {
			t.Fatalf("got %s %s", e.Type, e.Object)
		}
		marks++
	}
	if marks < 2 {
		t.Errorf("%d bookmarks", marks)
	}
}

func TestWatchesEndWithTheServer(t *testing.T) {
	t.Run("when it is closed", func(t *testing.T) {
		w := newWorld(t)
		s := w.watch("allowWatchBookmarks=true")
		w.create("a.example.com")
		s.expect("ADDED a")
		w.s.Close()
		s.expect("BOOKMARK")
		s.expectEnd()
		w.get("a.example.com")
	})
	t.Run("when the HTTP server shuts down", func(t *testing.T) {
		w := newWorld(t)
		s := w.watch("")
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		if err := w.http.Config.Shutdown(ctx); err != nil {
			t.Errorf("shutting down with a watch open: %v", err)
		}
		s.expectEnd()
	})
	t.Run("when the store is closed", func(t *testing.T) {
		w := newWorld(t)
		s := w.watch("")
		w.store.Close()
		s.expectEnd()
	})
}

func TestWatchesAreBoundedInNumber(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.Limits.Watches = 1 })
	w.watch("")
	a := w.call("GET", base+"?watch=true", "")
	a.status(429, metav1.StatusReasonTooManyRequests)
	if a.header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
}

func TestWatchCutsOffASlowReader(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.Limits.WatchWrite = 100 * time.Millisecond })
	conn, err := net.Dial("tcp", w.http.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	// It asks and then reads nothing but the headers.
	if _, err := fmt.Fprintf(conn, "GET %s?watch=true HTTP/1.1\r\nHost: localhost\r\n\r\n", base); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Read(make([]byte, 16)); err != nil {
		t.Fatal(err)
	}
	quick := w.watch("")
	w.create("a.example.com")
	quick.expect("ADDED a")
	for i := 0; len(w.s.watches) > 1; i++ {
		if i > 500 {
			t.Fatal("the slow watch still holds its slot")
		}
		w.merge("a.example.com", fmt.Sprintf(`{"metadata":{"annotations":{"a":%q}}}`, strings.Repeat(fmt.Sprint(i%10), 200<<10))).want(200)
		quick.expect("MODIFIED a")
	}
}

func TestWatchLosesAndDoublesNothing(t *testing.T) {
	const writers, rounds = 200, 5
	w := newWorld(t)
	plain := w.watch("")
	selected := w.watch("labelSelector=in%3Dyes")
	var wg sync.WaitGroup
	for i := range writers {
		wg.Go(func() {
			name := fmt.Sprintf("h%d.example.com", i)
			// The handler is called directly: 200 connections are not the point.
			call := func(method, path, body, typ string) {
				rec := httptest.NewRecorder()
				req := httptest.NewRequest(method, path, strings.NewReader(body))
				req.Header.Set("Content-Type", typ)
				w.s.ServeHTTP(rec, req)
				if rec.Code/100 != 2 {
					t.Errorf("%s %s: %d %s", method, path, rec.Code, rec.Body)
				}
			}
			call("POST", base, manifest(name), "application/json")
			for n := range rounds {
				call("PATCH", base+"/"+name, fmt.Sprintf(`{"metadata":{"labels":{"in":%q,"n":"%d"}}}`, []string{"yes", "no"}[n%2], n), mergeHeader)
			}
			call("DELETE", base+"/"+name, "", "application/json")
		})
	}
	wg.Wait()
	follow(t, plain, writers, []string{"ADDED", "MODIFIED", "MODIFIED", "MODIFIED", "MODIFIED", "MODIFIED", "DELETED"})
	follow(t, selected, writers, []string{"ADDED", "DELETED", "ADDED", "DELETED", "ADDED", "DELETED"})
}

// follow reads a watch until every record has gone through its states, in
// their order and by rising revisions.
func follow(t testing.TB, s *stream, records int, states []string) {
	t.Helper()
	at := map[string]int{}
	last, done := 0, 0
	for done < records {
		e, ok := s.next()
		if !ok {
			t.Fatalf("the watch ended after %d records", done)
		}
		r := e.record(t)
		var rev int
		if _, err := fmt.Sscan(r.ResourceVersion, &rev); err != nil || rev <= last {
			t.Fatalf("revision %s after %d", r.ResourceVersion, last)
		}
		last = rev
		if i := at[r.Name]; i >= len(states) || states[i] != e.Type {
			t.Fatalf("%s: event %d is %s, want %v", r.Name, i, e.Type, states)
		}
		if at[r.Name]++; at[r.Name] == len(states) {
			done++
		}
	}
}
