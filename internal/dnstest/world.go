package dnstest

import (
	"context"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// World is a small DNS of its own: a root, name servers with zones, and one
// recursive resolver, each on a loopback address of its own and all on one
// port, UDP and TCP. It ends with the test.
type World struct {
	// Recursor is the recursive resolver, at 127.0.0.1 and Port.
	Recursor *Recursor

	tb   testing.TB
	port int
	done chan struct{}
	// The TCP connections that are open: what drips must get past the framing.
	conns connections

	mu      sync.Mutex
	servers map[string]*Server // by name, absolute
	zones   map[string]*Zone   // by origin
	infra   *Server            // serves the root, the TLDs and the servers' own names
	last    uint16             // the last address handed out
	running []*dns.Server
}

// New starts a World that ends with the test.
func New(tb testing.TB) *World {
	tb.Helper()
	w := &World{
		tb:      tb,
		done:    make(chan struct{}),
		servers: make(map[string]*Server),
		zones:   make(map[string]*Zone),
	}
	w.Recursor = newRecursor(w)
	tb.Cleanup(w.close)
	var s sockets
	var err error
	for range 20 {
		// The port of 127.0.0.1 is held for as long as the world exists, so no
		// two worlds share a port.
		if s, err = bind(netip.AddrFrom4([4]byte{127, 0, 0, 1}), 0); err == nil {
			break
		}
	}
	if err != nil {
		tb.Fatalf("binding the recursive resolver: %v", err)
	}
	w.port = s.l.Addr().(*net.TCPAddr).Port
	w.infra = w.Server("a.root-servers.test.")
	w.zone(".", w.infra)
	w.publish(w.infra)
	w.serve(s, w.Recursor)
	return w
}

// Port is the port that every server of the world listens on.
func (w *World) Port() int { return w.port }

// Server returns the name server of that name, and starts it on an address of
// its own when it is new. Its name resolves.
func (w *World) Server(name string) *Server {
	w.tb.Helper()
	name = absolute(name)
	w.mu.Lock()
	s, ok := w.servers[name]
	if ok {
		w.mu.Unlock()
		return s
	}
	w.last++
	s = &Server{
		Name:  name,
		Addr:  netip.AddrFrom4([4]byte{127, 53, byte(w.last >> 8), byte(w.last)}),
		world: w,
		zones: make(map[string]*Zone),
	}
	w.servers[name] = s
	w.mu.Unlock()
	bound, err := bind(s.Addr, w.port)
	if err != nil {
		w.tb.Fatalf("binding name server %s: %v", name, err)
	}
	w.serve(bound, s)
	if w.infra != nil {
		w.publish(s)
	}
	return s
}

// Servers are all name servers of the world, in no order.
func (w *World) Servers() []*Server {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Collect(maps.Values(w.servers))
}

// Zone returns the zone of that origin. A new one gets an SOA, an NS record for
// each server, and a delegation in its parent.
func (w *World) Zone(origin string, servers ...*Server) *Zone {
	w.tb.Helper()
	origin = absolute(origin)
	w.mu.Lock()
	z, ok := w.zones[origin]
	w.mu.Unlock()
	if ok && (!z.auto || len(servers) == 0) {
		for _, s := range servers {
			s.serve(z)
		}
		return z
	}
	if ok {
		// It was made for the servers' own names; now it becomes the test's.
		w.mu.Lock()
		delete(w.zones, origin)
		w.mu.Unlock()
		w.infra.Forget(z)
	}
	fresh := w.zone(origin, servers...)
	if ok {
		fresh.adopt(z)
	}
	return fresh
}

// register makes sure that the top-level domain of a name exists.
func (w *World) register(origin string) {
	labels := dns.SplitDomainName(origin)
	if len(labels) < 2 {
		return
	}
	tld := labels[len(labels)-1] + "."
	w.mu.Lock()
	_, ok := w.zones[tld]
	w.mu.Unlock()
	if !ok {
		w.zone(tld, w.infra)
	}
}

func (w *World) zone(origin string, servers ...*Server) *Zone {
	w.tb.Helper()
	w.register(origin)
	z := newZone(w, origin)
	z.Set(fmt.Sprintf("@ 300 IN SOA %s hostmaster.%s 1 3600 600 86400 60", servers[0].Name, strings.TrimPrefix(origin, ".")))
	var ns []string
	for _, s := range servers {
		ns = append(ns, fmt.Sprintf("@ 300 IN NS %s", s.Name))
	}
	z.Set(ns...)
	w.mu.Lock()
	parent := w.enclosing(origin)
	w.zones[origin] = z
	w.mu.Unlock()
	for _, s := range servers {
		s.serve(z)
	}
	if parent != nil {
		ns = ns[:0]
		for _, s := range servers {
			ns = append(ns, fmt.Sprintf("%s 300 IN NS %s", origin, s.Name))
			if dns.IsSubDomain(origin, s.Name) {
				address := fmt.Sprintf("%s 300 IN A %s", s.Name, s.Addr)
				parent.Set(address)
				z.Set(address)
			}
		}
		parent.Set(ns...)
	}
	return z
}

// enclosing returns the deepest zone that holds name; w.mu is held.
func (w *World) enclosing(name string) *Zone {
	for n := name; ; n = parentOf(n) {
		if z, ok := w.zones[n]; ok {
			return z
		}
		if n == "." {
			return nil
		}
	}
}

// publish gives a server's name an address in the deepest zone that holds it,
// a zone of the infrastructure if there is none below the TLD.
func (w *World) publish(s *Server) {
	w.register(s.Name)
	labels := dns.SplitDomainName(s.Name)
	w.mu.Lock()
	z := w.enclosing(s.Name)
	w.mu.Unlock()
	if strings.Count(z.Origin, ".") < 2 && len(labels) > 2 {
		z = w.zone(strings.Join(labels[len(labels)-2:], ".")+".", w.infra)
		z.auto = true
	}
	z.Set(fmt.Sprintf("%s 300 IN A %s", s.Name, s.Addr))
}

// sockets are UDP and TCP of one address and port.
type sockets struct {
	l  net.Listener
	pc net.PacketConn
}

// bind takes an address and port; port 0: any that is free for both.
func bind(addr netip.Addr, port int) (sockets, error) {
	l, err := net.Listen("tcp", netip.AddrPortFrom(addr, uint16(port)).String())
	if err != nil {
		return sockets{}, err
	}
	port = l.Addr().(*net.TCPAddr).Port
	pc, err := net.ListenPacket("udp", netip.AddrPortFrom(addr, uint16(port)).String())
	if err != nil {
		l.Close()
		return sockets{}, err
	}
	return sockets{l, pc}, nil
}

// serve answers by h until the world ends.
func (w *World) serve(at sockets, h dns.Handler) {
	for _, s := range []*dns.Server{{Listener: &recording{at.l, &w.conns}, Handler: h}, {PacketConn: at.pc, Handler: h}} {
		started := make(chan struct{})
		s.NotifyStartedFunc = func() { close(started) }
		go s.ActivateAndServe()
		<-started
		w.mu.Lock()
		w.running = append(w.running, s)
		w.mu.Unlock()
	}
}

func (w *World) close() {
	close(w.done)
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	w.mu.Lock()
	running := w.running
	w.mu.Unlock()
	for _, s := range running {
		s.ShutdownContext(ctx)
	}
}

func absolute(name string) string { return dns.Fqdn(strings.ToLower(name)) }

func parentOf(name string) string {
	i, end := dns.NextLabel(name, 0)
	if end || name == "." {
		return "."
	}
	return name[i:]
}
