package caddyapoxy

import (
	"errors"
	"net/http"
	"testing"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
	"github.com/apoxy-dev/caddy-apoxy/hosts"
)

func TestAdmit(t *testing.T) {
	pending := hosts.Make(hosts.Values{TLS: true, Phase: v1alpha3.PhasePending})
	issuing := hosts.Make(hosts.Values{TLS: true, Phase: v1alpha3.PhaseIssuing})
	active := hosts.Make(hosts.Values{TLS: true, Phase: v1alpha3.PhaseActive, Verified: true, TLSReady: true})
	expired := hosts.Make(hosts.Values{TLS: true, Phase: v1alpha3.PhaseIssuing, Verified: true})
	detached := hosts.Make(hosts.Values{TLS: true, Phase: v1alpha3.PhaseDetached})
	plain := hosts.Make(hosts.Values{Phase: v1alpha3.PhaseActive, Verified: true})
	plainPending := hosts.Make(hosts.Values{Phase: v1alpha3.PhasePending})
	turned := hosts.Make(hosts.Values{TLS: true, Phase: v1alpha3.PhaseActive, Verified: true}) // not looked at since
	for _, c := range []struct {
		name    string
		host    *hosts.Host
		overTLS bool
		same    bool
		want    decision
		status  int
	}{
		{"an unknown host is misdirected", nil, true, true, unknownHost, 421},
		{"an unknown host is misdirected without TLS, too", nil, false, true, unknownHost, 421},
		{"a verified host is served", active, true, true, serve, 0},
		{"a request for another host than the handshake's is misdirected", active, true, false, misdirected, 421},
		{"a pending host is not served", pending, true, true, unverifiedHost, 421},
		{"an issuing host is not served, although a certificate may be cached", issuing, true, true, unverifiedHost, 421},
		{"a detached host is not served", detached, true, true, unverifiedHost, 421},
		{"plain HTTP goes to https for good once the certificate is ready", active, false, true, redirectPermanent, 308},
		{"plain HTTP goes to https for now while the certificate is coming", issuing, false, true, redirectTemporary, 307},
		{"plain HTTP of a verified host whose certificate expired goes to https for now", expired, false, true, redirectTemporary, 307},
		{"plain HTTP goes to https for now when a verified HTTP-only host has just been given TLS", turned, false, true, redirectTemporary, 307},
		{"plain HTTP of a pending host is refused", pending, false, true, unverifiedHost, 421},
		{"an HTTP-only host is served over plain HTTP", plain, false, true, serve, 0},
		{"an unverified HTTP-only host is refused", plainPending, false, true, unverifiedHost, 421},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := admit(c.host, c.overTLS, c.same)
			if got != c.want {
				t.Errorf("admit = %q, want %q", got, c.want)
			}
			if c.status != 0 && got.status() != c.status {
				t.Errorf("status = %d, want %d", got.status(), c.status)
			}
		})
	}
}

func TestOutcomeOfATarget(t *testing.T) {
	for _, c := range []struct {
		name string
		err  error
		want decision
	}{
		{"no error is served", nil, serve},
		{"the target's own refusal is served", caddyhttp.Error(http.StatusNotFound, nil), serve},
		{"a bad gateway is a target error", caddyhttp.Error(http.StatusBadGateway, nil), targetError},
		{"any other error is a target error", errors.New("broken"), targetError},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := outcomeOf(c.err); got != c.want {
				t.Errorf("outcomeOf = %q, want %q", got, c.want)
			}
		})
	}
}

func TestPlaceholders(t *testing.T) {
	h := hosts.Make(hosts.Values{
		Name: "shop", Hostname: "shop.example.com", UID: "u-1",
		Target:      v1alpha3.TargetKey{Kind: "Gateway", Name: "default"},
		Labels:      map[string]string{"core.apoxy.dev/owner": "acme"},
		Annotations: map[string]string{"note": "vip"},
	})
	for key, want := range map[string]any{
		"apoxy.record.name":                        "shop",
		"apoxy.record.hostname":                    "shop.example.com",
		"apoxy.record.uid":                         "u-1",
		"apoxy.record.labels.core.apoxy.dev/owner": "acme",
		"apoxy.record.labels.missing":              "",
		"apoxy.record.annotations.note":            "vip",
		"apoxy.target.kind":                        "Gateway",
		"apoxy.target.name":                        "default",
	} {
		if got, ok := placeholder(h, key); !ok || got != want {
			t.Errorf("{%s} = %v, %v, want %v", key, got, ok, want)
		}
	}
	for _, key := range []string{"http.request.host", "apoxy.record.secret", "apoxy"} {
		if got, ok := placeholder(h, key); ok {
			t.Errorf("{%s} = %v, want none", key, got)
		}
	}
}
