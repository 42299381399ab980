package specialpurpose

import (
	"net/netip"
	"strings"
	"testing"
)

// last is the highest address of a network.
func last(n netip.Prefix) netip.Addr {
	b := n.Addr().AsSlice()
	for i := n.Bits(); i < len(b)*8; i++ {
		b[i/8] |= 1 << (7 - i%8)
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}

func TestOf(t *testing.T) {
	for _, c := range []struct {
		what, network string
		special       bool
	}{
		// The IANA IPv4 Special-Purpose Address Registry, all entries.
		{"this network", "0.0.0.0/8", true},
		{"this host on this network", "0.0.0.0/32", true},
		{"private use", "10.0.0.0/8", true},
		{"shared address space", "100.64.0.0/10", true},
		{"loopback", "127.0.0.0/8", true},
		{"link local", "169.254.0.0/16", true},
		{"private use", "172.16.0.0/12", true},
		{"IPv4 service continuity prefix", "192.0.0.0/29", true},
		{"IPv4 dummy address", "192.0.0.8/32", true},
		{"Port Control Protocol anycast", "192.0.0.9/32", false},
		{"TURN anycast", "192.0.0.10/32", false},
		{"NAT64 and DNS64 discovery", "192.0.0.170/31", true},
		{"the rest of the IETF protocol assignments", "192.0.0.128/25", true},
		{"TEST-NET-1", "192.0.2.0/24", true},
		{"AS112-v4", "192.31.196.0/24", false},
		{"AMT", "192.52.193.0/24", false},
		{"6to4 relay anycast", "192.88.99.0/24", true},
		{"private use", "192.168.0.0/16", true},
		{"direct delegation AS112 service", "192.175.48.0/24", false},
		{"benchmarking", "198.18.0.0/15", true},
		{"TEST-NET-2", "198.51.100.0/24", true},
		{"TEST-NET-3", "203.0.113.0/24", true},
		{"reserved", "240.0.0.0/4", true},
		{"limited broadcast", "255.255.255.255/32", true},
		// The IANA IPv6 Special-Purpose Address Registry, all entries.
		{"loopback", "::1/128", true},
		{"unspecified", "::/128", true},
		{"IPv4-mapped, of private use inside", "::ffff:10.0.0.0/104", true},
		{"IPv4-IPv6 translation, of loopback inside", "64:ff9b::7f00:0/104", true},
		{"local-use IPv4-IPv6 translation", "64:ff9b:1::/48", true},
		{"discard-only", "100::/64", true},
		{"dummy prefix", "100:0:0:1::/64", true},
		{"Teredo", "2001::/32", true},
		{"Port Control Protocol anycast", "2001:1::1/128", false},
		{"TURN anycast", "2001:1::2/128", false},
		{"DNS-SD service registration anycast", "2001:1::3/128", false},
		{"the rest of the IETF protocol assignments", "2001:1ff::/32", true},
		{"benchmarking", "2001:2::/48", true},
		{"AMT", "2001:3::/32", false},
		{"AS112-v6", "2001:4:112::/48", false},
		{"ORCHID", "2001:10::/28", true},
		{"ORCHIDv2", "2001:20::/28", false},
		{"Drone Remote ID", "2001:30::/28", false},
		{"documentation", "2001:db8::/32", true},
		{"6to4", "2002::/16", true},
		{"direct delegation AS112 service", "2620:4f:8000::/48", false},
		{"documentation", "3fff::/20", true},
		{"segment routing", "5f00::/16", true},
		{"unique local", "fc00::/7", true},
		{"link-local unicast", "fe80::/10", true},
		// Neither registry's.
		{"IPv4 multicast", "224.0.0.0/4", true},
		{"IPv6 multicast", "ff00::/8", true},
		{"IPv4-compatible", "::10.0.0.0/104", true},
		{"site-local", "fec0::/10", true},
		{"not global unicast", "4000::/3", true},
		{"not global unicast either", "200::/7", true},
		{"global unicast", "2606:4700::/32", false},
		{"a public address", "1.1.1.1/32", false},
		{"a public address beside a private one", "172.32.0.0/16", false},
		{"a public address before the shared ones", "100.63.255.255/32", false},
		{"a public address mapped", "::ffff:8.8.8.8/128", false},
		{"a public address translated", "64:ff9b::808:808/128", false},
	} {
		n := netip.MustParsePrefix(c.network)
		for _, a := range []netip.Addr{n.Masked().Addr(), last(n.Masked())} {
			b, special := Of(a)
			if special != c.special {
				t.Errorf("%s: %s: special is %v, want %v", c.what, a, special, c.special)
			}
			if special && (b.Purpose == "" || !b.Network.IsValid()) {
				t.Errorf("%s: %s: the block is %+v", c.what, a, b)
			}
		}
	}
}

func TestOfNamesTheNetwork(t *testing.T) {
	for addr, want := range map[string]string{
		"10.1.2.3":        "10.0.0.0/8, for private use (RFC 1918)",
		"::ffff:10.1.2.3": "10.0.0.0/8, for private use (RFC 1918)",
		"64:ff9b::a00:1":  "10.0.0.0/8, for private use (RFC 1918)",
		"fe80::1%eth0":    "fe80::/10, link-local (RFC 4291)",
		"255.255.255.255": "255.255.255.255/32, broadcast (RFC 919)",
	} {
		b, special := Of(netip.MustParseAddr(addr))
		if !special || b.String() != want {
			t.Errorf("%s: %q, %v; want %q", addr, b, special, want)
		}
	}
	if b, special := Of(netip.Addr{}); special {
		t.Errorf("no address at all: %q", b)
	}
}

func TestAllowed(t *testing.T) {
	for _, c := range []struct {
		what, networks, addr string
		want                 bool
	}{
		{"nothing is listed", "", "10.0.0.1", false},
		{"its network is listed", "10.0.0.0/8", "10.0.0.1", true},
		{"another is", "10.0.0.0/8 fd00::/8", "192.168.0.1", false},
		{"its network is listed last", "10.0.0.0/8 192.168.0.0/16", "192.168.0.1", true},
		{"mapped, the network inside is listed", "127.0.0.0/8", "::ffff:127.0.0.1", true},
		{"translated, the network inside is listed", "127.0.0.0/8", "64:ff9b::7f00:1", true},
		{"translated, the translator's prefix is listed", "64:ff9b::/96", "64:ff9b::7f00:1", true},
		{"with a zone", "fe80::/10", "fe80::1%eth0", true},
		{"a 6to4 address is not the one inside", "10.0.0.0/8", "2002:a00:1::1", false},
	} {
		var networks []netip.Prefix
		for _, s := range strings.Fields(c.networks) {
			networks = append(networks, netip.MustParsePrefix(s))
		}
		if got := Allowed(networks, netip.MustParseAddr(c.addr)); got != c.want {
			t.Errorf("%s: %s in %s: %v", c.what, c.addr, c.networks, got)
		}
	}
}

func TestParseNetwork(t *testing.T) {
	for s, want := range map[string]string{
		"10.0.0.0/8": "10.0.0.0/8", "10.0.0.1": "10.0.0.1/32", "fd00::1": "fd00::1/128",
		"fd00::/8": "fd00::/8", "::ffff:10.0.0.1": "10.0.0.1/32", "0.0.0.0/0": "0.0.0.0/0",
	} {
		if n, err := ParseNetwork(s); err != nil || n.String() != want {
			t.Errorf("%s: %v, %v; want %s", s, n, err, want)
		}
	}
	for _, s := range []string{"", "all", "10.0.0.0/33", "10.0.0.0/", "10.0.0.1/8", "fe80::1%eth0", "::ffff:10.0.0.0/104", "example.com"} {
		if n, err := ParseNetwork(s); err == nil || !strings.Contains(err.Error(), `"`+s+`"`) {
			t.Errorf("%q: %v, error %v", s, n, err)
		}
	}
}
