package caddyapoxy

import (
	"context"
	"slices"
	"strings"
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
		if n := allocations(100, func() { a.Shows(context.Background(), hostname) }); n != 0 {
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

func TestWhoseUploadIsShown(t *testing.T) {
	host := func(hostname string, verified, tls, ready bool) *hosts.Host {
		return hosts.Make(hosts.Values{Hostname: hostname, UID: "uid-" + hostname, Verified: verified, TLS: tls, TLSReady: ready})
	}
	const exact, wildcard = "shop.example.com", "*.example.com"
	own, wild := host(exact, true, true, true), host(wildcard, true, true, true)
	for _, c := range []struct {
		name      string
		own, wild *hosts.Host
		uploads   string // hostnames that have one
		want      string
	}{
		{"its own", own, nil, exact, exact},
		{"its own before the wildcard's", own, wild, exact + " " + wildcard, exact},
		{"none where what was obtained is ready", own, wild, wildcard, ""},
		{"the wildcard's while nothing of its own is ready", host(exact, true, true, false), wild, wildcard, wildcard},
		{"the wildcard's for a name without a record", nil, wild, wildcard, wildcard},
		{"the wildcard's while the exact record is not verified", host(exact, false, true, true), wild, exact + " " + wildcard, wildcard},
		{"none of a record that is not verified", host(exact, false, true, true), nil, exact, ""},
		{"none of an HTTP-only record", host(exact, true, false, false), wild, exact + " " + wildcard, ""},
		{"none of a wildcard that is not verified", nil, host(wildcard, false, true, true), wildcard, ""},
		{"none without records", nil, nil, exact, ""},
	} {
		has := func(hostname, uid string) bool {
			return uid == "uid-"+hostname && slices.Contains(strings.Fields(c.uploads), hostname)
		}
		if got := uploadFor(c.own, c.wild, has); got != c.want {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
}
