package caddyapoxy

import (
	"context"
	"crypto/tls"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
	"github.com/apoxy-dev/caddy-apoxy/hosts"
	"github.com/apoxy-dev/caddy-apoxy/target"
)

// cameFrom is r as Caddy hands it on from a peer that is a trusted proxy or not.
func cameFrom(r *http.Request, trusted bool) *http.Request {
	vars := map[string]any{caddyhttp.TrustedProxyVarKey: trusted}
	return r.WithContext(context.WithValue(r.Context(), caddyhttp.VarsCtxKey, vars))
}

func TestWhetherTheClientCameByTLS(t *testing.T) {
	for _, c := range []struct {
		name    string
		said    []string // X-Forwarded-Proto
		trusted bool
		tls     bool
		want    bool
	}{
		{"plain HTTP", nil, false, false, false},
		{"TLS", nil, false, true, true},
		{"a client that claims https", []string{"https"}, false, false, false},
		{"a client that claims http over TLS", []string{"http"}, false, true, true},
		{"a trusted proxy that ended TLS", []string{"https"}, true, false, true},
		{"a trusted proxy that writes it in capitals", []string{"HTTPS"}, true, false, true},
		{"a trusted proxy that ended TLS for a WebSocket", []string{"wss"}, true, false, true},
		{"a trusted proxy whose client came by plain HTTP", []string{"http"}, true, false, false},
		{"a trusted proxy that took plain HTTP to us by TLS", []string{"http"}, true, true, false},
		{"a trusted proxy that took a plain WebSocket to us by TLS", []string{"ws"}, true, true, false},
		{"a trusted proxy that says nothing", nil, true, false, false},
		{"a trusted proxy that says nothing, by TLS", nil, true, true, true},
		{"a trusted proxy that says nothing of sense", []string{"spdy"}, true, false, false},
		{"a trusted proxy that says nothing of sense, by TLS", []string{""}, true, true, true},
		{"a trusted proxy that appends to what another said", []string{"https, http"}, true, false, true},
		{"a trusted proxy that adds a field to the client's", []string{"https", "http"}, true, false, false},
	} {
		r := httptest.NewRequest(http.MethodGet, "http://host0.example.com/", nil)
		if c.tls {
			r.TLS = new(tls.ConnectionState)
		}
		if c.said != nil {
			r.Header["X-Forwarded-Proto"] = c.said
		}
		if got := overTLS(r, fromTrustedProxy(cameFrom(r, c.trusted))); got != c.want {
			t.Errorf("%s: by TLS is %v", c.name, got)
		}
	}
	if fromTrustedProxy(httptest.NewRequest(http.MethodGet, "/", nil)) {
		t.Error("a request of which nothing is known comes from a trusted proxy")
	}
}

// The server name of a trusted proxy's own connection says nothing of the
// client; anybody else's has to be that of the host.
func TestServerNameIsTheClientsOwn(t *testing.T) {
	nothing := does(func(http.ResponseWriter, *http.Request) error { return nil })
	h := newTestHandler(2, nothing)
	for _, c := range []struct {
		name    string
		server  string
		host    string
		trusted bool
		status  int
	}{
		{"the host's own", "host0.example.com", "host0.example.com", false, 0},
		{"another host's", "host1.example.com", "host0.example.com", false, 421},
		{"another host's, from a trusted proxy", "host1.example.com", "host0.example.com", true, 0},
		{"one of no record, from a trusted proxy", "edge.internal", "host0.example.com", true, 0},
		{"a host that has no record, from a trusted proxy", "host0.example.com", "unknown.example.com", true, 421},
	} {
		r := httptest.NewRequest(http.MethodGet, "https://"+c.host+"/", nil)
		r.TLS = &tls.ConnectionState{ServerName: c.server}
		err := h.ServeHTTP(httptest.NewRecorder(), cameFrom(r, c.trusted), nil)
		var refused caddyhttp.HandlerError
		errors.As(err, &refused)
		if refused.StatusCode != c.status {
			t.Errorf("%s: %v, want status %d", c.name, err, c.status)
		}
	}
}

func TestFinalDotIsTakenOutOfTheHost(t *testing.T) {
	for host, want := range map[string]string{
		"host0.example.com":       "host0.example.com",
		"host0.example.com.":      "host0.example.com",
		"host0.example.com:8080":  "host0.example.com:8080",
		"host0.example.com.:8080": "host0.example.com:8080",
		"HOST0.example.com.":      "HOST0.example.com", // the case is the client's
	} {
		r := httptest.NewRequest(http.MethodGet, "http://host0.example.com/", nil)
		r.Host = host
		r.Header["X-Forwarded-Host"] = []string{"other", host}
		var seen *http.Request
		h := newTestHandler(1, does(func(_ http.ResponseWriter, r *http.Request) error { seen = r; return nil }))
		if err := h.ServeHTTP(httptest.NewRecorder(), r, nil); err != nil {
			t.Fatalf("%s: %v", host, err)
		}
		if seen.Host != want || !slices.Equal(seen.Header["X-Forwarded-Host"], []string{"other", want}) {
			t.Errorf("%s: the target sees Host %q and X-Forwarded-Host %q, want %q", host, seen.Host, seen.Header["X-Forwarded-Host"], want)
		}
		if r.Host != want {
			t.Errorf("%s: placeholders see %q, want %q", host, r.Host, want)
		}
	}
}

// handle_errors is told of the record, whatever is wrong with the request.
func TestPlaceholdersAreThereForErrors(t *testing.T) {
	broken := does(func(http.ResponseWriter, *http.Request) error { return errors.New("broken") })
	for _, c := range []struct {
		name string
		host hosts.Values
		sni  string
		defs []target.Target
	}{
		{"not verified", hosts.Values{Phase: v1alpha3.PhaseDetached}, "", []target.Target{broken}},
		{"another host's server name", hosts.Values{Verified: true}, "other.example.com", []target.Target{broken}},
		{"no such target", hosts.Values{Verified: true}, "", nil},
		{"a target that fails", hosts.Values{Verified: true}, "", []target.Target{broken}},
	} {
		h := newTestHandler(0, c.defs...)
		c.host.Hostname, c.host.Name, c.host.UID = "shop.example.com", "shop", "u-1"
		c.host.Target = v1alpha3.TargetKey{Kind: v1alpha3.KindGateway, Name: "default"}
		rt := openTestRuntime(t, zap.NewNop())
		rt.table.Set(hosts.Make(c.host))
		h.app.rt.Store(rt)
		r := httptest.NewRequest(http.MethodGet, "https://shop.example.com/", nil)
		r.TLS = &tls.ConnectionState{ServerName: c.sni}
		repl := caddy.NewReplacer()
		r = r.WithContext(context.WithValue(r.Context(), caddy.ReplacerCtxKey, repl))
		if err := h.ServeHTTP(httptest.NewRecorder(), r, nil); err == nil {
			t.Errorf("%s: no error", c.name)
		}
		if got := repl.ReplaceAll("{apoxy.record.name} {apoxy.target.name}", "?"); got != "shop default" {
			t.Errorf("%s: the placeholders give %q, want %q", c.name, got, "shop default")
		}
	}
}
