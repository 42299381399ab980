package dnsprovider

import (
	"context"
	"crypto/rand"
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
	// Authority is what is answered from until SetAuthority is called. Nil:
	// everything is refused.
	Authority *Authority
	// Guard makes and checks DNS cookies and limits what is answered over UDP; one
	// is to serve all servers of a process. Nil: a new one with a random secret.
	Guard *Guard
	// Shared says that this process already answers on an overlapping address: the
	// same port on every address of the machine, or on one of them. Without Shared,
	// Listen fails if anybody holds the address.
	Shared bool
	// IdleTimeout is how long a TCP connection may take to bring its next
	// query; a tenth of it while more than half of MaxConns are in use.
	// Default: 10 s.
	IdleTimeout time.Duration
}

func (o *ServerOptions) defaults() {
	if o.Logger == nil {
		o.Logger = zap.NewNop()
	}
	if o.Guard == nil {
		var secret [32]byte
		_, _ = rand.Read(secret[:]) // never fails
		o.Guard = NewGuard(secret)
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
// everything while it has no Authority.
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
	s.SetAuthority(o.Authority)
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
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return err
	}
	var lc net.ListenConfig
	if reusePort {
		if !s.o.Shared {
			// First without sharing, to find out whether somebody else holds the
			// address: sharing it with a stranger would lose every other query.
			if addr, err = s.probe(ctx, host, addr); err != nil {
				return err
			}
		}
		lc.Control = shareAddress
	}
	if s.tcp, err = lc.Listen(ctx, "tcp", addr); err != nil {
		return err
	}
	at := s.tcp.Addr().(*net.TCPAddr)
	bound := net.JoinHostPort(host, fmt.Sprint(at.Port))
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
		if err := enlarge(conn, 4<<20); err != nil {
			s.o.Logger.Debug("the receive buffer cannot be enlarged", zap.Error(err))
		}
	}
	return nil
}

// probe binds the address, TCP and UDP, and gives it back. It returns the address
// with the port that the system chose if it was left to it.
func (s *Server) probe(ctx context.Context, host, addr string) (string, error) {
	var lc net.ListenConfig
	ln, err := lc.Listen(ctx, "tcp", addr)
	if err != nil {
		return "", err
	}
	bound := net.JoinHostPort(host, fmt.Sprint(ln.Addr().(*net.TCPAddr).Port))
	pc, err := lc.ListenPacket(ctx, "udp", bound)
	if err == nil {
		err = pc.Close()
	}
	return bound, errors.Join(err, ln.Close())
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

// drainTime is how long Close waits for one more queued datagram of a UDP socket that
// gets no new ones, drainMost how long it waits in all.
const (
	drainTime = 20 * time.Millisecond
	drainMost = time.Second
)

// Close stops answering and returns when every loop has ended. What has arrived
// over UDP is answered still; what comes now is for another server that shares
// the address.
func (s *Server) Close() error {
	if s.closed.Swap(true) {
		return nil
	}
	for _, conn := range s.udp {
		retire(conn)
		_ = conn.SetReadDeadline(time.Now().Add(drainTime)) // fails on a closed one only
	}
	defer time.AfterFunc(drainMost, func() {
		for _, conn := range s.udp {
			_ = conn.Close() // its loop meets the error
		}
	}).Stop()
	err := s.tcp.Close()
	s.conns.closeAll()
	s.loops.Wait()
	s.tcp = nil
	return errors.Join(err, s.closeSockets())
}

func (s *Server) closeSockets() error {
	var errs []error
	for _, conn := range s.udp {
		if err := conn.Close(); !errors.Is(err, net.ErrClosed) {
			errs = append(errs, err)
		}
	}
	if s.tcp != nil {
		errs = append(errs, s.tcp.Close())
	}
	return errors.Join(errs...)
}
