package caddyapoxy

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddytls"
	"go.uber.org/zap"

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

func TestPermissionWaits(t *testing.T) {
	const name, wildcard = "api.example.com", "*.example.com"
	host := func(hostname string, change func(*hosts.Host)) *hosts.Host {
		h := &hosts.Host{Hostname: hostname, TLS: true, Phase: v1alpha3.PhaseIssuing}
		change(h)
		return h
	}
	verified := func(h *hosts.Host) { h.Verified = true }
	issued := func(h *hosts.Host) { h.Verified, h.TLSReady, h.Phase = true, true, v1alpha3.PhaseActive }
	for _, c := range []struct {
		what   string
		before *hosts.Host
		then   func(*hosts.Table) // what happens while the handshake waits
		want   error
	}{
		{"for the certificate of a record in phase Issuing", host(name, func(*hosts.Host) {}),
			func(t *hosts.Table) { t.Set(host(name, verified)); t.Set(host(name, issued)) }, nil},
		{"for that of a wildcard", host(wildcard, func(*hosts.Host) {}),
			func(t *hosts.Table) { t.Set(host(wildcard, issued)) }, nil},
		{"for the first of a record that was HTTP-only a moment ago",
			host(name, func(h *hosts.Host) { h.Verified, h.Phase = true, v1alpha3.PhaseActive }),
			func(t *hosts.Table) { t.Set(host(name, verified)); t.Set(host(name, issued)) }, nil},
		{"until the record is deleted", host(name, func(*hosts.Host) {}),
			func(t *hosts.Table) { t.Delete(name) }, errUnknownName},
		{"until the record wants no certificate any more", host(name, verified),
			func(t *hosts.Table) { t.Set(host(name, func(h *hosts.Host) { h.Verified, h.TLS = true, false })) }, errHTTPOnly},
		{"until its proof is gone", host(name, func(*hosts.Host) {}),
			func(t *hosts.Table) { t.Set(host(name, func(h *hosts.Host) { h.Phase = v1alpha3.PhasePending })) }, errUnverified},
	} {
		t.Run(c.what, func(t *testing.T) {
			rt := openTestRuntime(t, zap.NewNop())
			rt.table.Set(c.before)
			p := &Permission{Wait: caddy.Duration(20 * time.Second), app: new(App)}
			p.app.rt.Store(rt)
			got := make(chan error, 1)
			go func() { got <- p.CertificateAllowed(context.Background(), name) }()
			select {
			case err := <-got:
				t.Fatalf("it did not wait: %v", err)
			case <-time.After(50 * time.Millisecond):
			}
			c.then(rt.table)
			if err := <-got; err != c.want {
				t.Errorf("decided %v, want %v", err, c.want)
			}
		})
	}
	t.Run("no longer than it is to, and then allows nothing that is not verified", func(t *testing.T) {
		rt := openTestRuntime(t, zap.NewNop())
		rt.table.Set(host(name, func(*hosts.Host) {}))
		p := &Permission{Wait: caddy.Duration(20 * time.Millisecond), app: new(App)}
		p.app.rt.Store(rt)
		if err := p.CertificateAllowed(t.Context(), name); err != errStillIssuing {
			t.Errorf("decided %v, want %v", err, errStillIssuing)
		}
	})
	t.Run("on when its visitor has left, for certmagic gives its answer to all who came after", func(t *testing.T) {
		rt := openTestRuntime(t, zap.NewNop())
		rt.table.Set(host(name, func(*hosts.Host) {}))
		p := &Permission{Wait: caddy.Duration(20 * time.Second), app: new(App)}
		p.app.rt.Store(rt)
		ctx, leave := context.WithCancel(t.Context())
		leave()
		got := make(chan error, 1)
		go func() { got <- p.CertificateAllowed(ctx, name) }()
		select {
		case err := <-got:
			t.Fatalf("it did not wait: %v", err)
		case <-time.After(50 * time.Millisecond):
		}
		rt.table.Set(host(name, issued))
		if err := <-got; err != nil {
			t.Errorf("decided %v", err)
		}
	})
}
