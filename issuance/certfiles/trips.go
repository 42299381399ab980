package certfiles

import (
	"context"
	"crypto/tls"
	"strings"
	"sync"
	"time"
)

const (
	// maxTrips bounds the handshakes that chains and metadata are kept for, a
	// few KiB each and for microseconds as a rule; one over it reads the files.
	maxTrips = 1024
	// tripAge is when what a handshake left behind makes room for others.
	tripAge = 10 * time.Second
)

// trips are the answers that handshakes have read before certmagic asks for
// them. They are kept by the handshake's own ClientHelloInfo, which certmagic
// passes on in the context: no two handshakes share one, and within one the
// calls follow each other, so what is handed out comes from one read. Each
// answer is handed out once; what is left goes with the handshake's context.
// The zero value is ready for use.
type trips struct {
	mu sync.Mutex
	of map[*tls.ClientHelloInfo]*trip
}

// trip is what is kept for one handshake.
type trip struct {
	// answers by key of storage; nil: nothing is there.
	answers map[string][]byte
	// staple ends the key of an OCSP staple that cannot be there; empty: unknown.
	staple string
	at     time.Time
	stop   func() bool // ends the watch on the context
}

// put replaces what is kept for a handshake.
func (ts *trips) put(ctx context.Context, hello *tls.ClientHelloInfo, t trip) {
	t.at = time.Now()
	ts.mu.Lock()
	defer ts.mu.Unlock()
	ts.remove(hello)
	if len(ts.of) >= maxTrips {
		for h, old := range ts.of {
			if t.at.Sub(old.at) > tripAge {
				ts.remove(h)
			}
		}
		if len(ts.of) >= maxTrips {
			return
		}
	}
	if ts.of == nil {
		ts.of = map[*tls.ClientHelloInfo]*trip{}
	}
	ts.of[hello] = &t
	t.stop = context.AfterFunc(ctx, func() { ts.drop(hello) })
}

// take hands an answer out. false: there is none.
func (ts *trips) take(hello *tls.ClientHelloInfo, key string) (value []byte, err error, ok bool) {
	if hello == nil {
		return nil, nil, false
	}
	ts.mu.Lock()
	defer ts.mu.Unlock()
	t := ts.of[hello]
	if t == nil {
		return nil, nil, false
	}
	if value, ok = t.answers[key]; ok {
		delete(t.answers, key)
	} else if ok = t.staple != "" && strings.HasPrefix(key, "ocsp/") && strings.HasSuffix(key, t.staple); ok {
		t.staple = ""
	}
	if len(t.answers) == 0 && t.staple == "" {
		ts.remove(hello)
	}
	if ok && value == nil {
		err = notThere(key)
	}
	return value, err, ok
}

// drop forgets what is kept for a handshake.
func (ts *trips) drop(hello *tls.ClientHelloInfo) {
	if hello == nil {
		return
	}
	ts.mu.Lock()
	defer ts.mu.Unlock()
	ts.remove(hello)
}

// remove is drop for those who hold ts.mu.
func (ts *trips) remove(hello *tls.ClientHelloInfo) {
	if t := ts.of[hello]; t != nil {
		t.stop()
		delete(ts.of, hello)
	}
}
