package tunnel

import (
	"bufio"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/textproto"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func TestARequestArrivesAsTheClientSentIt(t *testing.T) {
	w := newWorld(t, Grant{})
	w.serve(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("X-Path", r.URL.EscapedPath()+"?"+r.URL.RawQuery)
		rw.Header()["Content-Type"] = nil
		rw.WriteHeader(http.StatusTeapot)
		fmt.Fprintf(rw, "%s %s %q %v", r.Method, r.Host, r.UserAgent(), r.Header["X-Many"])
	}))
	r, _ := http.NewRequest("PATCH", w.edge.URL+"/a%2Fb//c?x=%20y", strings.NewReader("z"))
	r.Host = "shop.example.com"
	r.Header["X-Many"] = []string{"1", "2"}
	r.Header["User-Agent"] = []string{""}
	res, err := w.client2().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(res.Body)
	if got, want := fmt.Sprintf("%d %s %s", res.StatusCode, body, res.Header.Get("X-Path")), `418 PATCH shop.example.com "" [1 2] /a%2Fb//c?x=%20y`; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// What means something inside the tunnel is neither let in from outside nor let out.
func TestNobodyOutsideSpeaksToTheAgent(t *testing.T) {
	w := newWorld(t, Grant{})
	w.serve(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		for _, k := range inner {
			rw.Header().Set(k, "dial")
			if r.Header.Get(k) != "" {
				fmt.Fprintf(rw, "%s arrived; ", k)
			}
		}
		io.WriteString(rw, "ok")
	}))
	r, _ := http.NewRequest("GET", w.edge.URL, nil)
	for _, k := range inner {
		r.Header.Set(k, "websocket")
	}
	res, err := w.client1().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(res.Body)
	if res.StatusCode != 200 || string(body) != "ok" {
		t.Errorf("%d %q", res.StatusCode, body)
	}
	for k := range res.Header {
		if strings.HasPrefix(k, "Apoxy-") {
			t.Errorf("%s left the tunnel", k)
		}
	}
}

func TestLargeBodiesArriveWholeAtASlowReader(t *testing.T) {
	const size = 64 << 20
	w := newWorld(t, Grant{})
	var got string
	w.serve(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPut {
			sum := sha256.New()
			n, err := io.Copy(sum, slowly{r.Body})
			got = fmt.Sprint(n, err, hex.EncodeToString(sum.Sum(nil)))
			return
		}
		io.Copy(rw, random(size))
	}))
	sum := sha256.New()
	io.Copy(sum, random(size))
	want := fmt.Sprint(size, error(nil), hex.EncodeToString(sum.Sum(nil)))
	r, _ := http.NewRequest(http.MethodPut, w.edge.URL, random(size))
	res, err := w.client1().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if got != want {
		t.Errorf("up: %s, want %s", got, want)
	}
	res, err = w.client2().Get(w.edge.URL)
	if err != nil {
		t.Fatal(err)
	}
	sum.Reset()
	n, err := io.Copy(sum, slowly{res.Body})
	if got := fmt.Sprint(n, err, hex.EncodeToString(sum.Sum(nil))); got != want {
		t.Errorf("down: %s, want %s", got, want)
	}
}

// A reader that stops leaves the other streams of the connection alone.
func TestAStalledReaderStopsNobodyElse(t *testing.T) {
	w := newWorld(t, Grant{})
	w.serve(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/large" {
			io.Copy(rw, random(64<<20))
		}
		io.WriteString(rw, "ok")
	}))
	for range 20 {
		res, err := w.hub.RoundTrip(httptest.NewRequest("GET", "http://x/large", nil))
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
	}
	if status, body := w.get("/"); status != 200 || body != "ok" {
		t.Errorf("%d %q", status, body)
	}
}

