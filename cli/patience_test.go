package cli

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// dripping answers in parts, of which each is sent when next is written to.
func dripping(t *testing.T, next <-chan string) *client {
	t.Helper()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(w).Flush()
		for {
			select {
			case part, more := <-next:
				if !more {
					return
				}
				fmt.Fprint(w, part)
				_ = http.NewResponseController(w).Flush()
			case <-r.Context().Done():
				return
			}
		}
	}))
	t.Cleanup(srv.Close)
	return &client{http: srv.Client(), base: srv.URL, warn: io.Discard}
}

func TestAnAnswerMayTakeLongAsLongAsItGoesOn(t *testing.T) {
	next := make(chan string)
	c := dripping(t, next)
	c.patience = patience{silence: 500 * time.Millisecond}
	go func() {
		for _, part := range strings.SplitAfter(`{"kind": "DomainRecord", "a": 1, "b": 2, "c": 3, "d": 4, "e": 5, "f": 6}`, ",") {
			time.Sleep(100 * time.Millisecond) // what is tested is time
			next <- part
		}
		close(next)
	}()
	if _, err := c.read(t.Context(), request{method: http.MethodGet}, &map[string]any{}); err != nil {
		t.Error(err)
	}
}

func TestAnAnswerThatStopsIsGivenUp(t *testing.T) {
	for _, p := range []patience{{silence: 50 * time.Millisecond}, {total: 50 * time.Millisecond}} {
		c := dripping(t, nil)
		c.patience = p
		_, err := c.read(t.Context(), request{method: http.MethodGet}, &map[string]any{})
		if err == nil || !strings.Contains(err.Error(), "50ms") || !strings.Contains(err.Error(), c.base) {
			t.Errorf("%+v: %v", p, err)
		}
	}
}

func TestAWatchMayBeSilentOnceItHasBegun(t *testing.T) {
	next := make(chan string)
	c := dripping(t, next)
	c.patience = patience{silence: 20 * time.Millisecond, total: 20 * time.Millisecond}
	resp, err := c.send(t.Context(), request{method: http.MethodGet, stream: true})
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	time.Sleep(100 * time.Millisecond) // what is tested is time
	go func() { next <- "late"; close(next) }()
	if body, err := io.ReadAll(resp.Body); string(body) != "late" || err != nil {
		t.Errorf("%q, %v", body, err)
	}
}

func TestRequestTimeoutAsKubectlTakesIt(t *testing.T) {
	for _, c := range []struct {
		in   string
		want time.Duration
		bad  bool
	}{
		{"0", 0, false}, {"10s", 10 * time.Second, false}, {"5", 5 * time.Second, false}, {"1m30s", 90 * time.Second, false},
		{"", 0, true}, {"-1s", 0, true}, {"-5", 0, true}, {"soon", 0, true}, {"9999999999999", 0, true},
	} {
		var got requestTimeout
		if err := got.Set(c.in); time.Duration(got) != c.want || (err != nil) != c.bad {
			t.Errorf("%q: %v, %v", c.in, time.Duration(got), err)
		}
	}
}
