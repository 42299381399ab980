package dnsprovider

import (
	"errors"
	"net"
	"time"

	"golang.org/x/sys/unix"
)

// sendTime is how long the answers of one batch may wait for room in the send
// buffer, in all. It is as good as never full: what is behind it has stopped.
const sendTime = 20 * time.Millisecond

// loopBatches answers many queries with three calls, until the socket is closed.
// It reports false if the system does not let us make such calls.
func (s *Server) loopBatches(conn *net.UDPConn) bool {
	defer s.survive()
	at, _ := conn.LocalAddr().(*net.UDPAddr)
	b, err := newBatch(conn, at != nil && at.IP.IsUnspecified())
	if err != nil {
		return false
	}
	wait := func(first int) (int, error) {
		_ = conn.SetWriteDeadline(time.Now().Add(sendTime)) // fails on a closed one only, as sending does
		defer conn.SetWriteDeadline(time.Time{})
		return b.sendWaiting(first)
	}
	work := scratch{guard: s.o.Guard, tally: new(tally)}
	var sampled samples
	for {
		if err := b.receive(); err != nil {
			if errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.EPERM) {
				return false
			}
			if s.readFailed(conn, err) {
				return true
			}
			continue
		}
		due := sampled.due(b.nin)
		var start time.Time
		if due > 0 {
			start = time.Now()
		}
		s.answerBatch(&work, b)
		flush(b.nout, b.send, wait, s.sendFailed)
		if due > 0 {
			took := time.Since(start).Seconds()
			for range due {
				queryDuration.Observe(took)
			}
		}
	}
}

// answerBatch works out the answers to what b has received.
func (s *Server) answerBatch(work *scratch, b *batch) {
	defer work.tally.flush()
	a := s.authority.Load()
	for next := 0; next < b.nin; {
		s.answerFrom(a, work, b, &next)
	}
}

// answerFrom goes on with the query after those that next counts. One that meets
// a panic is not answered; it takes none of the others along.
func (s *Server) answerFrom(a *Authority, work *scratch, b *batch, next *int) {
	defer s.survive()
	for *next < b.nin {
		i := *next
		*next++
		req, from := b.query(i)
		if req == nil {
			continue
		}
		if out := a.answer(work, req, b.answer(), peer{addr: from}); out != nil {
			b.reply(i, out)
		}
	}
}

// flush sends n answers by send, which sends those from the first on that it can
// and returns how many; its error is about the one after them. That one is told to
// failed and passed over, so that it holds none of those behind it. The first time
// that there is no room in the send buffer, wait sends instead once there is.
func flush(n int, send, wait func(first int) (int, error), failed func(error)) {
	waited := false
	for first := 0; first < n; {
		sent, err := send(first)
		if errors.Is(err, unix.EAGAIN) && !waited {
			waited = true
			sent, err = wait(first)
		}
		first += sent
		switch {
		case err == nil && sent > 0:
		case errors.Is(err, net.ErrClosed):
			return
		default:
			failed(err)
			first++
		}
	}
}
