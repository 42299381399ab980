package e2e

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/apoxy-dev/caddy-apoxy/e2e/testnet"
)

// What a request gets once its record is proven, and what it never gets.
func TestServingFollowsTheRecord(t *testing.T) {
	n := network(t)
	p := start(t, n, settings{})
	customer := customer(t, n, "serving")
	first, second := "first."+customer.name, "second."+customer.name
	backed, astray := "backed."+customer.name, "astray."+customer.name
	moved, www := "moved."+customer.name, "www."+customer.name
	target := func(kind, name string) func(map[string]any) {
		return func(spec map[string]any) {
			spec["target"] = map[string]any{"ref": map[string]any{"group": "gateway.apoxy.dev", "kind": kind, "name": name}}
		}
	}
	redirect := func(spec map[string]any) {
		spec["target"] = map[string]any{"redirect": map[string]any{"hostname": www, "statusCode": 301}}
	}
	records := []string{
		p.create(t, moved, true, redirect).line(t, "ACMEChallenge"),
		p.create(t, first, true).line(t, "ACMEChallenge"),
		p.create(t, second, true).line(t, "ACMEChallenge"),
		p.create(t, backed, false, target("Proxy", "api")).line(t, "Traffic"),
		p.create(t, astray, false, target("Gateway", "nowhere")).line(t, "Traffic"),
	}
	customer.set(t, records...)
	for _, host := range []string{first, second} {
		p.await(t, host, 30*time.Second, "the certificate", is("TLSReady=True", "OwnershipVerified=True"))
	}
	p.await(t, backed, 30*time.Second, "Ready", is("Ready=True", "TargetReady=True/TargetHealthy"))
	p.await(t, astray, 30*time.Second, "the proof", is("phase=Active", "OwnershipVerified=True", "TargetReady=False/TargetNotFound", "Ready=False/TargetNotFound"))

	p.await(t, moved, 30*time.Second, "the certificate of a redirect", is("phase=Active", "TLSReady=True", "OwnershipVerified=True", "TargetReady=True/TargetHealthy"))

	t.Run("a redirect leads on under its own certificate, the query kept", func(t *testing.T) {
		answer := p.ask(t, "https", moved, moved)
		if got, want := answer.Header.Get("Location"), "https://"+www+"/page?q=1"; answer.StatusCode != http.StatusMovedPermanently || got != want {
			t.Errorf("answered %d to %q, want 301 to %q", answer.StatusCode, got, want)
		}
		answer = p.ask(t, "http", moved, moved)
		if got, want := answer.Header.Get("Location"), "https://"+moved+"/page?q=1"; answer.StatusCode != http.StatusPermanentRedirect || got != want {
			t.Errorf("plain HTTP is answered %d to %q, want 308 to %q", answer.StatusCode, got, want)
		}
	})
	t.Run("plain HTTP is redirected for good once TLS is ready", func(t *testing.T) {
		answer := p.ask(t, "http", first, first)
		if got, want := answer.Header.Get("Location"), "https://"+first+"/page?q=1"; answer.StatusCode != http.StatusPermanentRedirect || got != want {
			t.Errorf("answered %d to %q, want 308 to %q", answer.StatusCode, got, want)
		}
	})
	t.Run("handlers see the record", func(t *testing.T) {
		answer := p.ask(t, "https", first, first)
		if got := answer.Header.Get("X-Hostname"); answer.StatusCode != http.StatusOK || got != first {
			t.Errorf("answered %d with X-Hostname %q, want 200 with %q", answer.StatusCode, got, first)
		}
	})
	t.Run("another host on a host's connection is misdirected", func(t *testing.T) {
		if answer := p.ask(t, "https", first, second); answer.StatusCode != http.StatusMisdirectedRequest {
			t.Errorf("answered %d, want 421", answer.StatusCode)
		}
	})
	t.Run("a proxy target is reached", func(t *testing.T) {
		if status, body, err := p.plain(t.Context(), backed); err != nil || status != http.StatusOK || body != testnet.ForeignBody {
			t.Errorf("answered %d %q, %v, want the backend's 200 %q", status, body, err, testnet.ForeignBody)
		}
	})
	t.Run("a missing target is unavailable for now", func(t *testing.T) {
		answer := p.ask(t, "http", astray, astray)
		if answer.StatusCode != http.StatusServiceUnavailable || answer.Header.Get("Retry-After") == "" {
			t.Errorf("answered %d with Retry-After %q, want 503 with one", answer.StatusCode, answer.Header.Get("Retry-After"))
		}
	})
}

// ask gets a page from the product over a connection made for serverName with
// the Host header host.
func (p *product) ask(t *testing.T, scheme, serverName, host string) *http.Response {
	t.Helper()
	transport := &http.Transport{
		DisableKeepAlives: true,
		TLSClientConfig:   &tls.Config{RootCAs: pool(p.ca.RootPEM), ServerName: serverName},
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			_, port, err := net.SplitHostPort(addr)
			if err != nil {
				return nil, err
			}
			return new(net.Dialer).DialContext(ctx, network, net.JoinHostPort(testnet.ProductAddr, port))
		},
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, scheme+"://"+host+"/page?q=1", nil)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := transport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	return answer
}
