package caddyapoxy

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/apoxy-dev/caddy-apoxy/issuance/edge"
	"github.com/apoxy-dev/caddy-apoxy/ownership"
)

const (
	// edgeInterval is how often the edge's hostname is resolved.
	edgeInterval = 30 * time.Second
	// edgeMemory is how long an address counts that was seen there: load
	// balancers answer with a few of many, in turns.
	edgeMemory = time.Hour
	// edgeMost bounds the addresses remembered.
	edgeMost = 64
)

// edgeHost remembers the addresses of an `edge` that is a hostname. An apex
// whose DNS provider flattens that name has these addresses, and no CNAME.
type edgeHost struct {
	mu   sync.Mutex
	host string
	seen map[netip.Addr]time.Time
}

// note adds what a hostname resolves to now.
func (e *edgeHost) note(host string, addrs []netip.Addr, now time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.host != host {
		e.host, e.seen = host, map[netip.Addr]time.Time{}
	}
	maps.DeleteFunc(e.seen, func(_ netip.Addr, at time.Time) bool { return now.Sub(at) > edgeMemory })
	for _, a := range addrs {
		if _, known := e.seen[a.Unmap()]; known || len(e.seen) < edgeMost {
			e.seen[a.Unmap()] = now
		}
	}
}

// addresses are those seen of a hostname lately, in order.
func (e *edgeHost) addresses(host string) []netip.Addr {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.host != host {
		return nil
	}
	return slices.SortedFunc(maps.Keys(e.seen), netip.Addr.Compare)
}

// followEdge keeps the addresses of the edge's hostname, if it is one.
func (rt *runtime) followEdge(ctx context.Context) error {
	tick := time.NewTicker(edgeInterval)
	defer tick.Stop()
	for {
		rt.resolveEdge(ctx, rt.apps.Current())
		select {
		case <-ctx.Done():
			return nil
		case <-rt.edgeChanged:
		case <-tick.C:
		}
	}
}

func (rt *runtime) resolveEdge(ctx context.Context, a *App) {
	if a == nil || a.zone.EdgeHost == "" {
		return
	}
	addrs, err := a.resolver.Addresses(ctx, a.zone.EdgeHost)
	if err != nil {
		if ctx.Err() == nil {
			rt.logger.Warn("the hostname in `edge` could not be resolved; what it resolved to lately counts", zap.Error(err))
		}
		return
	}
	rt.edge.note(a.zone.EdgeHost, addrs, time.Now())
}

// edgeZone is the zone of a configuration, the addresses of its edge included.
func (rt *runtime) edgeZone(a *App) ownership.Zone {
	z := a.settings.Zone
	if z.EdgeHost != "" {
		z.EdgeAddresses = rt.edge.addresses(z.EdgeHost)
	}
	return z
}

// edgeAddresses are those of the edge, as far as they are known.
func (a *App) edgeAddresses() []netip.Addr {
	if rt := a.rt.Load(); rt != nil {
		return rt.edgeZone(a).EdgeAddresses
	}
	return a.zone.EdgeAddrs
}

// edgeNow is what CAs meet where customers' hostnames lead.
func (rt *runtime) edgeNow() edge.Endpoint {
	a := rt.apps.Current()
	if a == nil {
		return edge.Endpoint{}
	}
	z := rt.edgeZone(a)
	e := edge.Endpoint{Name: z.EdgeHost, Addresses: z.EdgeAddresses}
	if e.Name == "" {
		e.Name = fmt.Sprint(z.EdgeAddresses)
	}
	switch {
	case a.edgeCheck.off:
		e.Addresses = nil
	case len(a.edgeCheck.addrs) > 0:
		e.Addresses = a.edgeCheck.addrs
		// That a port is listened on inside does not make it open outside, unless
		// the operator says so.
		if h := a.http.Load(); h != nil {
			e.HTTPPort, e.HTTPSPort = h.HTTPPort, h.HTTPSPort
		}
	}
	return e
}
