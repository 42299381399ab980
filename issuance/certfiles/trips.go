package certfiles

import (
	"context"
	"crypto/tls"
	"strings"
	"sync"
	"time"
)

const (
	// maxTrips is how many handshakes answers are kept for: a few KiB each, mostly for
	// microseconds. Any further handshake reads the files.
	maxTrips = 1024
	// tripAge is the age at which answers that were not asked for make room for others.
	tripAge = 10 * time.Second
)

// trips are answers that were read for handshakes before certmagic asks for them. They
// are kept by the handshake's ClientHelloInfo, which certmagic passes on in the
// context. No two handshakes share one, and the calls of one handshake follow each
// other, so all answers of a handshake come from one read. Each answer is given once;
// the others are dropped when the handshake's context ends. The zero value is ready
// for use.
type trips struct {
	mu sync.Mutex
	of map[*tls.ClientHelloInfo]*trip
}

// trip is what is kept for one handshake.
type trip struct {
	answers map[string][]byte // by key of storage; nil: answered as missing
	staple  string            // suffix of a key that is answered as missing; empty: none
	at      time.Time         // when it was put
	stop    func() bool       // ends the watch on the context
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

// take returns the answer for a key and forgets it; false: there is none.
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

// remove is drop where ts.mu is held.
func (ts *trips) remove(hello *tls.ClientHelloInfo) {
	if t := ts.of[hello]; t != nil {
		t.stop()
		delete(ts.of, hello)
	}
}
