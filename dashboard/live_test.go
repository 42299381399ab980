package dashboard

import (
	"bufio"
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// listen opens what a page's data-live names and returns its lines.
func (w *world) listen(ctx context.Context, page string) (*http.Response, *bufio.Scanner) {
	w.t.Helper()
	live := ""
	for _, n := range nodes(w.t, w.get(page).Text) {
		if n.Data == "body" {
			live, _ = attr(n, "data-live")
		}
	}
	base, err := http.NewRequest(http.MethodGet, w.http.URL+mount+page, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	u, err := base.URL.Parse(live)
	if err != nil || live == "" {
		w.t.Fatalf("%s is not live: %q, %v", page, live, err)
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		w.t.Fatal(err)
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { answer.Body.Close() })
	return answer, bufio.NewScanner(answer.Body)
}

// toldChange waits for the next message.
func toldChange(s *bufio.Scanner) bool {
	for s.Scan() {
		if s.Text() == "data: changed" {
			return true
		}
	}
	return false
}

func TestPagesAreLive(t *testing.T) {
	w := newWorld(t)
	w.create("a.example.com", nil)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	answer, one := w.listen(ctx, "/records/a.example.com")
	if kind := answer.Header.Get("Content-Type"); kind != "text/event-stream" {
		t.Fatalf("it is %q", kind)
	}
	_, all := w.listen(ctx, "/records")
	w.create("b.example.com", nil)
	if !toldChange(all) {
		t.Fatal("the list is not told of a new record")
	}
	r := w.call(http.MethodGet, "/a.example.com", nil)
	r.Annotations = map[string]string{"note": "changed"}
	w.call(http.MethodPut, "/a.example.com", r)
	if !toldChange(one) {
		t.Fatal("a record's page is not told of its change")
	}
	begun := time.Now()
	r = w.call(http.MethodGet, "/a.example.com", nil)
	r.Annotations = map[string]string{"note": "again"}
	w.call(http.MethodPut, "/a.example.com", r)
	if !toldChange(one) || time.Since(begun) < liveRecord*8/10 {
		t.Errorf("told again after %s", time.Since(begun))
	}
}

// What changes between the making of a page and the opening of its stream is told.
func TestNothingIsMissedBeforeTheStreamIsOpen(t *testing.T) {
	w := newWorld(t)
	w.create("a.example.com", nil)
	r, err := http.NewRequest(http.MethodGet, w.http.URL+mount+"/"+w.d.liveURL(t.Context(), "a.example.com"), nil)
	if err != nil {
		t.Fatal(err)
	}
	rec := w.call(http.MethodGet, "/a.example.com", nil)
	rec.Annotations = map[string]string{"note": "changed"}
	w.call(http.MethodPut, "/a.example.com", rec)
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if !toldChange(bufio.NewScanner(answer.Body)) {
		t.Error("the change is missed")
	}
}

func TestStreamsAreBounded(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.Streams = 1 })
	ctx, cancel := context.WithCancel(t.Context())
	_, first := w.listen(ctx, "/")
	if !first.Scan() || !strings.HasPrefix(first.Text(), "retry:") {
		t.Fatalf("it begins with %q", first.Text())
	}
	if answer, _ := w.listen(t.Context(), "/"); answer.StatusCode != http.StatusServiceUnavailable || answer.Header.Get("Retry-After") == "" {
		t.Errorf("the second stream: %s", answer.Status)
	}
	cancel() // the place becomes free once the server knows
	w.http.CloseClientConnections()
	deadline, end := context.WithTimeout(t.Context(), 10*time.Second)
	defer end()
	select {
	case w.d.streams <- struct{}{}:
	case <-deadline.Done():
		t.Error("the place of a stream that ended is not free")
	}
}

// The overview moves with the time: plots, forecasts and what the doctor found.
func TestTheOverviewIsToldToLookAgain(t *testing.T) {
	live := ""
	for _, n := range nodes(t, newWorld(t).get("/").Text) {
		if n.Data == "body" {
			live, _ = attr(n, "data-live")
		}
	}
	if !strings.HasSuffix(live, "&tick") {
		t.Fatalf("the overview is told by %q", live)
	}
	told := httptest.NewRecorder()
	s := &stream{w: told, out: http.NewResponseController(told), quiet: changedEvent, sign: time.Millisecond}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	quiet := 0
	s.run(ctx, func(wait context.Context, _ int64, _ string) (int64, error) {
		<-wait.Done() // nothing changes
		if quiet++; quiet > 3 {
			cancel()
		}
		return 0, wait.Err()
	}, "", 1, time.Millisecond)
	if n := strings.Count(told.Body.String(), changedEvent); n != 3 {
		t.Errorf("%d messages while nothing changed three times: %q", n, told.Body)
	}
}
