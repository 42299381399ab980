package tunnel

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// quick is a clock that tests need not wait for.
var quick = Timing{
	PingAfter: 3 * time.Second, PingTimeout: 3 * time.Second, Drain: 2 * time.Second,
	Status: 100 * time.Millisecond, Check: 50 * time.Millisecond, RetryFirst: 10 * time.Millisecond, RetryMost: 50 * time.Millisecond,
}

const secret = "correct-horse"

// world is an edge with one tunnel on loopback.
type world struct {
	t        *testing.T
	hub      *Hub
	withdraw func()
	edge     *httptest.Server // agents and clients, over TLS
	timing   Timing
}

func newWorld(t *testing.T, g Grant) *world { return newWorldAt(t, g, quick) }

func newWorldAt(t *testing.T, g Grant, timing Timing) *world {
	t.Helper()
	w := &world{t: t, hub: NewHub(nil, timing), timing: timing}
	if len(g.Tokens) == 0 {
		g.Tokens = []string{secret}
	}
	var err error
	if w.withdraw, err = w.hub.Allow(g); err != nil {
		t.Fatal(err)
	}
	proxy := &httputil.ReverseProxy{Transport: w.hub, ErrorLog: log.New(io.Discard, "", 0), Rewrite: func(p *httputil.ProxyRequest) { p.Out.Trailer = p.In.Trailer },
		ErrorHandler: func(rw http.ResponseWriter, _ *http.Request, err error) {
			http.Error(rw, err.Error(), http.StatusBadGateway)
		}}
	w.edge = httptest.NewUnstartedServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		name, ok := Handshake(r)
		switch {
		case !ok:
			proxy.ServeHTTP(rw, r)
		case name == "office":
			w.hub.Accept(rw, r)
		default:
			Refuse(rw)
		}
	}))
	w.edge.EnableHTTP2 = true
	w.edge.Config.ErrorLog = log.New(io.Discard, "", 0)
	w.edge.StartTLS()
	t.Cleanup(func() {
		w.hub.Close()
		w.edge.CloseClientConnections()
		w.edge.Close()
	})
	return w
}

func (w *world) pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(w.edge.Certificate())
	return pool
}

// agent is one that leads to a backend, not running yet.
func (w *world) agent(to string) *Agent {
	return &Agent{
		Name: "office", Edge: w.edge.URL, To: to, Hostname: "desk", Version: "v1", Connections: 1,
		Token: func() (string, error) { return secret, nil }, Timing: w.timing,
		TLS: &tls.Config{RootCAs: w.pool(), ServerName: "example.com"},
		Resolve: func(context.Context, string) ([]netip.Addr, error) {
			return []netip.Addr{netip.MustParseAddr("127.0.0.1")}, nil
		},
	}
}

// run runs an agent until stop, which returns once it has left.
func (w *world) run(a *Agent) (stop func()) {
	w.t.Helper()
	ctx, cancel := context.WithCancel(w.t.Context())
	ended := make(chan error, 1)
	go func() { ended <- a.Run(ctx) }()
	stop = func() {
		cancel()
		select {
		case err := <-ended:
			if err != nil {
				w.t.Error(err)
			}
			ended <- nil
		case <-time.After(20 * time.Second):
			w.t.Error("the agent does not leave")
		}
	}
	w.t.Cleanup(stop)
	return stop
}

// serve runs an agent for a backend and waits until it is connected.
func (w *world) serve(backend http.Handler) (stop func()) {
	w.t.Helper()
	stop = w.run(w.agent(origin1(w.t, backend)))
	w.ready(1)
	return stop
}

// ready waits until n connections may be chosen.
func (w *world) ready(n int) {
	w.t.Helper()
	until(w.t, "the agents' connections", func() bool { return len(*w.hub.live.Load()) == n })
}

// origin1 is a backend that speaks HTTP/1.1.
func origin1(t *testing.T, h http.Handler) string {
	s := httptest.NewServer(h)
	t.Cleanup(func() { s.CloseClientConnections(); s.Close() })
	return s.URL
}

// client1 speaks HTTP/1.1 to the edge, client2 HTTP/2.
func (w *world) client1() *http.Client { return w.client(false) }
func (w *world) client2() *http.Client { return w.client(true) }

func (w *world) client(h2 bool) *http.Client {
	p := new(http.Protocols)
	p.SetHTTP1(!h2)
	p.SetHTTP2(h2)
	tr := &http.Transport{Protocols: p, TLSClientConfig: &tls.Config{RootCAs: w.pool(), ServerName: "example.com"}, DisableCompression: true, ExpectContinueTimeout: 5 * time.Second}
	w.t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: time.Minute}
}

func (w *world) get(path string) (int, string) {
	w.t.Helper()
	res, err := w.client1().Get(w.edge.URL + path)
	if err != nil {
		w.t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	return res.StatusCode, string(body)
}

// until waits for a condition.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(15 * time.Second); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("timed out waiting for %s", what)
		}
	}
}

func says(text string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, text) })
}

// handshake dials the edge as an agent does, with a header, and returns the
// answer's status line and the connection.
func (w *world) handshake(token string) (string, net.Conn) {
	w.t.Helper()
	c, err := tls.Dial("tcp", w.edge.Listener.Addr().String(), &tls.Config{RootCAs: w.pool(), ServerName: "example.com", NextProtos: []string{"http/1.1"}})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { c.Close() })
	io.WriteString(c, "GET "+PathPrefix+"office HTTP/1.1\r\nHost: edge.example.net\r\nConnection: Upgrade\r\nUpgrade: "+Protocol+"\r\nAuthorization: Bearer "+token+"\r\n\r\n")
	var line strings.Builder
	for b := make([]byte, 1); !strings.HasSuffix(line.String(), "\r\n\r\n"); {
		if _, err := c.Read(b); err != nil {
			w.t.Fatalf("reading the answer to the handshake: %v after %q", err, line.String())
		}
		line.Write(b)
	}
	status, _, _ := strings.Cut(line.String(), "\r\n")
	return status, c
}
