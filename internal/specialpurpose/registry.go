package specialpurpose

import "net/netip"

type entry struct {
	network netip.Prefix
	purpose string // empty: an exception, globally reachable
}

// registry holds the entries of the IANA IPv4 and IPv6 Special-Purpose Address
// Registries (RFC 6890, RFC 8190) that are not globally reachable, the exceptions
// inside them that are, and the multicast, site-local and reserved networks of
// IANA's other tables. The more specific comes first.
var registry = []entry{
	// Globally reachable parts of 192.0.0.0/24.
	{p("192.0.0.9/32"), ""},  // Port Control Protocol Anycast (RFC 7723)
	{p("192.0.0.10/32"), ""}, // TURN Anycast (RFC 8155)

	{p("0.0.0.0/8"), "this network itself (RFC 791)"},
	{p("10.0.0.0/8"), "for private use (RFC 1918)"},
	{p("100.64.0.0/10"), "shared between a provider and its customers (RFC 6598)"},
	{p("127.0.0.0/8"), "loopback (RFC 1122)"},
	{p("169.254.0.0/16"), "link-local (RFC 3927)"},
	{p("172.16.0.0/12"), "for private use (RFC 1918)"},
	{p("192.0.0.0/24"), "for protocol assignments (RFC 6890)"},
	{p("192.0.2.0/24"), "for documentation (RFC 5737)"},
	{p("192.88.99.0/24"), "for 6to4 relays, which are gone (RFC 7526)"},
	{p("192.168.0.0/16"), "for private use (RFC 1918)"},
	{p("198.18.0.0/15"), "for benchmarks (RFC 2544)"},
	{p("198.51.100.0/24"), "for documentation (RFC 5737)"},
	{p("203.0.113.0/24"), "for documentation (RFC 5737)"},
	{p("224.0.0.0/4"), "multicast (RFC 5771)"},
	{p("255.255.255.255/32"), "broadcast (RFC 919)"},
	{p("240.0.0.0/4"), "reserved (RFC 1112)"},

	{p("::/128"), "the unspecified address (RFC 4291)"},
	{p("::1/128"), "loopback (RFC 4291)"},
	{p("::/96"), "for IPv4-compatible addresses, which are gone (RFC 4291)"},
	{p("64:ff9b:1::/48"), "for translation to IPv4 inside a network (RFC 8215)"},
	{p("100::/64"), "for discarding (RFC 6666)"},
	{p("100:0:0:1::/64"), "a dummy prefix (RFC 9780)"},
	{p("fc00::/7"), "unique local (RFC 4193)"},
	{p("fe80::/10"), "link-local (RFC 4291)"},
	{p("fec0::/10"), "site-local (RFC 3879)"},
	{p("ff00::/8"), "multicast (RFC 4291)"},
	{p("5f00::/16"), "for segment routing (RFC 9602)"},

	// Globally reachable parts of 2001::/23.
	{p("2001:1::1/128"), ""},   // Port Control Protocol Anycast (RFC 7723)
	{p("2001:1::2/128"), ""},   // TURN Anycast (RFC 8155)
	{p("2001:1::3/128"), ""},   // DNS-SD Service Registration Protocol Anycast (RFC 9665)
	{p("2001:3::/32"), ""},     // AMT (RFC 7450)
	{p("2001:4:112::/48"), ""}, // AS112 (RFC 7535)
	{p("2001:20::/28"), ""},    // ORCHIDv2 (RFC 7343)
	{p("2001:30::/28"), ""},    // Drone Remote ID (RFC 9374)

	{p("2001::/32"), "for Teredo tunnels (RFC 4380)"},
	{p("2001:2::/48"), "for benchmarks (RFC 5180)"},
	{p("2001:10::/28"), "for ORCHID, which is gone (RFC 4843)"},
	{p("2001::/23"), "for protocol assignments (RFC 2928)"},
	{p("2001:db8::/32"), "for documentation (RFC 3849)"},
	{p("2002::/16"), "for 6to4 tunnels (RFC 3056)"},
	{p("3fff::/20"), "for documentation (RFC 9637)"},

	{p("2000::/3"), ""}, // global unicast (RFC 4291)
	{p("::/0"), "reserved (RFC 4291)"},
}

func p(s string) netip.Prefix { return netip.MustParsePrefix(s) }
