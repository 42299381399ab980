package tunnel

import (
	"net"
	"sync"
)

// corked is a TCP connection below TLS. crypto/tls writes each record of 16 KiB by
// itself; between cork and uncork they are gathered and go out in one system call.
type corked struct {
	net.Conn
	mu   sync.Mutex
	held bool
	buf  []byte
}

// mostCorked bounds what is gathered.
const mostCorked = 256 << 10

func (c *corked) cork() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.held = true
}

// uncork sends what was gathered.
func (c *corked) uncork() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.held = false
	return c.flush()
}

// flush is under c.mu.
func (c *corked) flush() error {
	if len(c.buf) == 0 {
		return nil
	}
	_, err := c.Conn.Write(c.buf)
	c.buf = c.buf[:0]
	return err
}

func (c *corked) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.held {
		return c.Conn.Write(p)
	}
	if len(c.buf)+len(p) > mostCorked {
		if err := c.flush(); err != nil {
			return 0, err
		}
	}
	c.buf = append(c.buf, p...)
	return len(p), nil
}
