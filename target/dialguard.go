package target

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
)

// The dial guard stands between a transport and its dialer. A name that a record
// gives may lead anywhere, and elsewhere than a moment ago, so what is judged is the
// address that is dialled: the guard looks the name up, dials the addresses that are
// allowed and no name, and looks at what the connection leads to.

type (
	dialFunc   = func(ctx context.Context, network, address string) (net.Conn, error)
	lookupFunc = func(ctx context.Context, name string) ([]netip.Addr, error)
)

// guardTransport has every connection of a transport pass the guard. It serves
// requests directly: a forward proxy would look names up itself.
func guardTransport(t *reverseproxy.HTTPTransport, allow *AllowList) error {
	lookup, err := lookupOf(t.Resolver)
	if err != nil {
		return err
	}
	t.Transport.Proxy = nil
	patience := time.Duration(t.DialTimeout)
	t.Transport.DialContext = guarded(allow, lookup, patience, t.Transport.DialContext)
	if t.Transport.DialTLSContext != nil {
		t.Transport.DialTLSContext = guarded(allow, lookup, patience, t.Transport.DialTLSContext)
	}
	return nil
}

// maxTried bounds the addresses of one name that are dialled in turn.
const maxTried = 4

func guarded(allow *AllowList, lookup lookupFunc, patience time.Duration, dial dialFunc) dialFunc {
	return func(ctx context.Context, _, address string) (net.Conn, error) {
		// With the PROXY protocol the address has the client's in front.
		if to, ok := reverseproxy.GetDialInfo(ctx); ok {
			address = to.Address
			if to.Network != "tcp" {
				return nil, &noBackend{fmt.Sprintf("the network is %.20q: expected tcp", to.Network)}
			}
		}
		b, err := allow.Check(address, 0)
		if err != nil {
			return nil, err
		}
		places, err := placesOf(ctx, allow, lookup, patience, b)
		if err != nil {
			return nil, err
		}
		for _, at := range places[:min(len(places), maxTried)] {
			var conn net.Conn
			if conn, err = dial(pinned{ctx, at.String()}, "tcp", at.String()); err != nil {
				continue
			}
			if !leadsTo(conn, at) {
				conn.Close()
				return nil, &noBackend{fmt.Sprintf("%s was dialled, and the connection leads to %s", at, conn.RemoteAddr())}
			}
			return conn, nil
		}
		return nil, err
	}
}

// placesOf are the addresses of a backend that are allowed.
func placesOf(ctx context.Context, allow *AllowList, lookup lookupFunc, patience time.Duration, b Backend) ([]netip.AddrPort, error) {
	if b.Addr.IsValid() {
		return []netip.AddrPort{netip.AddrPortFrom(b.Addr, b.Port)}, nil
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	addrs, err := lookup(ctx, b.Name)
	if err == nil && len(addrs) == 0 {
		err = errors.New("it has no addresses")
	}
	if err != nil {
		return nil, reverseproxy.NewDialError(fmt.Errorf("looking up %s: %w", b.Name, err))
	}
	var places []netip.AddrPort
	for _, addr := range addrs {
		at := netip.AddrPortFrom(addr.Unmap(), b.Port)
		if refused := allow.CheckAddr(b.Name, at); refused != nil {
			err = refused
			continue
		}
		places = append(places, at)
	}
	if len(places) > 0 {
		return places, nil
	}
	return nil, err
}

func leadsTo(conn net.Conn, at netip.AddrPort) bool {
	remote, err := netip.ParseAddrPort(conn.RemoteAddr().String())
	return err == nil && netip.AddrPortFrom(remote.Addr().Unmap(), remote.Port()) == at
}

// pinned is a context in which the address to dial, which Caddy's transport takes
// from there, is the one that was judged.
type pinned struct {
	context.Context
	address string
}

// Value implements context.Context.
func (p pinned) Value(key any) any {
	v := p.Context.Value(key)
	if to, ok := v.(reverseproxy.DialInfo); ok {
		to.Address = p.address
		return to
	}
	return v
}

// lookupOf looks names up as the transport would: at its own resolvers, or the
// system's. A name of several labels is complete: no search list is appended.
func lookupOf(own *reverseproxy.UpstreamResolver) (lookupFunc, error) {
	resolver := net.DefaultResolver
	if own != nil && len(own.Addresses) > 0 {
		servers := make([]caddy.NetworkAddress, len(own.Addresses))
		for i, a := range own.Addresses {
			var err error
			if servers[i], err = caddy.ParseNetworkAddressWithDefaults(a, "udp", 53); err != nil {
				return nil, fmt.Errorf("reading resolver %q: %w", a, err)
			}
		}
		resolver = &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
			s := servers[rand.IntN(len(servers))] // as the transport does
			if strings.HasPrefix(network, "tcp") {
				s.Network = "tcp" // the answer by UDP was cut
			}
			return new(net.Dialer).DialContext(ctx, s.Network, s.JoinHostPort(0))
		}}
	}
	return func(ctx context.Context, name string) ([]netip.Addr, error) {
		if strings.Contains(name, ".") {
			name += "."
		}
		return resolver.LookupNetIP(ctx, "ip", name)
	}, nil
}
