package caddyapoxy

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
	"github.com/apoxy-dev/caddy-apoxy/hosts"
	"github.com/apoxy-dev/caddy-apoxy/target"
)

// Two sites may define one name differently: each serves what it defines itself,
// whatever order a load provisions them in, and nothing that another one does.
func TestASiteServesTheTargetsThatItDefines(t *testing.T) {
	w := newWorld(t)
	second := freePort(t)
	base, _, _ := strings.Cut(w.caddyfile(), "http:// {")
	config := base + fmt.Sprintf(`http:// {
	bind 127.0.0.1
	apoxy {
		gateway default {
			respond "public {apoxy.target.name}"
		}
	}
}
http://:%s {
	bind 127.0.0.1
	apoxy {
		gateway default {
			respond "second {apoxy.target.name}"
		}
		gateway admin {
			respond "second {apoxy.target.name}"
		}
	}
}
http://internal.example.org {
	apoxy {
		gateway internal {
			respond "internal"
		}
		gateway default {
			respond "internal"
		}
	}
}
`, port(t, second))
	for range 6 { // Caddy's maps have another order each time
		if err := load(t, config); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"default", "admin", "internal"} {
			host := name + ".example.com"
			running(t).held.table.Set(hosts.Make(hosts.Values{Hostname: host, Name: host, Phase: v1alpha3.PhaseActive, Verified: true,
				Target: v1alpha3.TargetKey{Kind: v1alpha3.KindGateway, Name: name}}))
		}
		for _, c := range []struct{ address, host, want string }{
			{w.web, "default.example.com", "200 public default"},
			{second, "default.example.com", "200 second default"},
			{w.web, "admin.example.com", notNow},
			{second, "admin.example.com", "200 second admin"},
			{w.web, "internal.example.com", notNow},
			{second, "internal.example.com", notNow},
		} {
			if got := get(t, c.address, c.host); got != c.want {
				t.Errorf("%s at %s: %q, want %q", c.host, c.address, got, c.want)
			}
		}
		for name, want := range map[string]bool{"default": true, "admin": true, "internal": false} {
			if h, found := running(t).targets.Health(target.Ref{Kind: v1alpha3.KindGateway, Name: name}); found != want {
				t.Errorf("gateway %s is found: %v, %+v", name, found, h)
			}
		}
	}
}

// A redirect needs no definition, but a site that serves records.
func TestARedirectIsReadyWhereASiteServesRecords(t *testing.T) {
	w := newWorld(t)
	base, _, _ := strings.Cut(w.caddyfile(), "http:// {")
	for config, want := range map[string]bool{
		w.caddyfile(): true,
		base + "http:// {\n\tbind 127.0.0.1\n\trespond none\n}\n":                                                                           false,
		base + "http://internal.example.org {\n\tbind 127.0.0.1\n\tapoxy {\n\t\tgateway default {\n\t\t\trespond internal\n\t\t}\n\t}\n}\n": false,
	} {
		if err := load(t, config); err != nil {
			t.Fatal(err)
		}
		if o := running(t).held.targetHealth(v1alpha3.TargetKey{Kind: v1alpha3.KindRedirect}); o.Found != want || o.Healthy != want {
			t.Errorf("with\n%s\na redirect is ready: %+v, want %v", config, o, want)
		}
	}
}

// get is the status and the body of a request for a host.
func get(t *testing.T, address, host string) string {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+address, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Host = host
	var resp *http.Response
	// A listener that a load has just given up resets what it has not accepted.
	until(t, "an answer", func() bool { resp, err = http.DefaultTransport.RoundTrip(r); return err == nil })
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%d %s", resp.StatusCode, body)
}