func TestAThousandRequestsAtOnce(t *testing.T) {
	const n = 1000
	w := newWorld(t, Grant{})
	var all sync.WaitGroup
	all.Add(n)
	a := w.agent(origin1(t, http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		all.Done()
		all.Wait() // answers nobody before all are here
		io.WriteString(rw, r.URL.Path)
	})))
	a.Connections = 2
	w.run(a)
	w.ready(2)
	var work sync.WaitGroup
	for i := range n {
		work.Go(func() {
			path := fmt.Sprintf("/%d", i)
			res, err := w.hub.RoundTrip(httptest.NewRequest("GET", "http://x"+path, nil))
			if err != nil {
				t.Error(err)
				return
			}
			defer res.Body.Close()
			if body, _ := io.ReadAll(res.Body); string(body) != path {
				t.Errorf("%s: %q", path, body)
			}
		})
	}
	work.Wait()
	if n := w.hub.streams.Load(); n != 0 {
		t.Errorf("%d requests are still counted", n)
	}
}

// A WebSocket handshake, or any other, and then bytes both ways.
func TestUpgradesSpeakBothWays(t *testing.T) {
	w := newWorld(t, Grant{})
	w.serve(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") != "websocket" || r.Header.Get("Sec-Websocket-Key") != "k" {
			http.Error(rw, "no", http.StatusUpgradeRequired)
			return
		}
		c, brw, _ := http.NewResponseController(rw).Hijack()
		defer c.Close()
		io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: a\r\n\r\n")
		for {
			line, err := brw.ReadString('\n')
			if err != nil {
				return
			}
			io.WriteString(c, "echo "+line)
		}
	}))
	dial := func(upgrade string) (*bufio.Reader, net.Conn) {
		c, err := tls.Dial("tcp", w.edge.Listener.Addr().String(), &tls.Config{RootCAs: w.pool(), ServerName: "example.com"})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		c.SetDeadline(time.Now().Add(20 * time.Second))
		io.WriteString(c, "GET /chat HTTP/1.1\r\nHost: shop.example.com\r\nConnection: Upgrade\r\nUpgrade: "+upgrade+"\r\nSec-WebSocket-Key: k\r\n\r\n")
		return bufio.NewReader(c), c
	}
	r, c := dial("websocket")
	head, err := textproto.NewReader(r).ReadLine()
	if err != nil || head != "HTTP/1.1 101 Switching Protocols" {
		t.Fatalf("%q, %v", head, err)
	}
	header, err := textproto.NewReader(r).ReadMIMEHeader()
	if err != nil || header.Get("Upgrade") != "websocket" || header.Get("Sec-WebSocket-Accept") != "a" {
		t.Fatalf("%v, %v", header, err)
	}
	for range 3 {
		io.WriteString(c, "hello\n")
		if line, err := r.ReadString('\n'); err != nil || line != "echo hello\n" {
			t.Fatalf("%q, %v", line, err)
		}
	}
	c.Close()
	until(t, "the stream's end", func() bool { return w.hub.streams.Load() == 0 })
	r, _ = dial("other")
	if head, err := textproto.NewReader(r).ReadLine(); err != nil || !strings.HasPrefix(head, "HTTP/1.1 426 ") {
		t.Errorf("a refused upgrade: %q, %v", head, err)
	}
}

func TestEventsArriveWhenTheyAreSent(t *testing.T) {
	w := newWorld(t, Grant{})
	next := make(chan string)
	var handlers atomic.Int64
	w.serve(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		handlers.Add(1)
		defer handlers.Add(-1)
		rw.Header().Set("Content-Type", "text/event-stream")
		for {
			select {
			case e := <-next:
				fmt.Fprintf(rw, "data: %s\n\n", e)
				http.NewResponseController(rw).Flush()
			case <-r.Context().Done():
				return
			}
		}
	}))
	for _, c := range []*http.Client{w.client1(), w.client2()} {
		done := make(chan struct{})
		go func() {
			defer close(done)
			res, err := c.Get(w.edge.URL)
			if err != nil {
				t.Error(err)
				return
			}
			defer res.Body.Close()
			defer c.CloseIdleConnections()
			lines := bufio.NewScanner(res.Body)
			for _, want := range []string{"one", "two"} {
				// The next event is sent once the last one has been read.
				for lines.Scan() && lines.Text() != "data: "+want {
				}
				if want == "one" {
					next <- "two"
				}
			}
		}()
		next <- "one"
		select {
		case <-done:
			until(t, "the request's end", func() bool { return handlers.Load() == 0 })
		case <-time.After(20 * time.Second):
			t.Fatal("the events did not arrive")
		}
	}
}

