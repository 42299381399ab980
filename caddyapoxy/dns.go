package caddyapoxy

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"syscall"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/apoxy-dev/caddy-apoxy/dnsprovider"
	"github.com/apoxy-dev/caddy-apoxy/hosts"
)

// listeners holds one DNS server per listen address, across configurations, so
// that a reload closes no socket and loses no query.
var listeners = caddy.NewUsagePool()

// dnsListener is a DNS server and the zones that it answers from.
type dnsListener struct {
	address string
	server  *dnsprovider.Server
	zones   generations[dnsprovider.Authority]
}

// Destruct closes the sockets.
func (l *dnsListener) Destruct() error { return l.server.Close() }

// openZones builds the zones of this configuration over the records in rt.
func (a *App) openZones(rt *runtime) error {
	rrsets, err := rt.rrsetsOf(a.zone.Name)
	if err != nil {
		return err
	}
	config := a.zone
	if !rt.member.Alone() {
		config.Current = rt.member.Live
	}
	if a.DomainConnect != nil {
		config.Texts = rt.connecting.texts
	}
	config.OnQuery = func(hostname []byte, proven bool) { rt.hint(string(hostname), proven) }
	if a.ownZone, err = dnsprovider.NewZone(config, zoneNames{rt.table}, rrsets); err != nil {
		return err // names the zone
	}
	sources := []dnsprovider.Source{a.ownZone}
	for _, zf := range a.zonefiles {
		sources = append(sources, zf)
	}
	authority, err := dnsprovider.NewAuthority(sources...)
	if err != nil {
		return fmt.Errorf("serving the zones: %w", err)
	}
	a.authority = authority.Limited(a.rateLimit())
	return nil
}

// rrsetsOf returns the RRsets that were put into a zone, once they are read.
func (rt *runtime) rrsetsOf(zone string) (*dnsprovider.RRSets, error) {
	rt.mu.Lock()
	defer rt.mu.Unlock()
	if r, ok := rt.rrsets[zone]; ok {
		return r, nil
	}
	r, err := dnsprovider.NewRRSets(rt.store, zone, rt.logger.Named("zone"))
	if err != nil {
		return nil, fmt.Errorf("zone %s: %w", zone, err)
	}
	if !rt.member.Alone() {
		r.SharedWith(zonePeers{rt})
	}
	rt.run("following the RRsets of "+zone, r.Run)
	ctx, cancel := context.WithTimeout(rt.ctx, loadTimeout)
	defer cancel()
	if err := r.WaitRevision(ctx, 0); err != nil {
		return nil, fmt.Errorf("reading the RRsets of %s: %w", zone, err)
	}
	rt.rrsets[zone] = r
	return r, nil
}

// listenDNS answers DNS on the configured addresses from now on. An address that
// overlaps one that the configuration before answers on takes over from it.
func (a *App) listenDNS() error {
	for _, address := range a.DNS {
		shared := slices.ContainsFunc(heldAddresses(), func(h string) bool { return overlap(address, h) })
		v, _, err := listeners.LoadOrNew(address, func() (caddy.Destructor, error) {
			l := &dnsListener{address: address}
			server, err := dnsprovider.Listen(context.Background(), address, dnsprovider.ServerOptions{
				Logger:    a.held.logger.Named("dns"),
				Authority: a.authority,
				Guard:     dnsGuard(),
				Shared:    shared,
			})
			if err != nil {
				return nil, fmt.Errorf("answering DNS on %s: %w", address, err)
			}
			l.server = server
			l.zones.changed = server.SetAuthority
			return l, nil
		})
		if err != nil {
			return fmt.Errorf("%w; %s", err, bindMend(err, address, heldAddresses()))
		}
		l := v.(*dnsListener)
		l.zones.Push(a.authority)
		a.dns = append(a.dns, l)
		a.logger.Info("answering DNS", zap.String("address", address), zap.String("zone", a.zone.Name))
	}
	return nil
}

// heldAddresses are those that this process answers DNS on.
func heldAddresses() (held []string) {
	listeners.Range(func(key, _ any) bool {
		held = append(held, key.(string))
		return true
	})
	return held
}

// bindMend says what to do about an address that cannot be bound, by the
// addresses that this process holds already.
func bindMend(err error, address string, held []string) string {
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		for _, h := range held {
			if overlap(address, h) {
				return "this process answers on " + h + " already, which overlaps, and the system does not let both: restart Caddy instead of reloading"
			}
		}
		return "another program answers there (on a desktop mostly systemd-resolved): stop it, or name this machine's public address with `dns`"
	case errors.Is(err, syscall.EACCES):
		return "ports below 1024 need root or the capability CAP_NET_BIND_SERVICE"
	}
	return "see that this machine has the address, or name another with `dns`"
}

// overlap reports whether one of two listen addresses of one port is every
// address of the machine.
func overlap(a, b string) bool {
	hostA, portA, errA := net.SplitHostPort(a)
	hostB, portB, errB := net.SplitHostPort(b)
	every := func(host string) bool {
		addr, err := netip.ParseAddr(host)
		return host == "" || err == nil && addr.IsUnspecified()
	}
	return errA == nil && errB == nil && portA == portB && (every(hostA) || every(hostB))
}

// closeDNS takes this configuration's zones back; sockets that no other
// configuration uses are closed.
func (a *App) closeDNS() {
	for _, l := range a.dns {
		l.zones.Remove(a.authority)
		if _, err := listeners.Delete(l.address); err != nil {
			a.logger.Error("closing a DNS socket failed", zap.String("address", l.address), zap.Error(err))
		}
	}
	a.dns = nil
}

// zoneNames shows the zone the records as it needs to see them.
type zoneNames struct{ table *hosts.Table }

// Lookup implements dnsprovider.Names.
func (n zoneNames) Lookup(hostname []byte) (dnsprovider.Name, bool) {
	h, ok := n.table.GetBytes(hostname)
	if !ok {
		return dnsprovider.Name{}, false
	}
	return dnsprovider.Name{TTL: h.TTL, TLS: h.TLS, Unsettled: !h.Settled()}, true
}

// HasBelow implements dnsprovider.Names.
func (n zoneNames) HasBelow(name []byte) bool { return n.table.HasBelow(name) }

// Whole implements dnsprovider.Names.
func (n zoneNames) Whole() bool { return n.table.Whole() }
