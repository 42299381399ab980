package e2e

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/apoxy-dev/caddy-apoxy/e2e/testnet"
)

// backendKey is the annotation that testdata's proxy "tenants" goes by.
const backendKey = "example.net/backend"

// Each kind that the configuration makes of handlers serves a customer's verified domain
// under its certificate, and TargetReady follows what becomes of the backend; and of
// the tenants of one target each gets its own backend, and none the operator's insides.
func TestGatewayAndProxyServeAndEachTenantHasItsBackend(t *testing.T) {
	n := network(t)
	p := start(t, n, settings{})
	one, two, shared := newNamed(t, "one"), newNamed(t, "two"), newNamed(t, "shared")
	p.reconfigure(t, "proxy api {", fmt.Sprintf("proxy tenants {\n\t\t\tto {apoxy.record.annotations.%s}\n\t\t\tupstreams 127.0.0.0/8:%s 127.0.0.0/8:%s\n\t\t}\n\t\tproxy shared {\n\t\t\tto %s\n\t\t\thealth_uri /\n\t\t\thealth_interval 1s\n\t\t}\n\t\tproxy api {",
		backendKey, portOf(t, one), portOf(t, two), shared.addr))
	customer := customer(t, n, "backends")
	create := func(label, kind, name string) (string, string) {
		host := label + "." + customer.name
		return host, p.create(t, host, true, func(spec map[string]any) {
			spec["target"] = map[string]any{"ref": map[string]any{"group": "gateway.apoxy.dev", "kind": kind, "name": name}}
		}).line(t, "ACMEChallenge")
	}
	gateway, l1 := create("gateway", "Gateway", "default")
	proxy, l2 := create("proxy", "Proxy", "shared")
	first, l3 := create("first", "Proxy", "tenants")
	second, l4 := create("second", "Proxy", "tenants")
	hostile, l5 := create("hostile", "Proxy", "tenants")
	for host, backend := range map[string]string{first: one.addr, second: two.addr, hostile: "127.0.0.1:2019"} {
		p.annotate(t, host, backendKey+"="+backend)
	}
	customer.set(t, l1, l2, l3, l4, l5)
	for _, host := range []string{gateway, proxy, first, second} {
		p.await(t, host, 40*time.Second, "the certificate", is("phase=Active", "TLSReady=True", "TargetReady=True/TargetHealthy"))
	}
	bad := p.await(t, hostile, 40*time.Second, "the certificate", is("phase=Active", "TLSReady=True", "OwnershipVerified=True", "TargetReady=False/TargetUnhealthy"))
	for _, part := range []string{fmt.Sprintf("annotation %q", backendKey), `"127.0.0.1:2019"`, "not among the allowed upstreams", "operator"} {
		if message := bad.condition("TargetReady").Message; !strings.Contains(message, part) {
			t.Errorf("the message is %q, and says nothing of %q", message, part)
		}
	}
	for host, want := range map[string]string{gateway: ours, proxy: "shared", first: "one", second: "two"} {
		if status, body := p.page(t, host); status != http.StatusOK || body != want {
			t.Errorf("%s answers %d %q, want 200 %q", host, status, body, want)
		}
	}
	t.Run("a hostile annotation reaches nothing, and harms nobody", func(t *testing.T) {
		for _, backend := range []string{"127.0.0.1:2019", "localhost:2019", "unix//proc/self/environ", "[::ffff:127.0.0.1]:2019", "http://127.0.0.1:2019", "169.254.169.254"} {
			p.annotate(t, hostile, backendKey+"="+backend)
			p.await(t, hostile, 20*time.Second, "the news of "+backend, func(r record) error {
				if m := r.condition("TargetReady").Message; !strings.Contains(m, fmt.Sprintf("%q", backend)) {
					return fmt.Errorf("the message is %q", m)
				}
				return nil
			})
			answer := p.ask(t, "https", hostile, hostile)
			if answer.StatusCode != http.StatusServiceUnavailable || answer.Header.Get("Retry-After") == "" {
				t.Errorf("%s: answered %d with Retry-After %q, want 503 with one", backend, answer.StatusCode, answer.Header.Get("Retry-After"))
			}
		}
		if n := counted(t, "apoxy_requests_total", `outcome="no_backend"`, `target_kind="Proxy"`); n != 6 {
			t.Errorf("%v requests are counted as without a backend, want 6", n)
		}
		p.await(t, first, time.Second, "no change", is("TargetReady=True/TargetHealthy"))
	})
	t.Run("a tenant moves by its annotation alone", func(t *testing.T) {
		p.annotate(t, hostile, backendKey+"="+two.addr)
		p.await(t, hostile, 20*time.Second, "its backend", is("TargetReady=True/TargetHealthy"))
		if status, body := p.page(t, hostile); status != http.StatusOK || body != "two" {
			t.Errorf("answered %d %q", status, body)
		}
		p.annotate(t, first, backendKey+"-")
		p.await(t, first, 20*time.Second, "the missing annotation", is("TargetReady=False/TargetUnhealthy", "OwnershipVerified=True"))
		if status, _ := p.page(t, first); status != http.StatusServiceUnavailable {
			t.Errorf("without an annotation: %d, want 503", status)
		}
	})
	t.Run("the list of a reload is news", func(t *testing.T) {
		p.reconfigure(t, "127.0.0.0/8:"+portOf(t, two), "10.0.0.0/8")
		p.await(t, second, 20*time.Second, "the news", is("TargetReady=False/TargetUnhealthy"))
	})
	t.Run("a proxy's health follows its backend", func(t *testing.T) {
		shared.stop(t)
		p.await(t, proxy, 20*time.Second, "its end", is("TargetReady=False/TargetUnhealthy", "OwnershipVerified=True", "phase=Active"))
		shared.start(t)
		p.await(t, proxy, 20*time.Second, "its return", is("TargetReady=True/TargetHealthy"))
	})
	t.Run("a gateway that the configuration loses is missed", func(t *testing.T) {
		p.reconfigure(t, "gateway default {", "gateway renamed {")
		p.await(t, gateway, 20*time.Second, "its end", is("TargetReady=False/TargetNotFound", "OwnershipVerified=True", "phase=Active"))
		p.reconfigure(t, "gateway renamed {", "gateway default {")
		p.await(t, gateway, 20*time.Second, "its return", is("TargetReady=True/TargetHealthy"))
	})
}

// newNamed is a backend that says its name.
func newNamed(t *testing.T, name string) *backend {
	b := &backend{addr: "127.0.0.1:0", handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, name) })}
	b.start(t)
	t.Cleanup(func() { b.server.Close() })
	return b
}

func portOf(t *testing.T, b *backend) string {
	t.Helper()
	_, port, err := net.SplitHostPort(b.addr)
	if err != nil {
		t.Fatal(err)
	}
	return port
}

func (p *product) annotate(t *testing.T, name, annotation string) {
	t.Helper()
	if _, err := p.kubectl(t.Context(), "", "annotate", "--overwrite", "domainrecord", name, annotation); err != nil {
		t.Fatal(err)
	}
}

// page is what a host answers over TLS.
func (p *product) page(t *testing.T, host string) (int, string) {
	t.Helper()
	c := client(p.ca.RootPEM)
	c.Transport.(*http.Transport).DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, testnet.ProductAddr+":443")
	}
	status, body, err := fetch(t.Context(), c, "https://"+host+"/", "")
	if err != nil {
		t.Fatal(err)
	}
	return status, body
}
