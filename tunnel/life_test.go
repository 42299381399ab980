package tunnel

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func TestWithoutAnAgentThereIsASentence(t *testing.T) {
	w := newWorld(t, Grant{})
	for what, hub := range map[string]*Hub{"a tunnel": w.hub, "a tunnel that nobody defines": NewHub(nil, Timing{})} {
		if _, err := hub.RoundTrip(httptest.NewRequest("GET", "http://x/", nil)); !errors.Is(err, ErrNoAgent) {
			t.Errorf("%s: error %v, want ErrNoAgent", what, err)
		}
	}
	if well, message := w.hub.Health(); well || !strings.Contains(message, "no agent is connected: start one") {
		t.Errorf("%v %q", well, message)
	}
	stop := w.serve(says("ok"))
	well, message := w.hub.Health()
	if !well || !strings.HasPrefix(message, "1 agent is connected: desk (version v1, since 20") || !strings.Contains(message, "round trip at most ") {
		t.Errorf("%v %q", well, message)
	}
	stop()
	w.ready(0)
	if well, message := w.hub.Health(); well || !strings.HasPrefix(message, "no agent is connected since 20") {
		t.Errorf("%v %q", well, message)
	}
}

// The origin's state is the target's, both ways, and what could not be connected to
// has seen nothing.
func TestTheAgentTellsWhetherItsOriginAnswers(t *testing.T) {
	w := newWorld(t, Grant{})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	l.Close()
	w.run(w.agent("http://" + addr))
	w.ready(1)
	well, message := w.hub.Health()
	if well || !strings.Contains(message, "1 agent is connected, but the backend does not answer: desk") || !strings.Contains(message, "connection refused") {
		t.Errorf("%v %q", well, message)
	}
	_, err = w.hub.RoundTrip(httptest.NewRequest("POST", "http://x/", nil))
	var origin *OriginError
	if !errors.As(err, &origin) || !origin.Unseen || origin.Agent != "desk" {
		t.Errorf("error %v", err)
	}
	if l, err = net.Listen("tcp", addr); err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: says("ok")}
	go s.Serve(l)
	until(t, "health", func() bool { well, _ := w.hub.Health(); return well })
	s.Close()
	until(t, "illness", func() bool { well, _ := w.hub.Health(); return !well })
}

func TestAHealthURIDecides(t *testing.T) {
	w := newWorld(t, Grant{})
	var ill atomic.Bool
	a := w.agent(origin1(t, http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/healthz" && ill.Load() {
			rw.WriteHeader(503)
		}
	})))
	a.HealthURI = "/healthz"
	w.run(a)
	w.ready(1)
	if well, message := w.hub.Health(); !well {
		t.Error(message)
	}
	ill.Store(true)
	until(t, "illness", func() bool {
		well, message := w.hub.Health()
		return !well && strings.Contains(message, "/healthz answers 503")
	})
}

// Requests go where the fewest are under way, and away from an ill origin.
func TestAgentsShareTheLoad(t *testing.T) {
	w := newWorld(t, Grant{})
	held := make(chan struct{})
	var seen [2]atomic.Int64
	for i := range seen {
		w.run(w.agent(origin1(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { seen[i].Add(1); <-held }))))
	}
	dead := w.agent("http://127.0.0.1:1")
	w.run(dead)
	w.ready(3)
	var work sync.WaitGroup
	for i := range int64(20) {
		work.Go(func() {
			res, err := w.hub.RoundTrip(httptest.NewRequest("POST", "http://x/", strings.NewReader("b")))
			if err != nil {
				t.Error(err)
				return
			}
			res.Body.Close()
		})
		until(t, "the request", func() bool { return seen[0].Load()+seen[1].Load() == i+1 })
	}
	if a, b := seen[0].Load(), seen[1].Load(); a != 10 || b != 10 {
		t.Errorf("%d and %d requests, want 10 each", a, b)
	}
	close(held)
	work.Wait()
}

