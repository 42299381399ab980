package resolver

import (
	"net/netip"
	"sync"
	"time"
)

// How many questions a second one address is asked, and at once. A hundred
// thousand customers of one DNS provider who are all new are 100,000 looks in
// 30 s of some six questions to each of its servers, and such a server answers ten
// times that. Hints are of a few customers at a time; fifty questions a second
// are a dozen of them, and no server minds.
const (
	owedRate, owedBurst         = 20_000, 20_000
	provenRate, provenBurst     = 50, 100
	unprovenRate, unprovenBurst = 20, 40
)

// shareLimit bounds the addresses of which a share is remembered.
const shareLimit = 1 << 16

// share bounds how often each of many addresses is asked: the generic cell rate
// algorithm, which needs one time per address and forgets it when it is past.
type share struct {
	every time.Duration // between two questions in the long run
	burst int
	limit int // of addresses

	mu    sync.Mutex
	full  map[netip.Addr]time.Duration // when the address has its whole burst again
	swept time.Duration
}

func newShare(rate, burst int) *share {
	return &share{every: time.Second / time.Duration(rate), burst: burst, limit: shareLimit,
		full: make(map[netip.Addr]time.Duration)}
}

// take reports whether an address may be asked once more now, a time since some
// beginning, and counts it if so.
func (s *share) take(to netip.Addr, now time.Duration) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	at, known := s.full[to]
	if at = max(at, now); at-now > s.every*time.Duration(s.burst-1) {
		return false
	}
	if !known && len(s.full) >= s.limit {
		s.makeRoom(now)
	}
	s.full[to] = at + s.every
	return true
}

// makeRoom forgets the addresses that have their whole burst again, at most once
// in the time that takes, and any one if there is none.
func (s *share) makeRoom(now time.Duration) {
	if s.swept == 0 || now-s.swept >= s.every*time.Duration(s.burst) {
		s.swept = now
		for to, at := range s.full {
			if at <= now {
				delete(s.full, to)
			}
		}
	}
	for to := range s.full {
		if len(s.full) < s.limit {
			return
		}
		delete(s.full, to)
	}
}
