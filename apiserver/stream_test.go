package apiserver

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

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
		data, err := w.s.encodeKeyValue(r)
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