// One agent's connection breaks: what was under way on it fails, the rest does not
// notice, and the agent is back.
func TestALostConnectionFailsOnlyWhatWasOnIt(t *testing.T) {
	w := newWorld(t, Grant{})
	began, held := make(chan string, 2), make(chan struct{})
	backend := origin1(t, http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/hold" {
			began <- ""
			<-held
		}
		io.WriteString(rw, "ok")
	}))
	first := newGate(t, w.edge.Listener.Addr().String())
	a := w.agent(backend)
	a.Edge = "https://" + first.addr()
	w.run(a)
	w.ready(1)
	w.run(w.agent(backend))
	w.ready(2)
	results := make(chan error, 2)
	for range 2 { // one goes to each
		go func() {
			res, err := w.hub.RoundTrip(httptest.NewRequest("POST", "http://x/hold", nil))
			if err == nil {
				res.Body.Close()
			}
			results <- err
		}()
		<-began
	}
	first.cut()
	if err := <-results; err == nil {
		t.Error("the request on the lost connection succeeded")
	}
	for range 20 {
		if status, body := w.get("/"); status != 200 || body != "ok" {
			t.Fatalf("%d %q while one agent is gone", status, body)
		}
	}
	close(held)
	if err := <-results; err != nil {
		t.Errorf("the request on the other connection: %v", err)
	}
	w.ready(2)
}

// A request that the connection never took is sent through another one, whatever
// its method.
func TestWhatNoOriginHasSeenIsSentAgain(t *testing.T) {
	w := newWorld(t, Grant{})
	backend := origin1(t, http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) { io.Copy(rw, r.Body) }))
	w.run(w.agent(backend))
	w.run(w.agent(backend))
	w.ready(2)
	live := *w.hub.live.Load()
	live[0].client.Close() // the hub does not know yet
	w.hub.live.Store(&live)
	for range 4 {
		w.hub.live.Store(&live)
		res, err := w.hub.RoundTrip(httptest.NewRequest("POST", "http://x/", strings.NewReader("body")))
		if err != nil {
			t.Fatal(err)
		}
		if body, _ := io.ReadAll(res.Body); string(body) != "body" {
			t.Errorf("body %q", body)
		}
		res.Body.Close()
	}
}

// The same with a second agent whose origin is down and not yet known to be.
func TestAnotherAgentTakesWhatOneCannotConnect(t *testing.T) {
	w := newWorld(t, Grant{})
	w.run(w.agent("http://127.0.0.1:1"))
	w.run(w.agent(origin1(t, says("ok"))))
	w.ready(2)
	for range 6 {
		for _, c := range *w.hub.live.Load() {
			c.ill.Store(nil)
		}
		res, err := w.hub.RoundTrip(httptest.NewRequest("DELETE", "http://x/", nil))
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
	}
}

// An agent that leaves while requests come in loses none of them.
func TestAnAgentLeavesWithoutLosingARequest(t *testing.T) {
	w := newWorld(t, Grant{})
	backend := origin1(t, http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		time.Sleep(5 * time.Millisecond) // so that some are under way
		io.Copy(rw, r.Body)
	}))
	w.run(w.agent(backend))
	w.ready(1)
	var failed, done atomic.Int64
	ctx, cancel := context.WithCancel(t.Context())
	var work sync.WaitGroup
	for range 8 {
		work.Go(func() {
			for ctx.Err() == nil {
				res, err := w.hub.RoundTrip(httptest.NewRequest("POST", "http://x/", strings.NewReader("b")))
				if err != nil {
					t.Error(err)
					failed.Add(1)
					return
				}
				if b, err := io.ReadAll(res.Body); err != nil || string(b) != "b" {
					t.Errorf("%q, %v", b, err)
				}
				res.Body.Close()
				done.Add(1)
			}
		})
	}
	for range 10 {
		stop := w.run(w.agent(backend))
		w.ready(2)
		before := done.Load()
		until(t, "requests", func() bool { return done.Load() > before+20 || failed.Load() > 0 })
		stop()
		w.ready(1)
	}
	cancel()
	work.Wait()
}

