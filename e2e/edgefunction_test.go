package e2e

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A function from a file serves a customer's domain, with a certificate of ours;
// TargetReady says so, and which line is wrong while it does not. No save and no
// reload drops a request.
func TestEdgeFunctionServesACustomersDomain(t *testing.T) {
	n := network(t)
	p := start(t, n, settings{})
	file := filepath.Join(p.dir, "shop.js")
	save := func(source string) {
		if err := os.WriteFile(file, []byte(source), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	const broken = "export default {\n\tfetch() { return ( }\n}\n"
	const echo = `export default {
	async fetch(request, env) {
		if (request.method === "POST") {
			return new Response(await request.text());
		}
		return new Response("", { headers: { "x-function": env.GREETING + " from " + new URL(request.url).host } });
	},
};
`
	save(broken)
	secret := filepath.Join(p.dir, "greeting")
	if err := os.WriteFile(secret, []byte("hello\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	p.reconfigure(t, "proxy api {", "edgefunction shop "+file+" {\n\t\t\tenv GREETING {file."+secret+"}\n\t\t}\n\t\tproxy api {")
	customer := customer(t, n, "function")
	host := "shop." + customer.name
	created := p.create(t, host, true, func(spec map[string]any) {
		spec["target"] = map[string]any{"ref": map[string]any{"group": "gateway.apoxy.dev", "kind": "EdgeFunction", "name": "shop"}}
	})
	customer.set(t, created.line(t, "Traffic"), created.line(t, "ACMEChallenge"))
	r := p.await(t, host, 60*time.Second, "the certificate", is("TLSReady=True", "TargetReady=False/TargetUnhealthy", "Ready=False/TargetUnhealthy"))
	if message := r.condition("TargetReady").Message; !strings.Contains(message, file+":2:") {
		t.Errorf("the message is %q", message)
	}
	if answer := p.ask(t, "https", host, host); answer.StatusCode != http.StatusServiceUnavailable || answer.Header.Get("Retry-After") == "" {
		t.Errorf("broken: %d with Retry-After %q, want 503 with one", answer.StatusCode, answer.Header.Get("Retry-After"))
	}

	save(echo)
	r = p.await(t, host, 30*time.Second, "the mended function", is("TargetReady=True/TargetHealthy", "Ready=True"))
	if message := r.condition("TargetReady").Message; !strings.Contains(message, "compiled from "+file) {
		t.Errorf("the message is %q", message)
	}
	served := func(when string) {
		t.Helper()
		answer := p.ask(t, "https", host, host)
		if said := answer.Header.Get("X-Function"); answer.StatusCode != http.StatusOK || said != "hello from "+host {
			t.Errorf("%s: %d %q", when, answer.StatusCode, said)
		}
	}
	served("mended")

	t.Run("reloads drop no request", func(t *testing.T) {
		p.postThroughReloads(t, host)
		p.reconfigure(t, "env GREETING", "timeout 5s\n\t\t\tenv GREETING")
		served("with another timeout")
	})
	t.Run("a broken save is said and the function served on", func(t *testing.T) {
		save(broken)
		r := p.await(t, host, 30*time.Second, "the mistake", is("TargetReady=False/TargetUnhealthy", "OwnershipVerified=True", "phase=Active"))
		if message := r.condition("TargetReady").Message; !strings.Contains(message, file+":2:") || !strings.Contains(message, "is served on") {
			t.Errorf("the message is %q", message)
		}
		served("broken again")
		save(echo)
		p.await(t, host, 30*time.Second, "the mended function", is("TargetReady=True/TargetHealthy", "Ready=True"))
	})
	t.Run("faults are answered, counted and said", func(t *testing.T) {
		save("export default {\n\tfetch() { for (;;) {} }\n}\n")
		p.reconfigure(t, "timeout 5s", "timeout 100ms")
		if answer := p.ask(t, "https", host, host); answer.StatusCode != http.StatusGatewayTimeout {
			t.Errorf("an endless loop: %d, want 504", answer.StatusCode)
		}
		_, metrics, err := fetch(t.Context(), http.DefaultClient, adminURL+"/metrics", "")
		for _, series := range []string{
			`apoxy_edgefunction_faults_total{function="shop",kind="timeout"} 1`,
			`apoxy_requests_total{outcome="target_error",target_kind="EdgeFunction"} `,
			`apoxy_requests_total{outcome="served",target_kind="EdgeFunction"} `,
		} {
			if err != nil || !strings.Contains(metrics, series) {
				t.Errorf("the metrics lack %s, %v", series, err)
			}
		}
		p.await(t, host, 30*time.Second, "word of the fault", func(r record) error {
			if message := r.condition("TargetReady").Message; !strings.Contains(message, "requests fail (timeout: ") {
				return fmt.Errorf("the message is %q", message)
			}
			return nil
		})
	})
}
