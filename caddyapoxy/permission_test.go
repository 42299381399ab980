package caddyapoxy

import (
	"errors"
	"testing"

	"github.com/caddyserver/caddy/v2/modules/caddytls"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
	"github.com/apoxy-dev/caddy-apoxy/hosts"
)

func TestPermissionDecides(t *testing.T) {
	for _, c := range []struct {
		name string
		host *hosts.Host
		want error
	}{
		{"a name without a record is denied", nil, errUnknownName},
		{"an HTTP-only record gets no certificate", &hosts.Host{Verified: true}, errHTTPOnly},
		{"an unverified record is denied", &hosts.Host{TLS: true, Phase: v1alpha3.PhaseIssuing}, errUnverified},
		{"a verified record is allowed", &hosts.Host{TLS: true, Verified: true}, nil},
		{"a verified record is allowed whatever else is amiss", &hosts.Host{TLS: true, Verified: true, Phase: v1alpha3.PhaseIssuing}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := decide(c.host)
			if got != c.want {
				t.Errorf("decide = %v, want %v", got, c.want)
			}
			if got != nil && !errors.Is(got, caddytls.ErrPermissionDenied) {
				t.Errorf("%v does not wrap ErrPermissionDenied: Caddy would log it as a failure", got)
			}
		})
	}
}
