package caddyapoxy

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
	"github.com/apoxy-dev/caddy-apoxy/hosts"
)

// A site's own error pages and headers know the record in every outcome in which
// the host has one: Caddy's handle_errors, and what is set as the answer goes out.
func TestErrorPagesAndLateHeadersKnowTheRecord(t *testing.T) {
	w := newWorld(t)
	base, _, _ := strings.Cut(w.caddyfile(), "http:// {")
	err := load(t, base+`http:// {
	bind 127.0.0.1
	header >X-Record "{apoxy.record.name} {apoxy.record.labels.core.apoxy.dev/owner} {apoxy.target.name}"
	apoxy {
		gateway default {
			respond "served"
		}
		gateway failing {
			error "no" 418
		}
		proxy down {
			to 127.0.0.1:9
		}
	}
	handle_errors {
		respond "{err.status_code} {apoxy.record.hostname} {apoxy.record.uid} {apoxy.target.kind}"
	}
}
`)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		is, host, target string
		record           hosts.Values
		status           int
		body             string // with handle_errors
	}{
		{"served", "a.example.com", "default", hosts.Values{Verified: true, Phase: v1alpha3.PhaseActive}, 200, "served"},
		{"redirected", "b.example.com", "default", hosts.Values{Verified: true, TLS: true, TLSReady: true, Phase: v1alpha3.PhaseActive}, 308, ""},
		{"redirected while issuing", "c.example.com", "default", hosts.Values{Verified: true, TLS: true, Phase: v1alpha3.PhaseIssuing}, 307, ""},
		{"not verified", "d.example.com", "default", hosts.Values{Phase: v1alpha3.PhasePending}, 421, "421 d.example.com u-1 Gateway"},
		{"detached", "e.example.com", "default", hosts.Values{TLS: true, Phase: v1alpha3.PhaseDetached}, 421, "421 e.example.com u-1 Gateway"},
		{"without a target", "f.example.com", "nothing", hosts.Values{Verified: true, Phase: v1alpha3.PhaseActive}, 503, "503 f.example.com u-1 Gateway"},
		{"failed by its target", "g.example.com", "failing", hosts.Values{Verified: true, Phase: v1alpha3.PhaseActive}, 418, "418 g.example.com u-1 Gateway"},
		{"without a backend", "h.example.com", "down", hosts.Values{Verified: true, Phase: v1alpha3.PhaseActive}, 502, "502 h.example.com u-1 Proxy"},
		{"below a wildcard", "any.example.org", "nothing", hosts.Values{Verified: true, Phase: v1alpha3.PhaseActive}, 503, "503 *.example.org u-1 Gateway"},
	} {
		t.Run(c.is, func(t *testing.T) {
			h := c.record
			h.Hostname, h.Name, h.UID, h.Labels = c.host, "r-"+c.host, "u-1", map[string]string{"core.apoxy.dev/owner": "acme"}
			if c.host == "any.example.org" {
				h.Hostname = "*.example.org"
			}
			h.Target = v1alpha3.TargetKey{Kind: v1alpha3.KindGateway, Name: c.target}
			if c.target == "down" {
				h.Target.Kind = v1alpha3.KindProxy
			}
			running(t).held.table.Set(hosts.Make(h))
			r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+w.web, nil)
			if err != nil {
				t.Fatal(err)
			}
			r.Host = c.host
			resp, err := http.DefaultTransport.RoundTrip(r)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			body, err := io.ReadAll(resp.Body)
			if err != nil {
				t.Fatal(err)
			}
			late := fmt.Sprintf("r-%s acme %s", c.host, c.target)
			if c.status >= 400 {
				late = "" // Caddy writes what handle_errors answers past the site's headers
			}
			if resp.StatusCode != c.status || c.body != "" && string(body) != c.body || resp.Header.Get("X-Record") != late {
				t.Errorf("%d %q with X-Record %q; want %d %q with %q", resp.StatusCode, body, resp.Header.Get("X-Record"), c.status, c.body, late)
			}
		})
	}
}
