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
	for again := true; again; again = !s.closed.Load() || queued(conn) {
		s.loopUDP(conn)
	}
}

// survive turns a panic into a log entry: no query may end the process that
// also serves every website.
func (s *Server) survive() {
	if p := recover(); p != nil {
		s.o.Logger.Error("answering a DNS query failed", zap.Any("panic", p), zap.Stack("stack"))
	}
}

// loopUDP reads a query, answers it and reads the next.
func (s *Server) loopUDP(conn *net.UDPConn) {
	defer s.survive()
	var (
		work = scratch{guard: s.o.Guard}
		req  = make([]byte, 4096)
		resp = make([]byte, 0, udpPayload)
		oob  = make([]byte, oobSize)
		n    uint
	)
	for {
		size, oobn, _, from, err := conn.ReadMsgUDPAddrPort(req, oob)
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if s.closed.Load() {
				if !queued(conn) {
					return
				}
				_ = conn.SetReadDeadline(time.Now().Add(drainTime)) // the loop was late
				continue
			}
			// Such as an ICMP error that an earlier answer met. Never a reason
			// to stop; the pause keeps a broken socket from spinning.
			s.o.Logger.Debug("reading a DNS query failed", zap.Error(err))
			time.Sleep(time.Millisecond)
			continue
		}
		n++
		var start time.Time
		if n%sampleEvery == 0 {
			start = time.Now()
		}
		out := s.authority.Load().answer(&work, req[:size], resp, peer{addr: from.Addr().Unmap()})
		if out == nil || from.Port() == 0 {
			continue
		}
		if _, _, err := conn.WriteMsgUDPAddrPort(out, replyFrom(oob[:oobn]), from); err != nil {
			if c := s.o.Logger.Check(zap.DebugLevel, "sending a DNS answer failed"); c != nil {
				c.Write(zap.Error(err))
			}
		}
		if n%sampleEvery == 0 {
			queryDuration.Observe(time.Since(start).Seconds())
		}
	}
}