// A token that a reload withdraws takes its agents with it; those with another
// stay, and so do those whose token the next configuration has, too.
func TestAWithdrawnTokenDropsItsAgents(t *testing.T) {
	w := newWorld(t, Grant{})
	second, err := w.hub.Allow(Grant{Tokens: []string{"new-token", "other-token"}})
	if err != nil {
		t.Fatal(err)
	}
	old, next := w.agent(origin1(t, says("old"))), w.agent(origin1(t, says("new")))
	next.Token = func() (string, error) { return "new-token", nil }
	w.run(old)
	w.run(next)
	w.ready(2)
	w.withdraw()
	w.ready(1)
	for range 4 {
		if _, body := w.get("/"); body != "new" {
			t.Errorf("answered by %q", body)
		}
	}
	third, err := w.hub.Allow(Grant{Tokens: []string{"new-token"}})
	if err != nil {
		t.Fatal(err)
	}
	before := (*w.hub.live.Load())[0]
	second()
	if live := *w.hub.live.Load(); len(live) != 1 || live[0] != before {
		t.Error("an agent was dropped whose token is still valid")
	}
	third()
	w.ready(0)
	if status, _ := w.handshake("new-token"); !strings.Contains(status, " 401 ") {
		t.Errorf("a withdrawn token: %s", status)
	}
}

// A connection that carries nothing any more, though nobody has closed it, is known
// on both sides within the two times of Timing: by default 8s.
func TestADeadPeerIsFoundByPings(t *testing.T) {
	if d := (Timing{}).withDefaults(0); d.PingAfter+d.PingTimeout > 9*time.Second {
		t.Errorf("a dead peer is found after %s", d.PingAfter+d.PingTimeout)
	}
	timing := quick
	timing.PingAfter, timing.PingTimeout = 300*time.Millisecond, 300*time.Millisecond
	timing.Status = time.Hour
	w := newWorldAt(t, Grant{}, timing)
	g := newGate(t, w.edge.Listener.Addr().String())
	a := w.agent(origin1(t, says("ok")))
	a.Edge = "https://" + g.addr()
	var log syncBuffer
	a.Logger = slog.New(slog.NewTextHandler(&log, nil))
	w.run(a)
	w.ready(1)
	began := time.Now()
	g.swallow()
	w.ready(0)
	until(t, "the agent's end", func() bool { return strings.Contains(log.String(), "the connection has ended") })
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("it took %s", took)
	}
}

// The edge may be behind several addresses; an agent serves them all.
func TestAnAgentConnectsToEveryAddress(t *testing.T) {
	w := newWorld(t, Grant{})
	_, port, _ := net.SplitHostPort(w.edge.Listener.Addr().String())
	l, err := net.Listen("tcp", "127.0.0.2:"+port)
	if err != nil {
		t.Fatal(err)
	}
	g := gateAt(t, l, w.edge.Listener.Addr().String())
	a := w.agent(origin1(t, says("ok")))
	a.Edge, a.Connections = "https://edge.test:"+port, 2
	var addrs atomic.Pointer[[]netip.Addr]
	addrs.Store(&[]netip.Addr{netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("127.0.0.2")})
	a.Resolve = func(_ context.Context, host string) ([]netip.Addr, error) {
		if host != "edge.test" {
			t.Errorf("resolves %q", host)
		}
		return *addrs.Load(), nil
	}
	w.run(a)
	w.ready(4)
	if n := g.count(); n != 2 {
		t.Errorf("%d connections to the second address, want 2", n)
	}
	if agents := w.hub.Agents(); len(agents) != 1 || agents[0].Connections != 4 {
		t.Errorf("agents %+v, want one with four connections", agents)
	}
}

func TestAnAgentPassesAnHTTPProxy(t *testing.T) {
	w := newWorld(t, Grant{})
	var asked atomic.Pointer[string]
	proxy := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodConnect {
			http.Error(rw, "no", 400)
			return
		}
		asked.Store(&r.Host)
		out, err := net.Dial("tcp", w.edge.Listener.Addr().String())
		if err != nil {
			return
		}
		in, _, _ := http.NewResponseController(rw).Hijack()
		io.WriteString(in, "HTTP/1.1 200 OK\r\n\r\n")
		go func() { io.Copy(out, in); out.Close() }()
		go func() { io.Copy(in, out); in.Close() }()
	}))
	t.Cleanup(func() { proxy.CloseClientConnections(); proxy.Close() })
	a := w.agent(origin1(t, says("ok")))
	a.Edge = "https://edge.test"
	a.Proxy = func(*http.Request) (*url.URL, error) { return url.Parse(proxy.URL) }
	a.Resolve = func(context.Context, string) ([]netip.Addr, error) { return nil, errors.New("the proxy resolves") }
	w.run(a)
	w.ready(1)
	if got := *asked.Load(); got != "edge.test:443" {
		t.Errorf("the proxy was asked for %q", got)
	}
	if status, body := w.get("/"); status != 200 || body != "ok" {
		t.Errorf("%d %q", status, body)
	}
}

