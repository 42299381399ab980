package caddyapoxy

import (
	"fmt"
	"net/netip"
	"testing"
	"time"
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
