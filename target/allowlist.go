package target

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"

	"golang.org/x/net/idna"

	"github.com/apoxy-dev/caddy-apoxy/internal/specialpurpose"
)

// ErrNoBackend is what a request meets whose record names no backend, or one that
// the operator does not allow.
var ErrNoBackend = errors.New("no backend")

// AllowList is what backends a record may name. It never changes.
//
// A backend that is an address must lie in a listed network. One that is a name must
// be a listed name, and the address that it has when it is dialled must either be
// publicly reachable or lie in a listed network too. A special-purpose address (RFC
// 6890: private, loopback, link-local …) lies in a listed network only if that is no
// wider than its own block: 0.0.0.0/0 opens no private network.
type AllowList struct {
	networks []allowedNetwork
	names    []allowedName
	text     string
}

type allowedNetwork struct {
	network netip.Prefix
	port    uint16 // 0: any
}

type allowedName struct {
	name     string // A-labels, lower case, no final dot
	wildcard bool   // whatever ends in "."+name
	port     uint16 // 0: any
}

// maxEntries bounds a list, which is walked for each request.
const maxEntries = 256

// ParseAllowList reads the entries of a list: networks such as 10.0.0.0/8, addresses,
// names such as api.internal, and *.svc.internal for every name below svc.internal,
// at any depth. Each may end with a port, as 10.0.0.0/8:8080, [fd00::/8]:8080 and
// *.svc.internal:8080; without one it allows any. Loopback needs one, because the
// admin endpoint listens there.
func ParseAllowList(entries []string) (*AllowList, error) {
	if len(entries) == 0 {
		return nil, errors.New("expected networks and names, such as 10.0.0.0/8 *.svc.internal")
	}
	if len(entries) > maxEntries {
		return nil, fmt.Errorf("%d entries: expected at most %d", len(entries), maxEntries)
	}
	l := &AllowList{text: strings.Join(entries, " ")}
	for _, e := range entries {
		if err := l.add(e); err != nil {
			return nil, err
		}
	}
	return l, nil
}

// String is the list as it was written.
func (l *AllowList) String() string { return l.text }

func (l *AllowList) add(entry string) error {
	what, port, err := splitEntry(entry)
	if err != nil {
		return err
	}
	if network, ok := parseNetwork(what); ok {
		return l.addNetwork(entry, network, port)
	}
	if strings.Contains(what, "/") {
		if _, err := specialpurpose.ParseNetwork(what); err != nil {
			return err
		}
	}
	base, wildcard := strings.CutPrefix(what, "*.")
	name, ok := hostname(base)
	if !ok {
		return fmt.Errorf("%.100q: expected a network such as 10.0.0.0/8, an address, a name, or *.svc.internal, each with a port or without", entry)
	}
	l.names = append(l.names, allowedName{name, wildcard, port})
	return nil
}

func (l *AllowList) addNetwork(entry string, network netip.Prefix, port uint16) error {
	block, special := specialpurpose.Of(network.Addr())
	inside := special && within(network, block.Network)
	switch addr := network.Addr(); {
	case inside && (addr.IsMulticast() || addr.IsUnspecified() || nowhere.Contains(addr)):
		return fmt.Errorf("%.100q is %s: no backend has such an address", entry, block.Purpose)
	case inside && addr.IsLoopback() && port == 0:
		return fmt.Errorf("%.100q is loopback, where the admin endpoint listens: expected a port with it, such as %s", entry, withPort(network, 8080))
	}
	l.networks = append(l.networks, allowedNetwork{network, port})
	return nil
}

// nowhere is "this network", whose addresses lead to the machine itself.
var nowhere = netip.MustParsePrefix("0.0.0.0/8")

func withPort(n netip.Prefix, port uint16) string {
	if n.Addr().Is6() {
		return fmt.Sprintf("[%s]:%d", n, port)
	}
	return fmt.Sprintf("%s:%d", n, port)
}

func within(n, block netip.Prefix) bool {
	return n.Bits() >= block.Bits() && block.Contains(n.Addr())
}

// splitEntry parts a port from an entry, 0 if it has none.
func splitEntry(entry string) (what string, port uint16, err error) {
	if _, ok := parseNetwork(entry); ok {
		return entry, 0, nil // of IPv6 without brackets
	}
	what, text := entry, ""
	if i := strings.LastIndexByte(entry, ':'); i >= 0 {
		what, text = entry[:i], entry[i+1:]
	}
	if inner, ok := strings.CutPrefix(what, "["); ok {
		if what, ok = strings.CutSuffix(inner, "]"); !ok {
			return "", 0, fmt.Errorf("%.100q: expected [fd00::/8]:8080, with the port behind the bracket", entry)
		}
	}
	if what == entry {
		return entry, 0, nil
	}
	if port, err = parsePort(text); err != nil {
		return "", 0, fmt.Errorf("%.100q: the port is %.20q: %w", entry, text, err)
	}
	return what, port, nil
}

func parseNetwork(s string) (netip.Prefix, bool) {
	n, err := specialpurpose.ParseNetwork(s)
	return n, err == nil
}

