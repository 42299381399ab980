package tunnel

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// Whoever has no token is told the same, whatever it asked for, and leaves nothing
// behind.
func TestWrongTokensCostNothing(t *testing.T) {
	w := newWorld(t, Grant{})
	w.serve(says("ok"))
	answer := func(name, authorization string) (int, string) {
		r, _ := http.NewRequest("GET", w.edge.URL+handshakePath(name), nil)
		r.Header.Set("Connection", "Upgrade")
		r.Header.Set("Upgrade", Protocol)
		r.Header.Set("Authorization", authorization)
		res, err := w.client1().Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		body, _ := io.ReadAll(res.Body)
		return res.StatusCode, string(body)
	}
	_, want := answer("no-such-tunnel", "Bearer "+secret)
	before := runtime.NumGoroutine()
	for _, c := range [][2]string{{"office", ""}, {"office", "Bearer "}, {"office", "Bearer wrong"}, {"office", "Basic " + secret}, {"office", "Bearer " + secret + "x"}, {"no-such-tunnel", "Bearer x"}} {
		if status, body := answer(c[0], c[1]); status != 401 || body != want {
			t.Errorf("%q: %d %q", c, status, body)
		}
	}
	var work sync.WaitGroup
	for range 8 {
		work.Go(func() {
			c := w.client1()
			for range 100 {
				r, _ := http.NewRequest("GET", w.edge.URL+handshakePath("office"), nil)
				r.Header = http.Header{"Connection": {"Upgrade"}, "Upgrade": {Protocol}, "Authorization": {"Bearer wrong"}}
				res, err := c.Do(r)
				if err != nil {
					t.Error(err)
					return
				}
				io.Copy(io.Discard, res.Body)
				res.Body.Close()
			}
			c.CloseIdleConnections()
		})
	}
	work.Wait()
	w.hub.mu.Lock()
	if n := len(w.hub.conns); n != 1 {
		t.Errorf("%d connections, want the agent's", n)
	}
	w.hub.mu.Unlock()
	until(t, "the goroutines' end", func() bool { return runtime.NumGoroutine() < before+30 })
	if status, _ := w.get("/"); status != 200 {
		t.Errorf("a request after the flood: %d", status)
	}
}

// An agent that is refused again and again leaves nothing open on either side.
func TestARefusedAgentLeavesNothingBehind(t *testing.T) {
	w := newWorld(t, Grant{})
	g := newGate(t, w.edge.Listener.Addr().String())
	a := w.agent("http://127.0.0.1:1")
	a.Edge = "https://" + g.addr()
	a.Token = func() (string, error) { return "wrong", nil }
	w.run(a)
	until(t, "refusals", func() bool { return g.count() > 2 })
	before := runtime.NumGoroutine()
	until(t, "more refusals", func() bool { return g.count() > 30 })
	if after := runtime.NumGoroutine(); after > before+40 {
		t.Errorf("%d goroutines after 30 refusals, %d before", after, before)
	}
}

func TestConnectionsAndStreamsAreLimited(t *testing.T) {
	w := newWorld(t, Grant{MaxConnections: 2, MaxStreams: 3})
	held := make(chan struct{})
	began := make(chan struct{})
	a := w.agent(origin1(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { began <- struct{}{}; <-held })))
	a.Connections = 2
	w.run(a)
	w.ready(2)
	if status, _ := w.handshake(secret); !strings.Contains(status, " 503 ") {
		t.Errorf("a third connection: %s", status)
	}
	var work sync.WaitGroup
	for range 3 {
		work.Go(func() {
			if res, err := w.hub.RoundTrip(httptest.NewRequest("GET", "http://x/", nil)); err != nil {
				t.Error(err)
			} else {
				res.Body.Close()
			}
		})
		<-began
	}
	if _, err := w.hub.RoundTrip(httptest.NewRequest("GET", "http://x/", nil)); !errors.Is(err, ErrBusy) {
		t.Errorf("a fourth request: %v, want ErrBusy", err)
	}
	close(held)
	work.Wait()
	go func() { <-began }()
	if res, err := w.hub.RoundTrip(httptest.NewRequest("GET", "http://x/", nil)); err != nil {
		t.Errorf("after they have ended: %v", err)
	} else {
		res.Body.Close()
	}
}

// The token is in no line of either side's log, at any level.
func TestNobodyLogsTheToken(t *testing.T) {
	var log syncBuffer
	logger := slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	w := newWorld(t, Grant{})
	w.hub.logger = logger
	a := w.agent(origin1(t, says("ok")))
	a.Logger = logger
	stop := w.run(a)
	w.ready(1)
	b := w.agent("http://127.0.0.1:1")
	b.Token, b.Logger = func() (string, error) { return secret + "-wrong", nil }, logger
	w.run(b)
	until(t, "a refusal", func() bool { return strings.Contains(log.String(), "the edge answers 401") })
	stop()
	if s := log.String(); strings.Contains(s, secret) || !strings.Contains(s, "an agent is connected") {
		t.Errorf("the log:\n%s", s)
	}
}

