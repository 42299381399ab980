package caddyapoxy

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
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

	dto "github.com/prometheus/client_model/go"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
	"github.com/apoxy-dev/caddy-apoxy/hosts"
	"github.com/apoxy-dev/caddy-apoxy/target"
	"github.com/apoxy-dev/caddy-apoxy/tunnel"
)

// tunnelWorld is a world whose sites have the tunnel office, with an HTTPS site of
// the operator's own that agents connect to.
type tunnelWorld struct {
	world
	edge string // the HTTPS site's address
}

func newTunnelWorld(t *testing.T) tunnelWorld { return tunnelWorld{newWorld(t), freePort(t)} }

// config has the tunnel with these options.
func (w tunnelWorld) config(options string) string {
	base, _, _ := strings.Cut(w.caddyfile(), "http:// {")
	_, port, _ := net.SplitHostPort(w.edge)
	base = strings.Replace(base, "\tadmin off\n", "\tadmin off\n\tskip_install_trust\n", 1)
	block := "	apoxy {\n		tunnel office {\n			" + strings.ReplaceAll(options, "\n", "\n\t\t\t") + "\n		}\n	}\n}\n"
	return base + "http:// {\n	bind 127.0.0.1\n" + block +
		"https://edge.example.org:" + port + " {\n	bind 127.0.0.1\n	tls internal\n" + block
}

// agent runs an agent with a token until the test ends.
func (w tunnelWorld) agent(t *testing.T, token, to string) {
	t.Helper()
	_, port, _ := net.SplitHostPort(w.edge)
	a := &tunnel.Agent{
		Name: "office", Edge: "https://edge.example.org:" + port, To: to, Hostname: "desk", Version: "v1",
		Token: func() (string, error) { return token, nil },
		TLS:   &tls.Config{InsecureSkipVerify: true}, // the site's CA is made by the test's own Caddy
		Proxy: func(*http.Request) (*url.URL, error) { return nil, nil },
		Resolve: func(context.Context, string) ([]netip.Addr, error) {
			return []netip.Addr{netip.MustParseAddr("127.0.0.1")}, nil
		},
		Timing: tunnel.Timing{Check: 20 * time.Millisecond, RetryFirst: 10 * time.Millisecond, RetryMost: 50 * time.Millisecond, Drain: time.Second},
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- a.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

// verified makes shop.example.com a record of the tunnel's.
func (w tunnelWorld) verified(t *testing.T) {
	running(t).held.table.Set(hosts.Make(hosts.Values{Hostname: "shop.example.com", Name: "shop.example.com", Phase: v1alpha3.PhaseActive, Verified: true,
		Target: v1alpha3.TargetKey{Kind: v1alpha3.KindTunnel, Name: "office"}}))
}

func tunnelHealth(t *testing.T) target.Health {
	t.Helper()
	h, found := running(t).targets.Health(target.Ref{Kind: v1alpha3.KindTunnel, Name: "office"})
	if !found {
		t.Fatal("the tunnel is no target")
	}
	return h
}

func TestATunnelIsAsHealthyAsItsAgentsSay(t *testing.T) {
	w := newTunnelWorld(t)
	if err := load(t, w.config("token secret")); err != nil {
		t.Fatal(err)
	}
	w.verified(t)
	counted := func(outcome string) float64 {
		var m dto.Metric
		if err := requestsTotal.WithLabelValues(v1alpha3.KindTunnel, outcome).Write(&m); err != nil {
			t.Fatal(err)
		}
		return m.GetCounter().GetValue()
	}
	served, failed := counted("served"), counted("target_error")
	if h := tunnelHealth(t); h.Healthy || !strings.Contains(h.Message, "no agent is connected") {
		t.Errorf("without an agent: %+v", h)
	}
	r, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+w.web, nil)
	r.Host = "shop.example.com"
	res, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != http.StatusServiceUnavailable || res.Header.Get("Retry-After") == "" {
		t.Errorf("without an agent: %d, Retry-After %q", res.StatusCode, res.Header.Get("Retry-After"))
	}
	backend := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(rw, "%s for %s by %s", r.Host, r.Header.Get("X-Forwarded-For"), r.Header.Get("X-Forwarded-Proto"))
	}))
	w.agent(t, "secret", backend.URL)
	until(t, "health", func() bool { return tunnelHealth(t).Healthy })
	if h := tunnelHealth(t); !strings.Contains(h.Message, "1 agent is connected: desk (version v1, since ") || h.Unchecked {
		t.Errorf("with an agent: %+v", h)
	}
	if got := get(t, w.web, "shop.example.com"); got != "200 shop.example.com for 127.0.0.1 by http" {
		t.Errorf("answer %q", got)
	}
	backend.CloseClientConnections()
	backend.Close()
	until(t, "illness", func() bool {
		h := tunnelHealth(t)
		return !h.Healthy && strings.Contains(h.Message, "the backend does not answer")
	})
	if got := get(t, w.web, "shop.example.com"); got != "502 " {
		t.Errorf("without its origin: %q", got)
	}
	if s, f := counted("served")-served, counted("target_error")-failed; s != 1 || f != 2 {
		t.Errorf("%v requests are counted as served and %v as failed, want 1 and 2", s, f)
	}
}

