package caddyapoxy

import (
	"context"
	"testing"

	"go.uber.org/zap"

	"github.com/apoxy-dev/caddy-apoxy/hosts"
	"github.com/apoxy-dev/caddy-apoxy/issuance"
	"github.com/apoxy-dev/caddy-apoxy/issuance/certfiles"
)

func TestShownGoesByProof(t *testing.T) {
	ready := &hosts.Host{TLS: true, Verified: true, TLSReady: true}
	verified := &hosts.Host{TLS: true, Verified: true}
	plain := &hosts.Host{Verified: true}
	fallen := &hosts.Host{TLS: true, TLSReady: true}
	for name, c := range map[string]struct {
		wildcard  bool
		own, wild *hosts.Host
		want      certfiles.Shown
	}{
		"no record":                                  {false, nil, nil, certfiles.ShowAny},
		"a record and no wildcard":                   {false, ready, nil, certfiles.ShowAny},
		"an unproven record and no wildcard":         {false, fallen, nil, certfiles.ShowAny},
		"a proven record below a wildcard":           {false, ready, ready, certfiles.ShowOwn},
		"a proven record below an unproven wildcard": {false, ready, fallen, certfiles.ShowOwn},
		"its certificate is not there yet":           {false, verified, ready, certfiles.ShowAny},
		"an HTTP-only record below a wildcard":       {false, plain, ready, certfiles.ShowAny},
		"a fallen record below a wildcard":           {false, fallen, ready, certfiles.HideOwn},
		"no record below a wildcard":                 {false, nil, ready, certfiles.HideOwn},
		"no record below an HTTP-only wildcard":      {false, nil, plain, certfiles.HideOwn},
		"no record below an unproven wildcard":       {false, nil, fallen, certfiles.ShowAny},
		"both unproven":                              {false, fallen, fallen, certfiles.ShowAny},
		"a wildcard":                                 {true, ready, nil, certfiles.ShowAny},
		"an unproven wildcard":                       {true, fallen, nil, certfiles.HideOwn},
		"a wildcard without a record":                {true, nil, nil, certfiles.HideOwn},
	} {
		if got := shown(c.wildcard, c.own, c.wild); got != c.want {
			t.Errorf("%s: %d, want %d", name, got, c.want)
		}
	}
}

func TestShowsReadsTheTable(t *testing.T) {
	rt := openTestRuntime(t, zap.NewNop())
	a := new(App)
	a.rt.Store(rt)
	rt.table.Set(&hosts.Host{Hostname: "*.example.com", TLS: true, Verified: true, TLSReady: true})
	rt.table.Set(&hosts.Host{Hostname: "shop.example.com", TLS: true, Verified: true, TLSReady: true})
	for hostname, want := range map[string]certfiles.Shown{
		"shop.example.com": certfiles.ShowOwn, "other.example.com": certfiles.HideOwn, "*.example.com": certfiles.ShowAny,
		"*.other.test": certfiles.HideOwn, "example.com": certfiles.ShowAny, "a.b.example.com": certfiles.ShowAny,
	} {
		if got := a.Shows(context.Background(), hostname); got != want {
			t.Errorf("%s: %d, want %d", hostname, got, want)
		}
		if n := testing.AllocsPerRun(100, func() { a.Shows(context.Background(), hostname) }); n != 0 {
			t.Errorf("%s: %v allocations", hostname, n)
		}
	}
}

func BenchmarkShows(b *testing.B) {
	rt := &runtime{table: hosts.New(), scheduler: issuance.New(issuance.Config{})}
	a := new(App)
	a.rt.Store(rt)
	rt.table.Set(&hosts.Host{Hostname: "shop.example.com", TLS: true, Verified: true, TLSReady: true})
	b.ReportAllocs()
	for b.Loop() {
		a.Shows(b.Context(), "shop.example.com")
	}
}