// Agents with a valid token that break every rule end their own connection, or
// their own answer, and harm nothing else.
func TestHostileAgents(t *testing.T) {
	timing := quick
	timing.PingAfter, timing.PingTimeout = 500*time.Millisecond, 500*time.Millisecond
	for name, misbehave := range map[string]func(c net.Conn, fr *http2.Framer){
		"says nothing":   func(net.Conn, *http2.Framer) { select {} },
		"speaks no HTTP": func(c net.Conn, _ *http2.Framer) { io.WriteString(c, "hello\r\n\r\n") },
		"closes":         func(c net.Conn, _ *http2.Framer) { c.Close() },
		"never ends its header": func(_ net.Conn, fr *http2.Framer) {
			fr.WriteSettings()
			fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: status200(nil)})
			for fr.WriteContinuation(1, false, status200(bytes.Repeat([]byte("x"), 8000))) == nil {
			}
		},
		"dribbles its header": func(_ net.Conn, fr *http2.Framer) {
			fr.WriteSettings()
			fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: status200(nil)})
			for fr.WriteContinuation(1, false, nil) == nil {
				time.Sleep(50 * time.Millisecond)
			}
		},
		"has a huge header": func(_ net.Conn, fr *http2.Framer) {
			fr.WriteSettings()
			fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: status200(nil)})
			for range 400 {
				if fr.WriteContinuation(1, false, status200(bytes.Repeat([]byte("y"), 15000))) != nil {
					return
				}
			}
			fr.WriteContinuation(1, true, nil)
			select {}
		},
		"never ends its line": func(_ net.Conn, fr *http2.Framer) {
			fr.WriteSettings()
			fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: status200(nil), EndHeaders: true})
			for fr.WriteData(1, false, bytes.Repeat([]byte("z"), 1000)) == nil {
			}
		},
		"talks nonsense": func(_ net.Conn, fr *http2.Framer) {
			fr.WriteSettings()
			fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: status200(nil), EndHeaders: true})
			fr.WriteData(1, false, []byte("nonsense\n"))
			select {}
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorldAt(t, Grant{}, timing)
			w.serve(says("ok"))
			status, c := w.handshake(secret)
			if !strings.Contains(status, " 101 ") {
				t.Fatal(status)
			}
			go io.Copy(io.Discard, c)
			go misbehave(c, http2.NewFramer(c, nil))
			for range 10 {
				if status, body := w.get("/"); status != 200 || body != "ok" {
					t.Fatalf("%d %q", status, body)
				}
			}
			until(t, "the connection's end", func() bool {
				w.hub.mu.Lock()
				defer w.hub.mu.Unlock()
				return len(w.hub.conns) == 1
			})
		})
	}
}

// Requests that ask for the tunnel's insides, or for CONNECT, get nothing there.
func TestHostileClients(t *testing.T) {
	w := newWorld(t, Grant{})
	w.serve(says("ok"))
	r := httptest.NewRequest("CONNECT", "http://x/", nil)
	r.Host = "127.0.0.1:22"
	res, err := w.hub.RoundTrip(r)
	if err != nil || res.StatusCode != http.StatusMethodNotAllowed {
		t.Fatalf("CONNECT: %v, %v", res, err)
	}
	res.Body.Close()
	r, _ = http.NewRequest("GET", w.edge.URL, nil)
	r.Header.Set("X-Huge", strings.Repeat("x", 2<<20))
	if res, err := w.hub.RoundTrip(r); err == nil && res.StatusCode < 400 {
		t.Errorf("a header of 2 MiB: %d", res.StatusCode)
	}
	if status, body := w.get("/"); status != 200 || body != "ok" {
		t.Errorf("afterwards: %d %q", status, body)
	}
}

func TestTokensAreLookedAt(t *testing.T) {
	h := NewHub(nil, Timing{})
	for _, g := range []Grant{{}, {Tokens: []string{""}}, {Tokens: []string{"a b"}}, {Tokens: []string{"ok", "line\n"}}, {Tokens: []string{"schlüssel"}}} {
		if _, err := h.Allow(g); err == nil {
			t.Errorf("%q is allowed", g.Tokens)
		} else if len(g.Tokens) > 1 && strings.Contains(err.Error(), "line") {
			t.Errorf("the error tells the token: %v", err)
		}
	}
}

func FuzzHandshake(f *testing.F) {
	for _, s := range []string{PathPrefix + "office", PathPrefix, PathPrefix + "%2e%2e", "/", PathPrefix + "a/b", PathPrefix + "%zz"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, path string) {
		r := &http.Request{Header: http.Header{"Upgrade": {Protocol}}, URL: mustPath(path)}
		if name, ok := Handshake(r); ok && handshakePath(name) == "" {
			t.Error(name)
		}
	})
}

// status200 is a header block that begins an answer, or goes on with a field.
func status200(value []byte) []byte {
	var b bytes.Buffer
	e := hpack.NewEncoder(&b)
	if value == nil {
		e.WriteField(hpack.HeaderField{Name: ":status", Value: "200"})
	} else {
		e.WriteField(hpack.HeaderField{Name: "x-long", Value: string(value), Sensitive: true})
	}
	return b.Bytes()
}

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

func mustPath(path string) *url.URL { return &url.URL{Path: path} }
