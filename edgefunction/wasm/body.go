package wasm

import (
	"errors"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/apoxy-dev/caddy-apoxy/edgefunction"
)

// slowest is the rate below which a client is too slow, in bytes a second: what it
// sends while a function waits for it holds up one of the function's places.
const slowest = 16 << 10

// errSlow is what reading a request's body returns when the client is too slow.
var errSlow = errors.New("the client sends the request's body too slowly")

// clientBody reads a request's body, and waits for the client so long and no longer:
// a time to begin with, and more for what came.
type clientBody struct {
	body     io.Reader
	control  *http.ResponseController
	patience time.Duration
	received int64
}

// Read implements io.Reader. Where the connection knows no deadline (in tests without
// a server) it waits as long as it takes.
func (b *clientBody) Read(p []byte) (int, error) {
	if b.body == http.NoBody {
		return 0, io.EOF
	}
	began := time.Now()
	interrupt := time.AfterFunc(b.patience, func() { _ = b.control.SetReadDeadline(time.Unix(1, 0)) })
	n, err := b.body.Read(p)
	if !interrupt.Stop() {
		return n, errSlow
	}
	b.received += int64(n)
	b.patience += time.Duration(n)*time.Second/slowest - time.Since(began)
	return n, err
}

// tape is a request's body that may be read more than once, by the guest and by the
// next handler. Where it does not record, what one has read is gone for the other.
type tape struct {
	patient io.Reader // what guests read, which does not wait for ever
	raw     io.ReadCloser
	limit   int64 // of what a guest reads, and of what is recorded

	mu     sync.Mutex
	record bool
	kept   []byte
	lost   bool // more was read than is recorded
	guest  int  // how much of kept the guest has read
	read   int64
}

// forGuest reads for the guest; closed: only what is kept.
func (t *tape) forGuest(p []byte, closed bool) (int, error) {
	if n := t.replay(&t.guest, p); n > 0 {
		return n, nil
	}
	if closed {
		if t.isLost() {
			return 0, t.tooLarge()
		}
		return 0, io.EOF
	}
	n, err := t.patient.Read(p)
	if t.read += int64(n); t.read > t.limit {
		return 0, t.tooLarge()
	}
	t.keep(p[:n])
	t.guest = len(t.kept)
	return n, err
}

func (t *tape) tooLarge() *edgefunction.Fault {
	return edgefunction.Faultf(edgefunction.FaultTooLarge, "the request's body is longer than the %d bytes that the function may read", t.limit)
}

func (t *tape) isLost() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.lost
}

// replay reads of what is kept.
func (t *tape) replay(at *int, p []byte) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := copy(p, t.kept[*at:])
	*at += n
	return n
}

func (t *tape) keep(p []byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case !t.record || t.lost:
	case int64(len(t.kept)+len(p)) > t.limit:
		t.lost = true
	default:
		t.kept = append(t.kept, p...)
	}
}

// replayed is the body as the next handler reads it: what is kept, then the rest.
type replayed struct {
	*tape
	at int
}

// Read implements io.Reader.
func (r *replayed) Read(p []byte) (int, error) {
	if n := r.replay(&r.at, p); n > 0 || len(p) == 0 {
		return n, nil
	}
	n, err := r.raw.Read(p)
	r.keep(p[:n])
	r.at = min(r.at+n, r.length())
	return n, err
}

func (t *tape) length() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.kept)
}

// Close implements io.Closer.
func (r *replayed) Close() error { return r.raw.Close() }