// A reload keeps agents and drops no request; one that withdraws a token drops the
// agents that came with it, and those alone.
func TestReloadsKeepTheAgentsOfATunnel(t *testing.T) {
	w := newTunnelWorld(t)
	if err := load(t, w.config("token old")); err != nil {
		t.Fatal(err)
	}
	w.verified(t)
	backend := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) { io.Copy(rw, r.Body) }))
	t.Cleanup(func() { backend.CloseClientConnections(); backend.Close() })
	w.agent(t, "old", backend.URL)
	until(t, "both of the agent's connections", func() bool { return strings.HasSuffix(agentsOf(t), ": 2") })
	before := agentsOf(t)
	var stop atomic.Bool
	var done, lost atomic.Int64
	var work sync.WaitGroup
	for range 4 {
		work.Go(func() {
			for !stop.Load() {
				r, _ := http.NewRequest(http.MethodPost, "http://"+w.web, strings.NewReader("body"))
				r.Host = "shop.example.com"
				res, err := http.DefaultTransport.RoundTrip(r)
				if err != nil {
					continue // a listener that a reload gives up resets what it has not accepted
				}
				body, err := io.ReadAll(res.Body)
				res.Body.Close()
				if res.StatusCode != 200 || err != nil || string(body) != "body" {
					lost.Add(1)
				}
				done.Add(1)
			}
		})
	}
	for i := range 5 {
		if err := load(t, w.config(fmt.Sprintf("token old new\nmax_connections %d", 10+i))); err != nil {
			t.Fatal(err)
		}
		goal := done.Load() + 50
		until(t, "requests", func() bool { return done.Load() > goal })
	}
	stop.Store(true)
	work.Wait()
	if lost.Load() > 0 {
		t.Errorf("%d of %d requests lost", lost.Load(), done.Load())
	}
	if after := agentsOf(t); after != before {
		t.Errorf("agents %s, before the reloads %s", after, before)
	}
	if err := load(t, w.config("token new")); err != nil {
		t.Fatal(err)
	}
	until(t, "the end of the agent with the old token", func() bool { return agentsOf(t) == "" })
	if got := get(t, w.web, "shop.example.com"); got != notNow {
		t.Errorf("with no agent left: %q", got)
	}
	w.agent(t, "new", backend.URL)
	until(t, "the agent with the new token", func() bool { return tunnelHealth(t).Healthy })
}

// agentsOf tells the tunnel's agents and since when each is connected.
func agentsOf(t *testing.T) (all string) {
	t.Helper()
	h, err := joinHub("office", running(t).logger)
	if err != nil {
		t.Fatal(err)
	}
	defer leaveHub("office")
	for _, a := range h.Agents() {
		all += fmt.Sprintf("%s since %d: %d", a.ID, a.Since.UnixNano(), a.Connections)
	}
	return all
}

// Agents come to any hostname, but over TLS alone; a name that is no tunnel's here
// is told what a wrong token is.
func TestAgentsComeToAnyHostnameOverTLS(t *testing.T) {
	w := newTunnelWorld(t)
	if err := load(t, w.config("token secret")); err != nil {
		t.Fatal(err)
	}
	secure := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true, ServerName: "edge.example.org"}}
	defer secure.CloseIdleConnections()
	for _, c := range []struct {
		url, host, name, token string
		want                   int
	}{
		{"https://" + w.edge, "edge.example.org", "office", "secret", 101},
		{"https://" + w.edge, "edge.example.org", "office", "wrong", 401},
		{"https://" + w.edge, "edge.example.org", "other", "secret", 401},
		{"http://" + w.web, "nobody.example.com", "office", "secret", 403},
	} {
		r, _ := http.NewRequest(http.MethodGet, c.url+tunnel.PathPrefix+c.name, nil)
		r.Host = c.host
		r.Header = http.Header{"Connection": {"Upgrade"}, "Upgrade": {tunnel.Protocol}, "Authorization": {"Bearer " + c.token}}
		var res *http.Response
		var err error
		until(t, "an answer", func() bool { res, err = secure.RoundTrip(r); return err == nil })
		res.Body.Close()
		if res.StatusCode != c.want {
			t.Errorf("%+v: %d", c, res.StatusCode)
		}
	}
}

// The transport leads any reverse_proxy to the agents, and a tunnel's name, tokens
// and options are looked at when a configuration is loaded.
func TestWrongTunnelsAreRefused(t *testing.T) {
	w := newTunnelWorld(t)
	for options, want := range map[string]string{
		"token {env.NO_SUCH_VARIABLE}": "NO_SUCH_VARIABLE",
		`token "two words"`:            "printable ASCII",
	} {
		if err := load(t, w.config(options)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", options, err, want)
		}
		if _, there := hubs.References("office"); there {
			t.Errorf("%s: the tunnel outlives a configuration that was refused", options)
		}
	}
	name := strings.ReplaceAll(w.config("token secret"), "tunnel office", `tunnel "front office"`)
	if err := load(t, name); err == nil || !strings.Contains(err.Error(), "letters, digits") {
		t.Errorf("a name with a space: %v", err)
	}
}
