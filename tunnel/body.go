package tunnel

import (
	"io"
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
