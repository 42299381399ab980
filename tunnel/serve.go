package tunnel

import (
	"bufio"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// serving prepares the HTTP/2 server of the connections that the agent dials.
func (a *Agent) serving(handler http.Handler) {
	a.conns = &listener{conns: make(chan net.Conn), closed: make(chan struct{}), open: map[net.Conn]struct{}{}}
	a.server = &http.Server{
		Protocols:         h2only(),
		ReadHeaderTimeout: 10 * time.Second,
		MaxHeaderBytes:    maxHeaderBytes,
		ErrorLog:          slog.NewLogLogger(a.logger.Handler(), slog.LevelDebug),
		HTTP2: &http.HTTP2Config{
			MaxConcurrentStreams:          agentStreams,
			MaxReceiveBufferPerConnection: connectionWindow,
			MaxReceiveBufferPerStream:     streamWindow,
			MaxReadFrameSize:              frameSize,
			SendPingTimeout:               a.timing.PingAfter,
			PingTimeout:                   a.timing.PingTimeout,
		},
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get(headerControl) != "" {
				a.converse(w, r)
				return
			}
			handler.ServeHTTP(w, r)
		}),
	}
}

// converse answers the edge's own request: a line for each that the edge writes,
// and one for each change. It ends when the edge does.
func (a *Agent) converse(w http.ResponseWriter, r *http.Request) {
	end := a.state.talk()
	defer end()
	pings := make(chan uint64)
	go func() {
		defer close(pings)
		scan := bufio.NewScanner(io.LimitReader(r.Body, 1<<30))
		scan.Buffer(make([]byte, 64), 64)
		for scan.Scan() {
			seq, err := strconv.ParseUint(scan.Text(), 10, 64)
			if err != nil {
				return
			}
			select {
			case pings <- seq:
			case <-r.Context().Done():
				return
			}
		}
	}()
	lines, flush := json.NewEncoder(w), http.NewResponseController(w)
	var seq uint64
	for {
		now, changed := a.state.get()
		if seq > 0 {
			now.Seq = seq
			if lines.Encode(now) != nil || flush.Flush() != nil {
				return
			}
		}
		select {
		case n, ok := <-pings:
			if !ok {
				return
			}
			seq = n
		case <-changed:
		case <-r.Context().Done():
			return
		}
	}
}

// listener hands the connections that the agent dialled to its server.
type listener struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once

	mu   sync.Mutex
	open map[net.Conn]struct{}
}

// serve gives a connection to the server and returns once it is closed.
func (l *listener) serve(c net.Conn) {
	s := &served{Conn: c, ended: make(chan struct{})}
	l.mu.Lock()
	l.open[s] = struct{}{}
	l.mu.Unlock()
	defer func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.open, s)
	}()
	select {
	case l.conns <- s:
		<-s.ended
	case <-l.closed:
		s.Close()
	}
}

// closeAll closes what is left.
func (l *listener) closeAll() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for c := range l.open {
		c.Close()
	}
}

// Accept implements net.Listener.
func (l *listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (l *listener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

// Addr implements net.Listener.
func (l *listener) Addr() net.Addr { return &net.TCPAddr{} }

// served tells when the server has closed it.
type served struct {
	net.Conn
	ended chan struct{}
	once  sync.Once
}

func (s *served) Close() error {
	defer s.once.Do(func() { close(s.ended) })
	return s.Conn.Close()
}
