package wasm

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/apoxy-dev/caddy-apoxy/edgefunction"
)

func TestTheGuestSeesTheRequest(t *testing.T) {
	f := handler(t, nil)
	r := httptest.NewRequest("PUT", "http://api.example.com/dump?q=a%20b", strings.NewReader("x"))
	r.Header = http.Header{"X-Two": {"one", "two"}, "Accept": {"*/*"}}
	w, err := f.ask(r, nil)
	wantBody(t, w, err, "7  PUT /dump?q=a%20b HTTP/1.1 192.0.2.1:1234 [accept host x-two] [one two] [api.example.com] [] [] 200\n")
}

func TestTheGuestWritesTheResponse(t *testing.T) {
	f := handler(t, nil)
	for path, want := range map[string]struct {
		status int
		header http.Header
		body   string
	}{
		"/hello":                      {200, http.Header{"Content-Length": {"5"}}, "hello"},
		"/log":                        {200, http.Header{"Content-Length": {"0"}}, ""},
		"/status?code=418":            {418, http.Header{"Content-Length": {"13"}}, "with a status"},
		"/status?code=204":            {204, http.Header{}, ""},
		"/status?code=304":            {304, http.Header{}, ""},
		"/framing":                    {200, http.Header{"Content-Length": {"16"}}, "longer than five"},
		"/header?kind=1&name=x&value": {200, http.Header{"Content-Length": {"13"}, "X": {""}}, "with a header"},
		"/header?kind=3&trailers=1&name=x-sum&value=1": {200, http.Header{"Content-Length": {"13"}, "Trailer:X-Sum": {"1"}}, "with a header"},
	} {
		w, err := f.get(path, nil)
		wantBody(t, w, err, want.body)
		if w.Code != want.status || fmt.Sprint(w.Header()) != fmt.Sprint(want.header) {
			t.Errorf("%s: %d %v: want %d %v", path, w.Code, w.Header(), want.status, want.header)
		}
	}
	w, err := f.ask(httptest.NewRequest(http.MethodHead, "/hello", nil), nil)
	wantBody(t, w, err, "")
	if w.Header().Get("Content-Length") != "5" {
		t.Error(w.Header())
	}
}

// echo is a next handler that says what it got.
var echo = nextFunc(func(w http.ResponseWriter, r *http.Request) error {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return err
	}
	w.Header().Set("X-Next", "yes")
	w.WriteHeader(http.StatusTeapot)
	_, err = fmt.Fprintf(w, "%s %s host %s new %q secret %q %d body %q", r.Method, r.URL, r.Host, r.Header["X-New"], r.Header["X-Secret"], r.ContentLength, body)
	return err
})

func TestTheGuestChangesWhatNextGets(t *testing.T) {
	f := handler(t, nil)
	for path, want := range map[string]string{
		"/next": `POST /next host example.com new [] secret ["s"] 12 body "the client's"`,
		"/rewrite?method=PATCH&uri=/b%3fc=%2525&host=other.example:8080": `PATCH /b?c=%25 host other.example:8080 new ["by the guest"] secret [] 12 body "the client's"`,
		"/rewrite?uri=":                     `POST / host example.com new ["by the guest"] secret [] 12 body "the client's"`,
		"/replace":                          `POST /replace host example.com new [] secret ["s"] 12 body "of the guest"`,
		"/some":                             `POST /some host example.com new [] secret ["s"] 8 body "client's"`,
		"/header?kind=0&name=X-New&value=1": `POST /header?kind=0&name=X-New&value=1 host example.com new ["1"] secret ["s"] 12 body "the client's"`,
	} {
		r := httptest.NewRequest(http.MethodPost, path, strings.NewReader("the client's"))
		r.Header.Set("X-Secret", "s")
		r.Header.Set("Content-Length", "12")
		w, err := f.ask(r, echo)
		if path == "/header?kind=0&name=X-New&value=1" {
			wantFault(t, nil, err, edgefunction.FaultCrash, "of a trailer, without the feature trailers") // 105, which sets one
			err = nil
		}
		wantBody(t, w, err, want)
		if w.Code != http.StatusTeapot || r.Method != http.MethodPost || r.URL.Path != strings.Split(path, "?")[0] || r.Header.Get("X-Secret") != "s" {
			t.Errorf("%s: %d; the request of who called was changed: %s %s", path, w.Code, r.Method, r.URL)
		}
	}
}

func TestTheGuestChangesNextsResponse(t *testing.T) {
	f := handler(t, nil)
	for _, path := range []string{"/buffered", "/buffered-after-reading"} {
		w, err := f.ask(httptest.NewRequest(http.MethodPost, path, strings.NewReader("both read this")), echo)
		wantBody(t, w, err, "POST "+strings.ToUpper(path)+` HOST EXAMPLE.COM NEW [] SECRET [] 14 BODY "BOTH READ THIS" request: `+
			map[string]string{"/buffered": "both read this", "/buffered-after-reading": ""}[path])
		if w.Code != 203 || w.Header().Get("X-Was") != "418" || w.Header().Get("X-Next") != "yes" {
			t.Error(w.Code, w.Header())
		}
	}
	if !strings.Contains(f.String(), "response ctx=100 error=0") {
		t.Error(f.String())
	}
	w, err := f.get("/header?kind=3&trailers=1&name=x-early&value=1&next=1", echo)
	if err != nil || w.Header().Get("Trailer:X-Early") != "1" || w.Header().Get("Trailer:X-Sum") != "42" {
		t.Error(w.Header(), err)
	}
}

