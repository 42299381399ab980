package resolver

import (
	"sync"
	"sync/atomic"
	"time"
)

// muted remembers that no authoritative server anywhere answers while recursive
// resolvers do: port 53 to the outside is closed, and trying it every time would
// only cost time.
type muted struct {
	until atomic.Int64 // Unix nanoseconds
	some  atomic.Bool  // whether row holds any
	mu    sync.Mutex
	row   map[string]struct{} // registered domains that only resolvers could tell of
}

// When so many domains in a row have given no authoritative answer, none is
// tried for mutedFor. One domain, whose servers are silent for us alone, silences
// nobody else's.
const (
	mutedAfter = 8
	mutedFor   = time.Minute
)

func (m *muted) now() bool { return time.Now().UnixNano() < m.until.Load() }

func (m *muted) heard() {
	if !m.some.Load() {
		return
	}
	m.mu.Lock()
	m.row = nil
	m.some.Store(false)
	m.mu.Unlock()
}

func (m *muted) unheard(domain string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.row == nil {
		m.row = make(map[string]struct{}, mutedAfter)
	}
	m.row[domain] = struct{}{}
	m.some.Store(true)
	if len(m.row) >= mutedAfter {
		m.until.Store(time.Now().Add(mutedFor).UnixNano())
		delete(m.row, domain) // one more failure is enough next time
	}
}
