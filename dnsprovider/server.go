package dnsprovider

import (
	"context"
	"errors"
	"fmt"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"go.uber.org/zap"
)

// ServerOptions say how a Server listens. The zero value is the default.
type ServerOptions struct {
	// Logger tells of what keeps the server from answering; never of queries.
	// Nil: nobody.
	Logger *zap.Logger
	// Sockets is how many UDP sockets, with one loop each, share the address
	// where the system can do that. Default: GOMAXPROCS, at most 16.
	Sockets int
	// MaxConns bounds the TCP connections. Default: 1024.
	MaxConns int
	// MaxConnsPerClient bounds those of one IPv4 address or IPv6 /64. A CA that
	// asks over TCP validates many orders from one address. Default: 256.
	MaxConnsPerClient int
	// IdleTimeout is how long a TCP connection may take to bring its next
	// query; a tenth of it while more than half of MaxConns are in use.
	// Default: 10 s.
	IdleTimeout time.Duration
}

func (o *ServerOptions) defaults() {
	if o.Logger == nil {
		o.Logger = zap.NewNop()
	}
	if o.Sockets <= 0 {
		o.Sockets = min(runtime.GOMAXPROCS(0), 16)
	}
	if !reusePort {
		o.Sockets = 1
	}
	if o.MaxConns <= 0 {
		o.MaxConns = 1024
	}
	if o.MaxConnsPerClient <= 0 {
		o.MaxConnsPerClient = 256
	}
	if o.IdleTimeout <= 0 {
		o.IdleTimeout = 10 * time.Second
	}
}

// Server answers DNS queries at one address, over UDP and TCP. It refuses
// everything until it is given an Authority.
type Server struct {
	o         ServerOptions
	authority atomic.Pointer[Authority]
	udp       []*net.UDPConn
	tcp       net.Listener
	conns     connTable
	closed    atomic.Bool
	loops     sync.WaitGroup
}

// Listen binds the address, host:port with an empty host for every address of
// the machine, and answers there until Close. Port 0 takes a free one.
func Listen(ctx context.Context, addr string, o ServerOptions) (*Server, error) {
	o.defaults()
	s := &Server{o: o}
	s.conns.open = map[net.Conn]struct{}{}
	s.conns.clients = map[[16]byte]int{}
	s.SetAuthority(nil)
	if err := s.bind(ctx, addr); err != nil {
		s.closeSockets()
		return nil, fmt.Errorf("listening for DNS on %s: %w", addr, err)
	}
	for _, conn := range s.udp {
		s.loops.Go(func() { s.serveUDP(conn) })
	}
	s.loops.Go(s.serveTCP)
	return s, nil
}

// bind opens all sockets. A port that the system chooses for TCP may be taken
// for UDP: then it is asked for another.
func (s *Server) bind(ctx context.Context, addr string) error {
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		return fmt.Errorf("want HOST:PORT, or :PORT for every address: %w", err)
	}
	for try := 0; ; try++ {
		err := s.bindOnce(ctx, addr)
		if err == nil || port != "0" || try == 20 || !errors.Is(err, syscall.EADDRINUSE) {
			return err
		}
		s.closeSockets()
		s.udp, s.tcp = nil, nil
	}
}

func (s *Server) bindOnce(ctx context.Context, addr string) error {
	var lc net.ListenConfig
	ln, err := lc.Listen(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	s.tcp = ln
	at := ln.Addr().(*net.TCPAddr)
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return err
	}
	bound := net.JoinHostPort(host, fmt.Sprint(at.Port))
	if s.o.Sockets > 1 {
		// A first socket without sharing finds out whether somebody else holds
		// the address: sharing it with a stranger would lose every other query.
		probe, err := lc.ListenPacket(ctx, "udp", bound)
		if err != nil {
			return err
		}
		if err := probe.Close(); err != nil {
			return err
		}
		lc.Control = shareAddress
	}
	for range s.o.Sockets {
		pc, err := lc.ListenPacket(ctx, "udp", bound)
		if err != nil {
			return err
		}
		conn := pc.(*net.UDPConn)
		s.udp = append(s.udp, conn)
		if at.IP.IsUnspecified() {
			if err := wantDestination(conn); err != nil {
				return err
			}
		}
		// A burst must fit while the loop is away; the system may allow less.
		if err := conn.SetReadBuffer(4 << 20); err != nil {
			s.o.Logger.Debug("the receive buffer cannot be enlarged", zap.Error(err))
		}
	}
	return nil
}

// SetAuthority makes the server answer from other zones from the next query on;
// nil refuses everything.
func (s *Server) SetAuthority(a *Authority) {
	if a == nil {
		a, _ = NewAuthority()
	}
	s.authority.Store(a)
}

// Addr is the address that both UDP and TCP are answered at.
func (s *Server) Addr() net.Addr { return s.udp[0].LocalAddr() }

// Close stops answering and returns when every loop has ended.
func (s *Server) Close() error {
	if s.closed.Swap(true) {
		return nil
	}
	err := s.closeSockets()
	s.conns.closeAll()
	s.loops.Wait()
	return err
}

func (s *Server) closeSockets() error {
	var errs []error
	for _, conn := range s.udp {
		errs = append(errs, conn.Close())
	}
	if s.tcp != nil {
		errs = append(errs, s.tcp.Close())
	}
	return errors.Join(errs...)
}