func TestTrailersGoBothWays(t *testing.T) {
	w := newWorld(t, Grant{})
	w.serve(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("Trailer", "X-Announced")
		io.Copy(io.Discard, r.Body)
		io.WriteString(rw, "body")
		rw.Header().Set("X-Announced", r.Trailer.Get("X-Up"))
		rw.Header().Set(http.TrailerPrefix+"X-Sudden", "yes")
	}))
	for name, c := range map[string]*http.Client{"HTTP/1.1": w.client1(), "HTTP/2": w.client2()} {
		r, _ := http.NewRequest("POST", w.edge.URL, io.NopCloser(strings.NewReader("up")))
		r.Trailer = http.Header{"X-Up": {"sum"}}
		res, err := c.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		io.Copy(io.Discard, res.Body)
		if res.Trailer.Get("X-Announced") != "sum" || res.Trailer.Get("X-Sudden") != "yes" {
			t.Errorf("%s: trailers %v", name, res.Trailer)
		}
	}
}

// The backend sees the expectation, and what it answers decides whether the body
// is sent.
func TestTheBackendDecidesWhetherToContinue(t *testing.T) {
	w := newWorld(t, Grant{})
	w.serve(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Expect") != "100-continue" {
			http.Error(rw, "no expectation", 400)
			return
		}
		if r.URL.Path == "/refuse" {
			rw.WriteHeader(http.StatusExpectationFailed)
			return
		}
		n, _ := io.Copy(io.Discard, r.Body)
		fmt.Fprint(rw, n)
	}))
	for _, c := range []struct {
		path      string
		status    int
		continued bool
	}{{"/take", 200, true}, {"/refuse", 417, false}} {
		continued, read := false, &tell{Reader: strings.NewReader("body")}
		r, _ := http.NewRequest("POST", w.edge.URL+c.path, read)
		r.ContentLength = 4
		r.Header.Set("Expect", "100-continue")
		r = r.WithContext(httptrace.WithClientTrace(r.Context(), &httptrace.ClientTrace{Got100Continue: func() { continued = true }}))
		res, err := w.client1().Do(r)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode != c.status || continued != c.continued || read.told != c.continued {
			t.Errorf("%s: %d, continued %v, body read %v", c.path, res.StatusCode, continued, read.told)
		}
	}
}

func TestEarlyHintsPass(t *testing.T) {
	w := newWorld(t, Grant{})
	w.serve(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Link", "</a.css>; rel=preload")
		rw.WriteHeader(http.StatusEarlyHints)
		rw.Header().Del("Link")
		io.WriteString(rw, "ok")
	}))
	var hint string
	ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
		hint = fmt.Sprint(code, h.Get("Link"))
		return nil
	}})
	r, _ := http.NewRequestWithContext(ctx, "GET", w.edge.URL, nil)
	res, err := w.client2().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if hint != "103</a.css>; rel=preload" || res.Header.Get("Link") != "" {
		t.Errorf("hint %q, then %v", hint, res.Header)
	}
}

