package certstorage_test

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/apoxy-dev/caddy-apoxy/certstorage"
	"github.com/apoxy-dev/caddy-apoxy/store"
	"github.com/apoxy-dev/caddy-apoxy/store/etcdstore"
)

// etcd is one member for all tests, built from the module that the end-to-end tests keep;
// each test has a prefix of its own.
var etcd struct {
	endpoint string
	process  *exec.Cmd
	dir      string
}

var startEtcd = sync.OnceValue(func() (err error) {
	if etcd.dir, err = os.MkdirTemp("", "certstorage"); err != nil {
		return err
	}
	program := filepath.Join(etcd.dir, "etcd")
	if out, err := exec.Command("go", "build", "-C", "../e2e", "-o", program, "go.etcd.io/etcd/server/v3").CombinedOutput(); err != nil {
		return fmt.Errorf("building etcd: %w: %s", err, out)
	}
	client, err := freePort()
	if err != nil {
		return err
	}
	peer, err := freePort()
	if err != nil {
		return err
	}
	etcd.endpoint, peer = "http://"+client, "http://"+peer
	etcd.process = exec.Command(program, "--data-dir", filepath.Join(etcd.dir, "data"), "--listen-client-urls", etcd.endpoint, "--advertise-client-urls", etcd.endpoint,
		"--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", "default="+peer, "--unsafe-no-fsync", "--log-level", "error")
	etcd.process.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := etcd.process.Start(); err != nil {
		return err
	}
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		res, err := http.Get(etcd.endpoint + "/health")
		if err == nil {
			res.Body.Close()
			if res.StatusCode == http.StatusOK {
				return nil
			}
			err = fmt.Errorf("its health is %s", res.Status)
		}
		if time.Now().After(end) {
			return fmt.Errorf("starting etcd: %w", err)
		}
	}
})

func TestMain(m *testing.M) {
	engines["etcd"] = func(t *testing.T, keys ...certstorage.Key) *certstorage.Storage {
		return over(t, openEtcd(t, prefix(), ""), keys...)
	}
	status := m.Run()
	if etcd.process != nil {
		_ = etcd.process.Process.Kill()
		_ = etcd.process.Wait()
	}
	_ = os.RemoveAll(etcd.dir) // what is left is in the directory for temporary files
	os.Exit(status)
}

var prefixes atomic.Int64

func prefix() string { return fmt.Sprintf("/test%d", prefixes.Add(1)) }

// openEtcd opens a store below a prefix; via is another endpoint than the member's own.
func openEtcd(t *testing.T, prefix, via string) store.Store {
	t.Helper()
	if err := startEtcd(); err != nil {
		t.Fatal(err)
	}
	if via == "" {
		via = etcd.endpoint
	}
	st, err := etcdstore.Open(etcdstore.Options{Endpoints: []string{via}, Prefix: prefix})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = st.Close() })
	return st
}

func freePort() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}

// way is a way to the member that can be cut.
type way struct {
	listener net.Listener

	mu    sync.Mutex
	moved *sync.Cond
	deaf  bool // what the member answers is lost
	cut   bool // nothing goes either way, and waits
	conns map[net.Conn]struct{}
}

func newWay(t *testing.T) *way {
	t.Helper()
	if err := startEtcd(); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &way{listener: l, conns: map[net.Conn]struct{}{}}
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
		to, err := net.Dial("tcp", strings.TrimPrefix(etcd.endpoint, "http://"))
		if err != nil {
			from.Close()
			continue
		}
		w.mu.Lock()
		w.conns[from], w.conns[to] = struct{}{}, struct{}{}
		w.mu.Unlock()
		go w.carry(from, to, false)
		go w.carry(to, from, true)
	}
}

func (w *way) carry(from, to net.Conn, answers bool) {
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
		lost := answers && w.deaf
		w.mu.Unlock()
		if !open {
			return
		}
		if !lost {
			if _, err := to.Write(buffer[:n]); err != nil {
				return
			}
		}
		if err != nil {
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

// silence lets nothing through; deafen no answers.
func (w *way) silence() { w.set(func() { w.cut = true }) }
func (w *way) deafen()  { w.set(func() { w.deaf = true }) }

// resume lets through what has waited, too: it comes late.
func (w *way) resume() { w.set(func() { w.cut = false }) }

// mend ends all connections, with what has waited, and lets new ones through.
func (w *way) mend() {
	w.set(func() {
		w.deaf, w.cut = false, false
		for c := range w.conns {
			c.Close()
		}
		clear(w.conns)
	})
}
