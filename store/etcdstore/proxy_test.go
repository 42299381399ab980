package etcdstore_test

import (
	"io"
	"net"
	"strings"
	"sync"
	"testing"
)

// proxy is the way from one store to one member, on which things go wrong.
type proxy struct {
	listener net.Listener
	member   string

	mu      sync.Mutex
	moved   *sync.Cond
	cut     bool // nothing goes either way, and nobody is told
	swallow bool // what the member answers is lost
	open    map[net.Conn]struct{}
	closed  bool
}

// newProxy opens a way to a member. Its endpoint is for etcdstore.Options.
func newProxy(t *testing.T, m *member) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{listener: l, member: strings.TrimPrefix(m.endpoint, "http://"), open: map[net.Conn]struct{}{}}
	p.moved = sync.NewCond(&p.mu)
	go p.accept()
	t.Cleanup(func() {
		l.Close()
		p.set(func() { p.closed = true })
		p.drop()
	})
	return p
}

func (p *proxy) endpoint() string { return "http://" + p.listener.Addr().String() }

// set changes what happens on the way.
func (p *proxy) set(change func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change()
	p.moved.Broadcast()
}

// silence lets nothing through any more, without a word to either side.
func (p *proxy) silence() { p.set(func() { p.cut = true }) }

// lose lets requests through and loses the answers.
func (p *proxy) lose() { p.set(func() { p.swallow = true }) }

// late lets through what was held up by silence, late as it is.
func (p *proxy) late() { p.set(func() { p.cut = false }) }

// mend lets everything through again. Connections that have lost anything are ended.
func (p *proxy) mend() {
	p.drop()
	p.set(func() { p.cut, p.swallow = false, false })
}

// drop ends all connections.
func (p *proxy) drop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.open {
		c.Close()
	}
	clear(p.open)
}

func (p *proxy) accept() {
	for {
		from, err := p.listener.Accept()
		if err != nil {
			return
		}
		to, err := net.Dial("tcp", p.member)
		if err != nil { // the member is not there
			from.Close()
			continue
		}
		p.set(func() { p.open[from], p.open[to] = struct{}{}, struct{}{} })
		go p.carry(from, to, func() bool { return false })
		go p.carry(to, from, func() bool { return p.swallow })
	}
}

// carry carries bytes one way until an end is closed, those that are lost aside.
func (p *proxy) carry(from, to net.Conn, lost func() bool) {
	defer from.Close()
	defer to.Close()
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		p.mu.Lock()
		for p.cut && !p.closed {
			if _, known := p.open[from]; !known {
				break
			}
			p.moved.Wait()
		}
		_, known := p.open[from]
		drop := lost()
		p.mu.Unlock()
		if err != nil || !known {
			return
		}
		if drop {
			continue
		}
		if _, err := to.Write(buffer[:n]); err != nil && err != io.EOF {
			return
		}
	}
}
