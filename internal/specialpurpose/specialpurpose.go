package specialpurpose

import (
	"fmt"
	"net/netip"
	"strings"
)

// Block is a network whose addresses serve a special purpose.
type Block struct {
	// Network is the most specific entry that an address lies in.
	Network netip.Prefix
	// Purpose ends the sentence "the network is …".
	Purpose string
}

// String is the network and its purpose, such as "10.0.0.0/8, for private use".
func (b Block) String() string { return b.Network.String() + ", " + b.Purpose }

// Of returns the block that an address lies in, and whether there is one. An
// IPv4 address inside an IPv6 one (RFC 4291 section 2.5.5.2, RFC 6052 section 2.1)
// is judged in its place. All that is neither special nor global unicast (RFC
// 4291 section 2.4) counts as reserved. The invalid address lies in no block.
func Of(addr netip.Addr) (Block, bool) {
	if !addr.IsValid() {
		return Block{}, false
	}
	addr = inner(addr)
	for _, e := range registry {
		if e.network.Contains(addr) {
			return Block{e.network, e.purpose}, e.purpose != ""
		}
	}
	return Block{}, false
}

// Allowed reports whether an address, or the IPv4 address inside it, lies in one
// of the networks that somebody has listed.
func Allowed(networks []netip.Prefix, addr netip.Addr) bool {
	addr = addr.WithZone("")
	in := inner(addr)
	for _, n := range networks {
		if n.Contains(in) || n.Contains(addr) {
			return true
		}
	}
	return false
}

// ParseNetwork reads a network in CIDR notation, or an address, which is the
// network of itself alone. An error says what was expected.
func ParseNetwork(s string) (netip.Prefix, error) {
	if !strings.Contains(s, "/") {
		addr, err := netip.ParseAddr(s)
		if err != nil || addr.Zone() != "" {
			return netip.Prefix{}, fmt.Errorf("expected a network such as 10.0.0.0/8 or fd00::/8, or an IP address, got %q", s)
		}
		addr = addr.Unmap()
		return netip.PrefixFrom(addr, addr.BitLen()), nil
	}
	n, err := netip.ParsePrefix(s)
	if err != nil || n.Addr().Is4In6() {
		return netip.Prefix{}, fmt.Errorf("expected a network such as 10.0.0.0/8 or fd00::/8, or an IP address, got %q", s)
	}
	if n != n.Masked() {
		return netip.Prefix{}, fmt.Errorf("expected a network such as 10.0.0.0/8, got %q, which has bits set behind the prefix: write %s, or the address alone", s, n.Masked())
	}
	return n, nil
}

var translated = netip.MustParsePrefix("64:ff9b::/96")

// inner is the IPv4 address that a packet to addr ends at, where addr tells, else
// addr itself. Where a translator of the machine's own network (64:ff9b:1::/48)
// or a tunnel (6to4, Teredo) leads is not told by the address alone: the registry
// has them as special.
func inner(addr netip.Addr) netip.Addr {
	addr = addr.Unmap().WithZone("")
	if translated.Contains(addr) {
		b := addr.As16()
		return netip.AddrFrom4([4]byte(b[12:]))
	}
	return addr
}
