package e2e

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/textproto"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/apoxy-dev/caddy-apoxy/e2e/testnet"
)

// A backend that nobody can reach from outside serves a customer's domain, with a
// certificate of ours, through the agent beside it; TargetReady says so, and why
// not while it does not.
func TestATunnelServesACustomersDomain(t *testing.T) {
	n := network(t)
	p := start(t, n, settings{})
	p.reconfigure(t, "proxy api {", "tunnel office {\n\t\t\ttoken first-secret\n\t\t}\n\t\tproxy api {")
	customer := customer(t, n, "tunnel")
	host := "shop." + customer.name
	created := p.create(t, host, true, func(spec map[string]any) {
		spec["target"] = map[string]any{"ref": map[string]any{"group": "gateway.apoxy.dev", "kind": "Tunnel", "name": "office"}}
	})
	customer.set(t, created.line(t, "Traffic"), created.line(t, "ACMEChallenge"))
	p.await(t, host, 60*time.Second, "the certificate", is("TLSReady=True", "TargetReady=False/TargetUnhealthy", "Ready=False/TargetUnhealthy"))
	if answer := p.ask(t, "https", host, host); answer.StatusCode != http.StatusServiceUnavailable || answer.Header.Get("Retry-After") == "" {
		t.Errorf("without an agent: %d with Retry-After %q, want 503 with one", answer.StatusCode, answer.Header.Get("Retry-After"))
	}

	backend := newBackend(t)
	token, root := filepath.Join(p.dir, "token"), filepath.Join(p.dir, "root.pem")
	for file, content := range map[string][]byte{token: []byte("first-secret\n"), root: p.ca.RootPEM} {
		if err := os.WriteFile(file, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	// The customer's own hostname is an HTTPS site that has the tunnel.
	agent, err := testnet.Spawn("tunnel-agent", nil, testnet.Program("caddy"), "apoxy", "tunnel", "office",
		"--edge", "https://"+host, "--token-file", token, "--ca", root, "--to", "http://"+backend.addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the agent's log ends:\n%s", agent.Tail(4000))
		}
		agent.Kill()
	})
	ready := func() record {
		return p.await(t, host, 30*time.Second, "the agent", is("TargetReady=True/TargetHealthy", "Ready=True"))
	}
	if message := ready().condition("TargetReady").Message; !strings.Contains(message, "1 agent is connected: ") || !strings.Contains(message, "round trip") {
		t.Errorf("the message is %q", message)
	}

	t.Run("a WebSocket speaks both ways", func(t *testing.T) {
		c, err := tls.Dial("tcp", testnet.ProductAddr+":443", &tls.Config{RootCAs: pool(p.ca.RootPEM), ServerName: host})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if err := c.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(c, "GET /echo HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", host)
		r := textproto.NewReader(bufio.NewReader(c))
		if line, err := r.ReadLine(); err != nil || !strings.Contains(line, " 101 ") {
			t.Fatalf("answered %q, %v", line, err)
		}
		if _, err := r.ReadMIMEHeader(); err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(c, "hello\n")
		if line, err := r.ReadLine(); err != nil || line != "hello" {
			t.Errorf("read %q, %v", line, err)
		}
	})
	t.Run("a reload drops no request", func(t *testing.T) { p.postThroughReloads(t, host) })
	t.Run("the origin is watched", func(t *testing.T) {
		backend.stop(t)
		r := p.await(t, host, 30*time.Second, "the origin's end", is("TargetReady=False/TargetUnhealthy", "OwnershipVerified=True", "phase=Active"))
		if message := r.condition("TargetReady").Message; !strings.Contains(message, "the backend does not answer") {
			t.Errorf("the message is %q", message)
		}
		backend.start(t)
		ready()
	})
	t.Run("a withdrawn token drops its agent, a new one in its file lets it in", func(t *testing.T) {
		p.reconfigure(t, "token first-secret", "token second-secret")
		p.await(t, host, 30*time.Second, "the agent's end", is("TargetReady=False/TargetUnhealthy"))
		if err := os.WriteFile(token, []byte("second-secret\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		ready()
	})
	if err := agent.Stop(20 * time.Second); err != nil {
		t.Errorf("stopping the agent: %v", err)
	}
	p.await(t, host, 30*time.Second, "the agent's leaving", is("TargetReady=False/TargetUnhealthy"))
}

// postThroughReloads sends requests that are not sent again by anybody, over
// connections that live, while the configuration is loaded three times.
func (p *product) postThroughReloads(t *testing.T, host string) {
	ctx, cancel := context.WithCancel(t.Context())
	var sent, lost atomic.Int64
	done := make(chan struct{})
	go func() {
		defer close(done)
		transport := &http.Transport{
			TLSClientConfig: &tls.Config{RootCAs: pool(p.ca.RootPEM), ServerName: host},
			DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
				return new(net.Dialer).DialContext(ctx, network, testnet.ProductAddr+":443")
			},
		}
		defer transport.CloseIdleConnections()
		for ctx.Err() == nil {
			req, err := http.NewRequest(http.MethodPost, "https://"+host+"/", strings.NewReader("body"))
			if err != nil {
				t.Error(err)
				return
			}
			answer, err := transport.RoundTrip(req)
			if err != nil {
				continue // a connection that the server's end cut before it took the request
			}
			body, err := io.ReadAll(answer.Body)
			answer.Body.Close()
			if sent.Add(1); err != nil || answer.StatusCode != http.StatusOK || string(body) != "body" {
				lost.Add(1)
				t.Errorf("answered %d %q, %v", answer.StatusCode, body, err)
			}
		}
	}()
	for range 3 {
		if err := p.reload(t.Context()); err != nil {
			t.Error(err)
		}
		goal := sent.Load() + 20
		eventually(t, 20*time.Second, "requests after a reload", func() error {
			if sent.Load() < goal {
				return fmt.Errorf("%d of %d were answered", sent.Load(), goal)
			}
			return nil
		})
	}
	cancel()
	<-done
	if lost.Load() > 0 {
		t.Errorf("%d of %d requests were lost", lost.Load(), sent.Load())
	}
}

// backend is an origin that echoes and can be taken away.
type backend struct {
	addr    string
	server  *http.Server
	handler http.Handler // nil: it echoes
}

func newBackend(t *testing.T) *backend {
	b := &backend{addr: "127.0.0.1:0"}
	b.start(t)
	t.Cleanup(func() { b.server.Close() })
	return b
}

func (b *backend) start(t *testing.T) {
	t.Helper()
	l, err := net.Listen("tcp", b.addr)
	if err != nil {
		t.Fatal(err)
	}
	b.addr = l.Addr().String()
	b.server = &http.Server{Handler: b.handler}
	if b.handler == nil {
		b.server.Handler = http.HandlerFunc(echo)
	}
	go func() { _ = b.server.Serve(l) }() // ends with the server
}

func (b *backend) stop(t *testing.T) {
	if err := b.server.Close(); err != nil {
		t.Error(err)
	}
}

func echo(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Upgrade") == "" {
		_, _ = io.Copy(w, r.Body)
		return
	}
	c, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	defer c.Close()
	_, _ = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
	_, _ = io.Copy(c, c)
}
