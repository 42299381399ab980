package setup

import (
	"bufio"
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
)

// streaming is a real server of a site, whose streams have a pace.
func streaming(t *testing.T, pace Pace, records ...*v1alpha3.DomainRecord) (base string, s *Site, m *memory) {
	t.Helper()
	s, m = newSite(t, Options{}, records...)
	s.cfg.Pace = pace.withDefaults()
	front := httptest.NewServer(s)
	t.Cleanup(func() {
		s.Close()
		front.Close()
	})
	return front.URL, s, m
}

// stream opens the stream of a link.
func stream(t *testing.T, url string, headers ...string) (*http.Response, *bufio.Scanner) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { resp.Body.Close() })
	return resp, bufio.NewScanner(resp.Body)
}

// until reads a stream up to a line.
func until(t *testing.T, lines *bufio.Scanner, want string) {
	t.Helper()
	for lines.Scan() {
		if lines.Text() == want {
			return
		}
	}
	t.Fatalf("the stream ended without %q: %v", want, lines.Err())
}

func TestAnOpenPageIsToldOfChanges(t *testing.T) {
	r := record("api.example.com")
	base, _, m := streaming(t, Pace{Look: 10 * time.Millisecond, Alive: 10 * time.Millisecond}, r)
	resp, lines := stream(t, base+"/"+linkTo(t, r)+"/live?at=7")
	if resp.StatusCode != 200 || resp.Header.Get("Content-Type") != "text/event-stream" || resp.Header.Get("Cache-Control") != "no-store" {
		t.Fatalf("%d %v", resp.StatusCode, resp.Header)
	}
	until(t, lines, "retry: 3000")
	until(t, lines, ": alive")
	m.changed <- 7 // what the page shows already
	m.changed <- 8
	until(t, lines, "id: 8")
	until(t, lines, "data: changed")
	m.changed <- 9
	until(t, lines, "id: 9")
	deadline := time.Now().Add(10 * time.Second)
	for m.looked() < 3 {
		if time.Now().After(deadline) {
			t.Fatal("an open page has DNS looked at no more")
		}
		until(t, lines, ": alive")
	}
	// A browser that comes back says what it was told last.
	_, again := stream(t, base+"/"+linkTo(t, r)+"/live?at=7", "Last-Event-ID", "9")
	until(t, again, "retry: 3000")
}

func TestStreamsAreBounded(t *testing.T) {
	a, b := record("a.example.com"), record("b.example.com")
	b.UID = "other"
	base, s, _ := streaming(t, Pace{Streams: 3, OfOne: 2}, a, b)
	for i, want := range []int{200, 200, 503} {
		if resp, _ := stream(t, base+"/"+linkTo(t, a)+"/live"); resp.StatusCode != want {
			t.Errorf("stream %d of one record: %d, want %d", i, resp.StatusCode, want)
		}
	}
	for i, want := range []int{200, 503} {
		if resp, _ := stream(t, base+"/"+linkTo(t, b)+"/live"); resp.StatusCode != want || want == 503 && resp.Header.Get("Retry-After") == "" {
			t.Errorf("stream %d of another: %d, want %d", i, resp.StatusCode, want)
		}
	}
	s.Close()
	deadline := time.Now().Add(10 * time.Second)
	for {
		s.mu.Lock()
		left, of := s.streams, len(s.open)
		s.mu.Unlock()
		if left == 0 && of == 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d streams of %d records are left after the end", left, of)
		}
		time.Sleep(time.Millisecond)
	}
}

func TestAStreamEndsWithItsLinkOrItsTime(t *testing.T) {
	r := record("a.example.com")
	base, _, _ := streaming(t, Pace{Most: 50 * time.Millisecond}, r)
	_, lines := stream(t, base+"/"+linkTo(t, r)+"/live")
	for lines.Scan() {
	}
	if lines.Err() != nil {
		t.Error(lines.Err())
	}
	for path, want := range map[string]int{"/hello/live": 403, "/" + signed(t, Link{Name: r.Name, UID: testUID, Expires: testNow}) + "/live": 410} {
		resp, lines := stream(t, base+path)
		if resp.StatusCode != want {
			t.Errorf("%s: %d, want %d", path, resp.StatusCode, want)
		}
		for lines.Scan() {
			if strings.Contains(lines.Text(), "example.com") {
				t.Errorf("%s tells %s", path, lines.Text())
			}
		}
	}
}