func TestWhatComesTooLateEndsTheGuest(t *testing.T) {
	f := handler(t, nil)
	for ctx, want := range map[int]struct {
		kind edgefunction.FaultKind
		says string
	}{
		101: {edgefunction.FaultCrash, "a change of the response after the next handler, without the feature buffer_response"},
		102: {edgefunction.FaultCrash, "set_status_code of the response after the next handler"},
		103: {edgefunction.FaultCrash, "unreachable"},
		104: {edgefunction.FaultCrash, "a change of the request after the next handler"},
		106: {edgefunction.FaultTimeout, "longer than"},
	} {
		if want.kind == edgefunction.FaultTimeout {
			f.program.settings.Timeout = time.Second
		}
		_, err := f.get(fmt.Sprint("/next?ctx=", ctx), echo)
		wantFault(t, nil, err, want.kind, want.says)
		f.program.settings.Timeout = time.Minute
	}
}

func TestNextFailsByItself(t *testing.T) {
	f := handler(t, nil)
	failed := errors.New("no upstreams")
	for _, path := range []string{"/next?ctx=7", "/buffered"} {
		w, err := f.get(path, func(w http.ResponseWriter, _ *http.Request) error { return failed })
		if !errors.Is(err, failed) || w.Body.Len() > 0 {
			t.Error(err, w.Body)
		}
	}
	if !strings.Contains(f.String(), "response ctx=7 error=1") {
		t.Error(f.String())
	}
	for range 3 {
		func() {
			defer func() {
				if recover() != http.ErrAbortHandler {
					t.Error("the panic did not arrive")
				}
			}()
			_, _ = f.get("/next", func(http.ResponseWriter, *http.Request) error { panic(http.ErrAbortHandler) })
		}()
	}
	wantInstances(t, f, 0)
	w, err := f.get("/hello", nil)
	wantBody(t, w, err, "hello")
}

// wantInstances holds how many instances wait, and that wazero keeps no others.
func wantInstances(t testing.TB, f *function, want int) {
	t.Helper()
	f.pool.mu.Lock()
	defer f.pool.mu.Unlock()
	if n := len(f.pool.waiting); n != want {
		t.Errorf("%d instances wait: want %d", n, want)
	}
}

func TestBodiesHaveBounds(t *testing.T) {
	f := handler(t, func(s *edgefunction.Settings) { s.RequestBody, s.ResponseBody = 100, 1000 })
	post := func(path string, n int, next nextFunc) (*httptest.ResponseRecorder, error) {
		return f.ask(httptest.NewRequest(http.MethodPost, path, strings.NewReader(strings.Repeat("b", n))), next)
	}
	w, err := post("/echo", 100, nil)
	wantBody(t, w, err, strings.Repeat("b", 100))
	w, err = post("/echo", 101, nil)
	wantFault(t, w, err, edgefunction.FaultTooLarge, "longer than the 100 bytes")
	w, err = post("/buffered", 101, echo) // the guest reads what next read
	wantFault(t, w, err, edgefunction.FaultTooLarge, "longer than the 100 bytes")
	w, err = post("/next", 5000, func(w http.ResponseWriter, r *http.Request) error { _, err := io.Copy(w, r.Body); return err })
	wantBody(t, w, err, strings.Repeat("b", 5000)) // what passes by has no bound
	w, err = f.get("/buffered", func(w http.ResponseWriter, _ *http.Request) error {
		_, err := w.Write(make([]byte, 1001))
		return err
	})
	wantFault(t, w, err, edgefunction.FaultAnswer, "the response of the next handler is longer than the 1000 bytes")
}

func TestWhatItPrintsIsLoggedAndBounded(t *testing.T) {
	f := handler(t, func(s *edgefunction.Settings) { s.Limits.Log = 100 })
	if _, err := f.get("/print?lines=10000", nil); err != nil {
		t.Fatal(err)
	}
	logged := f.String()
	if !strings.Contains(logged, `text="line 0"`) || strings.Contains(logged, `text="line 20"`) || strings.Count(logged, "the rest is dropped") != 1 {
		t.Error(logged)
	}
	if _, err := f.get("/log", nil); err != nil {
		t.Fatal(err)
	}
	logged = f.String()
	for _, want := range []string{`level=INFO msg="the function says" text="level 0 enabled 1"`, `level=WARN msg="the function says" text="level 1 enabled 1"`, `level=ERROR msg="the function says" text="level 2 enabled 1"`} {
		if !strings.Contains(logged, want) {
			t.Errorf("%s: want %s", logged, want)
		}
	}
	if strings.Contains(logged, "level -1") || strings.Contains(logged, "level 3") {
		t.Error(logged)
	}
}
