package tunnel

import (
	"bufio"
	"io"
	"sync"
	"sync/atomic"
)

// onceRead is a request's body that is not closed before something of it was read
// or its request is settled, so that a request of which nothing was read can be
// sent again.
type onceRead struct {
	io.ReadCloser
	read, wanted, settled atomic.Bool
}

func (b *onceRead) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if n > 0 {
		b.read.Store(true)
	}
	return n, err
}

func (b *onceRead) Close() error {
	b.wanted.Store(true)
	if b.read.Load() || b.settled.Load() {
		return b.ReadCloser.Close()
	}
	return nil
}

func (b *onceRead) touched() bool { return b.read.Load() }

// settle says that the request is not sent again.
func (b *onceRead) settle() {
	b.settled.Store(true)
	if b.ReadCloser != nil && b.wanted.Load() {
		b.ReadCloser.Close()
	}
}

// counted is an answer's body; closing it ends the request.
type counted struct {
	io.ReadCloser
	done func()
}

func (b *counted) Close() error {
	defer b.done()
	return b.ReadCloser.Close()
}

// largeBody is from what length on an answer's body is read through a buffer:
// HTTP/2 gives leave to send more with every reading, and a frame for each of the
// proxy's small ones costs both sides more than the copying.
const largeBody = 128 << 10

// readers are the buffers of large bodies.
var readers = sync.Pool{New: func() any { return bufio.NewReaderSize(nil, largeBody) }}

// large is a large answer's body.
type large struct {
	counted
	mu     sync.Mutex
	buffer *bufio.Reader // nil once closed
}

func newLarge(c counted) *large {
	l := &large{counted: c, buffer: readers.Get().(*bufio.Reader)}
	l.buffer.Reset(c.ReadCloser)
	return l
}

// Read reads at most once from what it buffers, so that nothing waits for more.
func (l *large) Read(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.buffer == nil {
		return 0, io.ErrClosedPipe
	}
	return l.buffer.Read(p)
}

// Close ends a Read that waits before the buffer goes to another answer.
func (l *large) Close() error {
	err := l.counted.Close()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.buffer != nil {
		l.buffer.Reset(nil)
		readers.Put(l.buffer)
		l.buffer = nil
	}
	return err
}

// upgraded is both directions of a connection that speaks another protocol now.
type upgraded struct {
	counted
	up *io.PipeWriter
}

func (u *upgraded) Write(p []byte) (int, error) { return u.up.Write(p) }

// CloseWrite ends what goes to the origin.
func (u *upgraded) CloseWrite() error { return u.up.Close() }

func (u *upgraded) Close() error {
	u.up.Close()
	return u.counted.Close()
}