func parsePort(s string) (uint16, error) {
	n, err := strconv.ParseUint(s, 10, 16)
	if err != nil || n == 0 || s[0] == '+' || s[0] == '0' {
		return 0, errors.New("expected a number from 1 to 65535")
	}
	return uint16(n), nil
}

// Backend is where a record sends its requests: an address or a name, and a port.
type Backend struct {
	// Addr is the address, invalid if the backend is a name.
	Addr netip.Addr
	// Name is in A-labels, lower case, without a final dot.
	Name string
	Port uint16
}

// String is host:port, as net.Dial takes it.
func (b Backend) String() string {
	host := b.Name
	if b.Addr.IsValid() {
		host = b.Addr.String()
	}
	return net.JoinHostPort(host, strconv.Itoa(int(b.Port)))
}

// Check reads a backend as host:port, or host alone with the given port, and returns
// it if it is allowed as it is written; where it is a name, CheckAddr judges what it
// leads to. An error goes on after the name of what holds the backend, and wraps
// ErrNoBackend.
func (l *AllowList) Check(s string, port uint16) (Backend, error) {
	b, ok := parseBackend(s, port)
	if !ok {
		return Backend{}, &noBackend{fmt.Sprintf("is %.100q: expected a host and a port, such as 10.0.0.5:8080 or [fd00::5]:8080, and no scheme or path", s)}
	}
	if b.Addr.IsValid() && l.permits(b.Addr, b.Port) || !b.Addr.IsValid() && l.lists(b) {
		return b, nil
	}
	return Backend{}, &noBackend{fmt.Sprintf("is %.100q, which is not among the allowed upstreams (%.200s)", s, l.text)}
}

// CheckAddr judges an address that a listed name led to. An error wraps ErrNoBackend.
func (l *AllowList) CheckAddr(name string, at netip.AddrPort) error {
	addr := at.Addr().Unmap()
	if addr.Zone() == "" {
		if _, special := specialpurpose.Of(addr); !special || l.permits(addr, at.Port()) {
			return nil
		}
	}
	block, _ := specialpurpose.Of(addr)
	return &noBackend{fmt.Sprintf("%s leads to %s, in %s: no such network is among the allowed upstreams (%.200s)", name, at, block, l.text)}
}

// permits reports whether an address is in a listed network.
func (l *AllowList) permits(addr netip.Addr, port uint16) bool {
	block, special := specialpurpose.Of(addr)
	for _, n := range l.networks {
		if (n.port == 0 || n.port == port) && specialpurpose.Allowed([]netip.Prefix{n.network}, addr) &&
			(!special || within(n.network, block.Network)) {
			return true
		}
	}
	return false
}

// lists reports whether a name is listed.
func (l *AllowList) lists(b Backend) bool {
	for _, n := range l.names {
		if n.port != 0 && n.port != b.Port {
			continue
		}
		if !n.wildcard && b.Name == n.name {
			return true
		}
		if above, ok := strings.CutSuffix(b.Name, n.name); n.wildcard && ok && len(above) > 1 && strings.HasSuffix(above, ".") {
			return true
		}
	}
	return false
}

func parseBackend(s string, port uint16) (Backend, bool) {
	if addr, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(s, "["), "]")); err == nil {
		return Backend{Addr: addr.Unmap(), Port: port}, addr.Zone() == ""
	}
	host := s
	if strings.Contains(s, ":") {
		h, text, err := net.SplitHostPort(s)
		if err != nil {
			return Backend{}, false
		}
		if port, err = parsePort(text); err != nil {
			return Backend{}, false
		}
		host = h
	}
	if addr, err := netip.ParseAddr(host); err == nil {
		return Backend{Addr: addr.Unmap(), Port: port}, addr.Zone() == ""
	}
	name, ok := hostname(host)
	return Backend{Name: name, Port: port}, ok
}

// hostname is a name in A-labels (RFC 5890), lower case, without its final dot. What
// ends in a number is none: resolvers may take it for an address (WHATWG URL, "ends
// in a number"). Underscores are taken, as containers have them.
func hostname(s string) (string, bool) {
	if len(s) > 1024 {
		return "", false
	}
	s = strings.TrimSuffix(s, ".")
	for i := range len(s) {
		if s[i] >= 0x80 {
			a, err := idna.Lookup.ToASCII(s)
			if err != nil {
				return "", false
			}
			s = strings.TrimSuffix(a, ".")
			break
		}
	}
	s = strings.ToLower(s)
	if s == "" || len(s) > 253 {
		return "", false
	}
	labels := strings.Split(s, ".")
	for _, l := range labels {
		if !isLabel(l) {
			return "", false
		}
	}
	last := labels[len(labels)-1]
	_, err := strconv.ParseUint(last, 0, 64)
	return s, err != nil && strings.Trim(last, "0123456789") != "" && !strings.HasPrefix(last, "0x")
}

func isLabel(s string) bool {
	for i := range len(s) {
		if c := s[i]; !(c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-' || c == '_') {
			return false
		}
	}
	return s != "" && len(s) <= 63 && s[0] != '-' && s[len(s)-1] != '-'
}

// noBackend says why there is none.
type noBackend struct{ why string }

func (e *noBackend) Error() string { return e.why }
func (e *noBackend) Unwrap() error { return ErrNoBackend }
