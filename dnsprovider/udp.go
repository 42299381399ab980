package dnsprovider

import (
	"errors"
	"net"
	"time"

	"go.uber.org/zap"
)

// serveUDP answers on one socket until the server is closed and nothing is
// queued there.
func (s *Server) serveUDP(conn *net.UDPConn) {
	batches := true
	for again := true; again; again = !s.closed.Load() || queued(conn) {
		if batches = batches && s.loopBatches(conn); !batches {
			s.loopUDP(conn)
		}
	}
}

// survive turns a panic into a log entry: no query may end the process that
// also serves every website.
func (s *Server) survive() {
	if p := recover(); p != nil {
		s.o.Logger.Error("answering a DNS query failed", zap.Any("panic", p), zap.Stack("stack"))
	}
}

// readFailed tells of an error of reading and reports whether that ends the loop.
func (s *Server) readFailed(conn *net.UDPConn, err error) bool {
	switch {
	case errors.Is(err, net.ErrClosed):
		return true
	case s.closed.Load():
		if !queued(conn) {
			return true
		}
		_ = conn.SetReadDeadline(time.Now().Add(drainTime)) // the loop was late
		return false
	}
	// Such as an ICMP error that an earlier answer met. Never a reason
	// to stop; the pause keeps a broken socket from spinning.
	s.o.Logger.Debug("reading a DNS query failed", zap.Error(err))
	time.Sleep(time.Millisecond)
	return false
}

func (s *Server) sendFailed(err error) {
	if c := s.o.Logger.Check(zap.DebugLevel, "sending a DNS answer failed"); c != nil {
		c.Write(zap.Error(err))
	}
}

// samples counts queries, one in sampleEvery of which is timed.
type samples uint

// due adds n queries and returns how many of them are to be timed.
func (s *samples) due(n int) int {
	due := (uint(*s)%sampleEvery + uint(n)) / sampleEvery
	*s += samples(n)
	return int(due)
}

// loopUDP reads a query, answers it and reads the next.
func (s *Server) loopUDP(conn *net.UDPConn) {
	defer s.survive()
	var (
		work    = scratch{guard: s.o.Guard}
		req     = make([]byte, 4096)
		resp    = make([]byte, 0, udpPayload)
		oob     = make([]byte, oobSize)
		sampled samples
	)
	for {
		size, oobn, _, from, err := conn.ReadMsgUDPAddrPort(req, oob)
		if err != nil {
			if s.readFailed(conn, err) {
				return
			}
			continue
		}
		due := sampled.due(1)
		var start time.Time
		if due > 0 {
			start = time.Now()
		}
		out := s.authority.Load().answer(&work, req[:size], resp, peer{addr: from.Addr().Unmap()})
		if out == nil || from.Port() == 0 {
			continue
		}
		if _, _, err := conn.WriteMsgUDPAddrPort(out, replyFrom(oob[:oobn]), from); err != nil {
			s.sendFailed(err)
		}
		if due > 0 {
			queryDuration.Observe(time.Since(start).Seconds())
		}
	}
}
