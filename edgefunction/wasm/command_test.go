package wasm

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/apoxy-dev/caddy-apoxy/edgefunction"
)

func TestACommandAnswers(t *testing.T) {
	f := command(t, func(s *edgefunction.Settings) {
		s.Env = map[string]string{"SECRET": "s3", "HTTP_X_OURS": "the operator's", "REQUEST_METHOD": "the operator's"}
	})
	r := httptest.NewRequest(http.MethodPost, "https://api.example.com:8443/a%2fb?c=d", strings.NewReader("the body"))
	r.Header = http.Header{
		"Content-Type": {"text/plain"}, "X-Two": {"1", "2"}, "Cookie": {"a=1", "b=2"}, "Proxy": {"http://evil"},
		"X_Under": {"passes for another"}, "X-Ours": {"the client's"}, "Connection": {"close"},
	}
	w, err := f.ask(r, nil)
	if err != nil || w.Code != http.StatusAccepted || w.Header().Get("X-By") != "cgi" || len(w.Header()["Set-Cookie"]) != 2 {
		t.Fatal(w.Code, w.Header(), err)
	}
	said := w.Body.String()
	for _, want := range []string{
		"body the body", "REQUEST_URI=/a%2fb?c=d", "SERVER_PROTOCOL=HTTP/1.1", "HTTP_HOST=api.example.com:8443", "REMOTE_PORT=1234",
		"GATEWAY_INTERFACE=CGI/1.1", "SERVER_NAME=api.example.com", "SERVER_PORT=8443", "PATH_INFO=/a/b", "QUERY_STRING=c=d",
		"CONTENT_LENGTH=8", "CONTENT_TYPE=text/plain", "REMOTE_ADDR=192.0.2.1", "HTTPS=on",
		"SECRET=s3", "HTTP_X_TWO=1, 2", "HTTP_COOKIE=a=1; b=2", "HTTP_X_OURS=the operator's", "REQUEST_METHOD=POST",
	} {
		if !strings.Contains(said, want+"\n") {
			t.Errorf("no %s in\n%s", want, said)
		}
	}
	for _, no := range []string{"evil", "X_UNDER", "HTTP_CONNECTION"} {
		if strings.Contains(said, no) {
			t.Errorf("%s in\n%s", no, said)
		}
	}
	if !strings.Contains(f.String(), "serving /a/b") {
		t.Error(f.String())
	}
}

func TestACommandThatFailsIsAFault(t *testing.T) {
	f := command(t, func(s *edgefunction.Settings) { s.Memory = 32 << 20 })
	for path, want := range map[string]struct {
		kind edgefunction.FaultKind
		says string
	}{
		"/panic":  {edgefunction.FaultCrash, "it exited with status 2"},
		"/exit":   {edgefunction.FaultCrash, "it exited with status 3"},
		"/memory": {edgefunction.FaultMemory, "more than its 33554432 bytes"},
		"/body":   {edgefunction.FaultAnswer, "its header and body pass"},
	} {
		w, err := f.get(path, nil)
		t.Run(path, func(t *testing.T) { wantFault(t, w, err, want.kind, want.says) })
	}
	f = command(t, short)
	for _, path := range []string{"/loop", "/sleep"} {
		w, err := f.get(path, nil)
		wantFault(t, w, err, edgefunction.FaultTimeout, "longer than its 100ms")
	}
}

func TestRequestsOfCommandsHaveBounds(t *testing.T) {
	f := command(t, func(s *edgefunction.Settings) { s.RequestBody = 100 })
	for _, length := range []int64{101, -1} {
		r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(strings.Repeat("b", 101)))
		r.ContentLength = length
		w, err := f.ask(r, nil)
		wantFault(t, w, err, edgefunction.FaultTooLarge, "longer than the 100 bytes")
	}
	w, err := f.get("/a%00b", nil)
	if err != nil || w.Code != http.StatusBadRequest {
		t.Error(w.Code, err)
	}
}

func TestWhatIsNoCGIIsAFault(t *testing.T) {
	f := command(t, func(s *edgefunction.Settings) { s.Headers, s.ResponseBody = 1000, 1000 })
	for raw, says := range map[string]string{
		"":                                    "no empty line",
		"Content-Type: text/plain\n":          "no empty line",
		"hello\n\n":                           "is no header field",
		"X: 1\n\nhello":                       "neither Status, Location nor Content-Type",
		"A B: 1\n\n":                          `"A B" is no name`,
		"A: 1\rB: 2\n\n":                      "a control character",
		"A: \x00\n\n":                         "a control character",
		"Status: 99\n\n":                      "three digits",
		"Status: 101 Switching Protocols\n\n": "three digits",
		"Status: OK\n\n":                      "three digits",
		"A: " + strings.Repeat("v", 1000) + "\n\n":                 "its header fields pass 1000 bytes",
		"Content-Type: text/plain\n\n" + strings.Repeat("b", 1001): "its response body passes 1000 bytes",
	} {
		w, err := f.ask(httptest.NewRequest(http.MethodPost, "/raw", strings.NewReader(raw)), nil)
		wantFault(t, w, err, edgefunction.FaultAnswer, says)
	}
	for raw, want := range map[string]int{
		"Status: 404 Not Found\r\nContent-Length: 99\r\nTransfer-Encoding: chunked\r\n\r\nbody": 404,
		"Location: /elsewhere\n\nbody":     302,
		"content-type: text/plain\n\nbody": 200,
	} {
		w, err := f.ask(httptest.NewRequest(http.MethodPost, "/raw", strings.NewReader(raw)), nil)
		wantBody(t, w, err, "body")
		if w.Code != want || w.Header().Get("Content-Length") != "4" || w.Header().Get("Transfer-Encoding") != "" {
			t.Error(w.Code, w.Header())
		}
	}
}

func FuzzCGIResponse(f *testing.F) {
	f.Add([]byte("Status: 404 Not Found\r\nA: b\r\n\r\nbody"))
	f.Add([]byte("Content-Type: a\n\n"))
	limits := edgefunction.Limits{Headers: 100, ResponseBody: 100}
	f.Fuzz(func(t *testing.T, text []byte) {
		c, fault := parseCGI(text, limits)
		if fault != nil {
			return
		}
		size := 0
		for name, values := range c.header {
			for _, value := range values {
				size += len(name) + len(value)
				if strings.ContainsAny(name+value, "\r\n\x00") {
					t.Errorf("%q: %q", name, value)
				}
			}
		}
		if size > 100 || len(c.body) > 100 || c.status < 200 || c.status > 999 {
			t.Errorf("%d bytes of header, %d of body, status %d", size, len(c.body), c.status)
		}
	})
}
