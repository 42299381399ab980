package apiserver

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

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
		w.call("GET", base+"?watch=true", "").status(503, metav1.StatusReasonServiceUnavailable)
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
	w := newWorld(t, func(c *Config) { c.Limits.WatchWrite = time.Second })
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
		if i > 5000 {
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