func TestAnAgentShowsItsCertificate(t *testing.T) {
	w := newWorld(t, Grant{})
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	known := x509.NewCertPool()
	leaf, _ := x509.ParseCertificate(der)
	known.AddCert(leaf)
	w.edge.TLS.ClientAuth, w.edge.TLS.ClientCAs = tls.RequireAndVerifyClientCert, known
	backend := origin1(t, says("ok"))
	a := w.agent(backend)
	a.TLS.Certificates = []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}
	w.run(a)
	w.ready(1)
}

// An agent in the program that it serves.
func TestAnEmbeddedHandlerServes(t *testing.T) {
	w := newWorld(t, Grant{})
	a := w.agent("")
	a.Handler = says("embedded")
	w.run(a)
	w.ready(1)
	if status, body := w.get("/"); status != 200 || body != "embedded" {
		t.Errorf("%d %q", status, body)
	}
}

func TestWrongFieldsAreNamed(t *testing.T) {
	token := func() (string, error) { return secret, nil }
	for _, c := range []struct {
		a    Agent
		want string
	}{
		{Agent{}, "name is missing"},
		{Agent{Name: "office"}, "token is missing"},
		{Agent{Name: "office", Token: token, Edge: "http://edge.example.net"}, `the edge is "http://edge.example.net": expected`},
		{Agent{Name: "office", Token: token, Edge: "https://edge.example.net/x"}, "expected a URL such as"},
		{Agent{Name: "office", Token: token, Edge: "https://edge.example.net", To: "127.0.0.1:3000"}, "expected a URL"},
		{Agent{Name: "office", Token: token, Edge: "https://edge.example.net", To: "ftp://127.0.0.1"}, "http://, https:// or h2c://"},
		{Agent{Name: "office", Token: token, Edge: "https://edge.example.net", To: "http://127.0.0.1/path"}, "without a path"},
		{Agent{Name: "office", Token: token, Edge: "https://edge.example.net", To: "http://127.0.0.1", HealthURI: "up"}, "expected a path"},
		{Agent{Name: "office", Token: token, Edge: "https://edge.example.net", To: "h2c://127.0.0.1"}, ""},
	} {
		err := c.a.Check()
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%+v: %v, want %q", c.a, err, c.want)
		}
	}
}

// gate passes bytes on between an agent and the edge, until told otherwise.
type gate struct {
	l      net.Listener
	to     string
	mute   atomic.Bool
	mu     sync.Mutex
	conns  []net.Conn
	passed int
}

func newGate(t *testing.T, to string) *gate {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return gateAt(t, l, to)
}

func gateAt(t *testing.T, l net.Listener, to string) *gate {
	g := &gate{l: l, to: to}
	t.Cleanup(func() { l.Close(); g.cut() })
	go func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", to)
			if err != nil {
				in.Close()
				continue
			}
			g.mu.Lock()
			g.conns, g.passed = append(g.conns, in, out), g.passed+1
			g.mu.Unlock()
			go g.pass(in, out)
			go g.pass(out, in)
		}
	}()
	return g
}

func (g *gate) pass(to, from net.Conn) {
	for buf := make([]byte, 32<<10); ; {
		n, err := from.Read(buf)
		if g.mute.Load() {
			continue // read and lost, as on a cut line; the ends are left open
		}
		if err != nil {
			to.Close()
			return
		}
		to.Write(buf[:n])
	}
}

func (g *gate) addr() string { return g.l.Addr().String() }

// cut closes what is open; new connections pass.
func (g *gate) cut() {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, c := range g.conns {
		c.Close()
	}
	g.conns = nil
}

// swallow loses everything from now on, without closing anything.
func (g *gate) swallow() { g.l.Close(); g.mute.Store(true) }

func (g *gate) count() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.passed
}
