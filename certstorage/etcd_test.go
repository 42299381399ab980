package certstorage_test

import (
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/apoxy-dev/caddy-apoxy/certstorage"
	"github.com/apoxy-dev/caddy-apoxy/internal/etcdtest"
	"github.com/apoxy-dev/caddy-apoxy/store"
	"github.com/apoxy-dev/caddy-apoxy/store/etcdstore"
)

func TestMain(m *testing.M) {
	engines["etcd"] = func(t *testing.T, keys ...certstorage.Key) *certstorage.Storage {
		return over(t, openEtcd(t, etcdtest.Start(t)), keys...)
	}
	etcdtest.Main(m)
}

// openEtcd opens the store of a member, through the endpoint of a way to it or its own.
func openEtcd(t *testing.T, endpoint string) store.Store {
	t.Helper()
	st, err := etcdstore.Open(etcdstore.Options{Endpoints: []string{endpoint}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = st.Close() })
	return st
}

// way is a way to the member that can be cut.
type way struct {
	listener net.Listener
	member   string

	mu    sync.Mutex
	moved *sync.Cond
	cut   bool // nothing goes either way, and waits
	conns map[net.Conn]struct{}
}

func newWay(t *testing.T, endpoint string) *way {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &way{listener: l, member: strings.TrimPrefix(endpoint, "http://"), conns: map[net.Conn]struct{}{}}
	w.moved = sync.NewCond(&w.mu)
	t.Cleanup(func() { l.Close(); w.mend() })
	go w.accept()
	return w
}

func (w *way) endpoint() string { return "http://" + w.listener.Addr().String() }

func (w *way) accept() {
	for {
		from, err := w.listener.Accept()
		if err != nil {
			return
		}
		to, err := net.Dial("tcp", w.member)
		if err != nil {
			from.Close()
			continue
		}
		w.mu.Lock()
		w.conns[from], w.conns[to] = struct{}{}, struct{}{}
		w.mu.Unlock()
		go w.carry(from, to)
		go w.carry(to, from)
	}
}

func (w *way) carry(from, to net.Conn) {
	defer from.Close()
	defer to.Close()
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		w.mu.Lock()
		_, open := w.conns[from]
		for w.cut && open {
			w.moved.Wait()
			_, open = w.conns[from]
		}
		w.mu.Unlock()
		if !open {
			return
		}
		if _, werr := to.Write(buffer[:n]); err != nil || werr != nil {
			return
		}
	}
}

func (w *way) set(change func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	change()
	w.moved.Broadcast()
}

// silence lets nothing through.
func (w *way) silence() { w.set(func() { w.cut = true }) }

// resume lets through what has waited, too: it comes late.
func (w *way) resume() { w.set(func() { w.cut = false }) }

// mend ends all connections, with what has waited, and lets new ones through.
func (w *way) mend() {
	w.set(func() {
		w.cut = false
		for c := range w.conns {
			c.Close()
		}
		clear(w.conns)
	})
}