// As gRPC does: HTTP/2 without TLS to the backend, messages both ways at once,
// the status in a trailer.
func TestBothSidesStreamAtOnceToAnHTTP2Backend(t *testing.T) {
	w := newWorld(t, Grant{})
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("Trailer", "Grpc-Status")
		rw.Header().Set("Content-Type", "application/grpc")
		flush := http.NewResponseController(rw)
		flush.Flush()
		for buf := make([]byte, 4); ; {
			if _, err := io.ReadFull(r.Body, buf); err != nil {
				break
			}
			rw.Write(append([]byte("re:"), buf...))
			flush.Flush()
		}
		rw.Header().Set("Grpc-Status", fmt.Sprint(r.ProtoMajor, r.Header.Get("Te")))
	}))
	s.Config.Protocols = h2only()
	s.Start()
	t.Cleanup(s.Close)
	w.run(w.agent("h2c://" + s.Listener.Addr().String()))
	w.ready(1)
	body, up := io.Pipe()
	r, _ := http.NewRequest("POST", w.edge.URL, body)
	r.Header.Set("Te", "trailers")
	res, err := w.client2().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	for range 3 {
		io.WriteString(up, "ping")
		got := make([]byte, 7)
		if _, err := io.ReadFull(res.Body, got); err != nil || string(got) != "re:ping" {
			t.Fatalf("%q, %v", got, err)
		}
	}
	up.Close()
	io.Copy(io.Discard, res.Body)
	if got := res.Trailer.Get("Grpc-Status"); got != "2trailers" {
		t.Errorf("trailer %q", got)
	}
}

func TestAnHTTPSBackendIsVerified(t *testing.T) {
	w := newWorld(t, Grant{})
	s := httptest.NewUnstartedServer(says("secure"))
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	t.Cleanup(s.Close)
	a := w.agent(s.URL)
	stop := w.run(a)
	w.ready(1)
	if status, _ := w.get("/"); status != http.StatusBadGateway {
		t.Errorf("a backend with an unknown certificate: %d", status)
	}
	stop()
	w.ready(0)
	a = w.agent(s.URL)
	a.OriginTLS = &tls.Config{RootCAs: w.pool()} // httptest has one certificate for all
	w.run(a)
	w.ready(1)
	if status, body := w.get("/"); status != 200 || body != "secure" {
		t.Errorf("%d %q", status, body)
	}
}

// A client that goes away ends its request at the backend, and no other.
func TestAClientThatLeavesEndsItsRequest(t *testing.T) {
	w := newWorld(t, Grant{})
	began, ended := make(chan struct{}), make(chan struct{})
	w.serve(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/long" {
			close(began)
			<-r.Context().Done()
			close(ended)
		}
	}))
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		r, _ := http.NewRequestWithContext(ctx, "GET", w.edge.URL+"/long", nil)
		w.client2().Do(r)
	}()
	<-began
	cancel()
	select {
	case <-ended:
	case <-time.After(15 * time.Second):
		t.Error("the backend still works for nobody")
	}
	if status, _ := w.get("/"); status != 200 {
		t.Errorf("the next request: %d", status)
	}
}

// An answer that breaks off does not look whole.
func TestABrokenAnswerIsNoWholeOne(t *testing.T) {
	w := newWorld(t, Grant{})
	w.serve(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		io.WriteString(rw, "half")
		http.NewResponseController(rw).Flush()
		panic(http.ErrAbortHandler)
	}))
	res, err := w.client2().Get(w.edge.URL)
	if err != nil {
		t.Fatal(err)
	}
	if body, err := io.ReadAll(res.Body); err == nil {
		t.Errorf("read %q without an error", body)
	}
}

// slowly hands out little at a time.
type slowly struct{ r io.Reader }

func (s slowly) Read(p []byte) (int, error) {
	if rand.IntN(64) == 0 {
		time.Sleep(time.Millisecond)
	}
	return s.r.Read(p[:min(len(p), 16<<10)])
}

// random is the same n bytes each time.
func random(n int64) io.Reader {
	return io.LimitReader(rand.NewChaCha8([32]byte{1}), n)
}

// tell says whether it was read.
type tell struct {
	io.Reader
	told bool
}

func (r *tell) Read(p []byte) (int, error) { r.told = true; return r.Reader.Read(p) }
