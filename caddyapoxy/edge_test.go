package caddyapoxy

import (
	"fmt"
	"net/netip"
	"reflect"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/apoxy-dev/caddy-apoxy/issuance/edge"
	"github.com/apoxy-dev/caddy-apoxy/ownership"
)

func TestTheEdgesHostnameKeepsItsAddressesForAnHour(t *testing.T) {
	var e edgeHost
	began := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	note := func(after time.Duration, addrs ...string) {
		var parsed []netip.Addr
		for _, a := range addrs {
			parsed = append(parsed, netip.MustParseAddr(a))
		}
		e.note("lb.example.org", parsed, began.Add(after))
	}
	is := func(host, want string) {
		t.Helper()
		if got := fmt.Sprint(e.addresses(host)); got != want {
			t.Errorf("%s: %s, want %s", host, got, want)
		}
	}
	is("lb.example.org", "[]")
	note(0, "203.0.113.2", "203.0.113.1")
	note(30*time.Minute, "::ffff:203.0.113.3", "2001:db8::1")
	is("lb.example.org", "[203.0.113.1 203.0.113.2 203.0.113.3 2001:db8::1]")
	note(61*time.Minute, "203.0.113.3")
	is("lb.example.org", "[203.0.113.3 2001:db8::1]")
	is("other.example.org", "[]")
	e.note("other.example.org", nil, began)
	is("lb.example.org", "[]")
}

// What is asked before an order, by edge_check; what CAs taught is kept by the edge
// itself in any case.
func TestWhatIsAskedOfTheEdge(t *testing.T) {
	outside, inside := netip.MustParseAddr("203.0.113.10"), netip.MustParseAddr("10.0.0.5")
	web := &caddyhttp.App{HTTPPort: 8080, HTTPSPort: 8443}
	for name, c := range map[string]struct {
		check edgeCheck
		want  edge.Endpoint
	}{
		"by default": {edgeCheck{}, edge.Endpoint{Name: "[203.0.113.10]", Addresses: []netip.Addr{outside}}},
		"off":        {edgeCheck{off: true}, edge.Endpoint{Name: "[203.0.113.10]"}},
		"addresses": {edgeCheck{addrs: []netip.Addr{inside}},
			edge.Endpoint{Name: "[203.0.113.10]", Addresses: []netip.Addr{inside}, HTTPPort: 8080, HTTPSPort: 8443}},
	} {
		t.Run(name, func(t *testing.T) {
			a := &App{edgeCheck: c.check, settings: ownership.Settings{Zone: ownership.Zone{EdgeAddresses: []netip.Addr{outside}}}}
			a.http.Store(web)
			rt := new(runtime)
			rt.apps.Push(a)
			if got := rt.edgeNow(); !reflect.DeepEqual(got, c.want) {
				t.Errorf("%+v, want %+v", got, c.want)
			}
		})
	}
}
