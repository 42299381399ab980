package dnstest

import (
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/miekg/dns"
)

// Server is a name server.
type Server struct {
	// Name is the server's own name, absolute.
	Name string
	// Addr is where it listens, on the world's port.
	Addr netip.Addr

	world     *World
	mu        sync.Mutex
	zones     map[string]*Zone
	behaviour Behaviour
	queries   atomic.Int64
	asked     atomic.Int64
}

// Queries is how many queries have reached the server, the Recursor's included.
func (s *Server) Queries() int { return int(s.queries.Load()) }

// Asked is how many queries have reached the server over its sockets, by UDP and
// TCP: those that are not the Recursor's.
func (s *Server) Asked() int { return int(s.asked.Load()) }

// Behave makes the server answer every query by b; nil: honestly.
func (s *Server) Behave(b Behaviour) {
	s.mu.Lock()
	s.behaviour = b
	s.mu.Unlock()
}

// Fork gives the server a copy of its own of a zone, so that it can differ from
// the other servers'.
func (s *Server) Fork(z *Zone) *Zone {
	c := z.clone()
	s.serve(c)
	return c
}

// Forget makes the server lame for a zone: it is delegated to, and refuses.
func (s *Server) Forget(z *Zone) {
	s.mu.Lock()
	delete(s.zones, z.Origin)
	s.mu.Unlock()
}

func (s *Server) serve(z *Zone) {
	s.mu.Lock()
	s.zones[z.Origin] = z
	s.mu.Unlock()
}

// ServeDNS answers one query.
func (s *Server) ServeDNS(rw dns.ResponseWriter, req *dns.Msg) {
	s.queries.Add(1)
	if _, within := rw.(*recorder); !within {
		s.asked.Add(1)
	}
	s.mu.Lock()
	b := s.behaviour
	s.mu.Unlock()
	honest := s.answer(req)
	if b != nil {
		b(Exchange{Server: s, Writer: rw, Request: req, Honest: honest})
		return
	}
	send(rw, req, honest)
}

// answer is what the server honestly answers.
func (s *Server) answer(req *dns.Msg) *dns.Msg {
	m := new(dns.Msg)
	m.SetReply(req)
	if len(req.Question) != 1 {
		m.Rcode = dns.RcodeFormatError
		return m
	}
	q := req.Question[0]
	name := strings.ToLower(q.Name)
	s.mu.Lock()
	var z *Zone
	for n := name; ; n = parentOf(n) {
		if found, ok := s.zones[n]; ok {
			z = found
			break
		}
		if n == "." {
			break
		}
	}
	s.mu.Unlock()
	if z == nil {
		m.Rcode = dns.RcodeRefused
		return m
	}
	z.answer(m, name, q.Qtype)
	return m
}

// send writes m, cut to what the asker takes over UDP.
func send(rw dns.ResponseWriter, req, m *dns.Msg) {
	if _, udp := rw.RemoteAddr().(*net.UDPAddr); udp {
		size := dns.MinMsgSize
		if o := req.IsEdns0(); o != nil {
			size = int(o.UDPSize())
		}
		m.Truncate(size)
	}
	rw.WriteMsg(m)
}

// connections are open TCP connections by their remote address.
type connections struct{ m sync.Map }

func (c *connections) of(remote net.Addr) net.Conn {
	if v, ok := c.m.Load(remote.String()); ok {
		return v.(net.Conn)
	}
	return nil
}

// recording is a listener that keeps connections while they are open.
type recording struct {
	net.Listener
	conns *connections
}

func (l *recording) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	l.conns.m.Store(conn.RemoteAddr().String(), conn)
	return &recorded{conn, l.conns}, nil
}

type recorded struct {
	net.Conn
	conns *connections
}

func (c *recorded) Close() error {
	c.conns.m.Delete(c.RemoteAddr().String())
	return c.Conn.Close()
}
