package dnsprovider

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"sync"
	"time"

	"go.uber.org/zap"
)

const (
	// maxTCPQuery bounds a query over TCP: one question with EDNS0 options.
	maxTCPQuery = 4096
	// tcpWriteTimeout is how long a client may take to accept an answer.
	tcpWriteTimeout = 5 * time.Second
)

// connTable bounds TCP connections, in all and per client.
type connTable struct {
	sync.Mutex
	open    map[net.Conn]struct{}
	clients map[[16]byte]int
	closed  bool
}

// client is what connections are counted by: an IPv4 address or an IPv6 /64.
func client(conn net.Conn) [16]byte {
	ip := remote(conn)
	if !ip.Is6() {
		return ip.As16()
	}
	b := ip.As16()
	clear(b[8:])
	return b
}

// remote is the address of the client, no IPv4-mapped one.
func remote(conn net.Conn) netip.Addr {
	addr, ok := conn.RemoteAddr().(*net.TCPAddr)
	if !ok {
		return netip.IPv6Unspecified()
	}
	return addr.AddrPort().Addr().Unmap()
}

func (t *connTable) add(conn net.Conn, o *ServerOptions) bool {
	who := client(conn)
	t.Lock()
	defer t.Unlock()
	if t.closed || len(t.open) >= o.MaxConns || t.clients[who] >= o.MaxConnsPerClient {
		return false
	}
	t.open[conn] = struct{}{}
	t.clients[who]++
	return true
}

func (t *connTable) remove(conn net.Conn) {
	who := client(conn)
	t.Lock()
	defer t.Unlock()
	delete(t.open, conn)
	if t.clients[who]--; t.clients[who] <= 0 {
		delete(t.clients, who)
	}
}

func (t *connTable) size() int {
	t.Lock()
	defer t.Unlock()
	return len(t.open)
}

func (t *connTable) closeAll() {
	t.Lock()
	defer t.Unlock()
	t.closed = true
	for conn := range t.open {
		_ = conn.Close() // its loop meets the error
	}
}

// serveTCP accepts connections until the listener is closed.
func (s *Server) serveTCP() {
	for {
		conn, err := s.tcp.Accept()
		if err != nil {
			if errors.Is(err, net.ErrClosed) || s.closed.Load() {
				return
			}
			// Out of descriptors, most likely: answering over UDP goes on.
			s.o.Logger.Warn("accepting a DNS connection failed", zap.Error(err))
			time.Sleep(50 * time.Millisecond)
			continue
		}
		if !s.conns.add(conn, &s.o) {
			_ = conn.Close() // refused: nothing was promised
			continue
		}
		s.loops.Go(func() {
			defer s.conns.remove(conn)
			defer conn.Close()
			defer s.survive()
			s.serveConn(conn)
		})
	}
}

// answerBuffers hold one TCP answer with its length.
var answerBuffers = sync.Pool{New: func() any { b := make([]byte, 2+maxPayload); return &b }}

// serveConn answers queries in their order (RFC 7766) until the client is done,
// is too slow or sends what is no query.
func (s *Server) serveConn(conn net.Conn) {
	in := bufio.NewReaderSize(conn, 512)
	var req []byte
	for {
		idle := s.o.IdleTimeout
		if s.conns.size() > s.o.MaxConns/2 {
			idle /= 10
		}
		if conn.SetReadDeadline(time.Now().Add(idle)) != nil {
			return
		}
		var length [2]byte
		if _, err := io.ReadFull(in, length[:]); err != nil {
			return
		}
		n := int(binary.BigEndian.Uint16(length[:]))
		if n > maxTCPQuery {
			return
		}
		if cap(req) < n {
			req = make([]byte, max(n, 512))
		}
		if _, err := io.ReadFull(in, req[:n]); err != nil {
			return
		}
		if !s.answerTCP(conn, req[:n]) {
			return
		}
	}
}

func (s *Server) answerTCP(conn net.Conn, req []byte) bool {
	start := time.Now()
	buf := answerBuffers.Get().(*[]byte)
	defer answerBuffers.Put(buf)
	out := s.authority.Load().answerPooled(s.o.Guard, req, (*buf)[2:2], peer{addr: remote(conn), tcp: true})
	if out == nil {
		return false
	}
	binary.BigEndian.PutUint16(*buf, uint16(len(out)))
	if conn.SetWriteDeadline(time.Now().Add(tcpWriteTimeout)) != nil {
		return false
	}
	if _, err := conn.Write((*buf)[:2+len(out)]); err != nil {
		return false
	}
	queryDuration.Observe(time.Since(start).Seconds())
	return true
}
