package caddyapoxy

import (
	"context"
	"testing"

	"go.uber.org/zap"

	"github.com/apoxy-dev/caddy-apoxy/hosts"
	"github.com/apoxy-dev/caddy-apoxy/issuance"
)

func TestShownGoesByProof(t *testing.T) {
	ready := &hosts.Host{TLS: true, Verified: true, TLSReady: true}
	verified := &hosts.Host{TLS: true, Verified: true}
	plain := &hosts.Host{Verified: true}
	fallen := &hosts.Host{TLS: true, TLSReady: true}
	for name, c := range map[string]struct {
		wildcard  bool
		own, wild *hosts.Host
		want      issuance.Shown
	}{
		"no record":                                  {false, nil, nil, issuance.ShowAny},
		"a record and no wildcard":                   {false, ready, nil, issuance.ShowAny},
		"an unproven record and no wildcard":         {false, fallen, nil, issuance.ShowAny},
		"a proven record below a wildcard":           {false, ready, ready, issuance.ShowOwn},
		"a proven record below an unproven wildcard": {false, ready, fallen, issuance.ShowOwn},
		"its certificate is not there yet":           {false, verified, ready, issuance.ShowAny},
		"an HTTP-only record below a wildcard":       {false, plain, ready, issuance.ShowAny},
		"a fallen record below a wildcard":           {false, fallen, ready, issuance.HideOwn},
		"no record below a wildcard":                 {false, nil, ready, issuance.HideOwn},
		"no record below an HTTP-only wildcard":      {false, nil, plain, issuance.HideOwn},
		"no record below an unproven wildcard":       {false, nil, fallen, issuance.ShowAny},
		"both unproven":                              {false, fallen, fallen, issuance.ShowAny},
		"a wildcard":                                 {true, ready, nil, issuance.ShowAny},
		"an unproven wildcard":                       {true, fallen, nil, issuance.HideOwn},
		"a wildcard without a record":                {true, nil, nil, issuance.HideOwn},
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
	for hostname, want := range map[string]issuance.Shown{
		"shop.example.com": issuance.ShowOwn, "other.example.com": issuance.HideOwn, "*.example.com": issuance.ShowAny,
		"*.other.test": issuance.HideOwn, "example.com": issuance.ShowAny, "a.b.example.com": issuance.ShowAny,
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
