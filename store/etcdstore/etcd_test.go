package etcdstore_test

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/apoxy-dev/caddy-apoxy/store/etcdstore"
)

// built is the program of etcd, compiled from the module that the end-to-end tests keep.
var built = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "etcd")
	if err != nil {
		return "", err
	}
	programs = dir
	program := filepath.Join(dir, "etcd")
	if out, err := exec.Command("go", "build", "-C", "../../e2e", "-o", program, "go.etcd.io/etcd/server/v3").CombinedOutput(); err != nil {
		return "", fmt.Errorf("building etcd: %w: %s", err, out)
	}
	return program, nil
})

var programs string

func TestMain(m *testing.M) {
	status := m.Run()
	if programs != "" {
		_ = os.RemoveAll(programs) // what is left is in the directory for temporary files
	}
	os.Exit(status)
}

// member is an etcd of one member.
type member struct {
	t         *testing.T
	dir       string
	endpoint  string
	arguments []string
	process   *exec.Cmd
	ended     chan struct{}
}

// newMember starts one with an empty database.
func newMember(t *testing.T, arguments ...string) *member {
	t.Helper()
	m := &member{t: t, dir: t.TempDir(), endpoint: "http://" + port(t), arguments: arguments}
	m.start()
	t.Cleanup(m.kill)
	return m
}

func (m *member) start() {
	m.t.Helper()
	program, err := built()
	if err != nil {
		m.t.Fatal(err)
	}
	log, err := os.OpenFile(filepath.Join(m.dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		m.t.Fatal(err)
	}
	defer log.Close()
	peer := "http://" + port(m.t)
	m.process = exec.Command(program, append([]string{
		"--data-dir", filepath.Join(m.dir, "data"), "--listen-client-urls", m.endpoint, "--advertise-client-urls", m.endpoint,
		"--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", "default=" + peer, "--unsafe-no-fsync", "--log-level", "warn",
	}, m.arguments...)...)
	m.process.Stdout, m.process.Stderr = log, log
	m.process.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := m.process.Start(); err != nil {
		m.t.Fatal(err)
	}
	m.ended = make(chan struct{})
	go func(p *exec.Cmd, ended chan struct{}) {
		defer close(ended)
		_ = p.Wait() // its status is of no interest
	}(m.process, m.ended)
	for end := time.Now().Add(20 * time.Second); ; {
		err := m.leads()
		if err == nil {
			return
		}
		select {
		case <-m.ended:
			text, _ := os.ReadFile(filepath.Join(m.dir, "log"))
			m.t.Fatalf("etcd has ended: %s", text[max(0, len(text)-2000):])
		case <-time.After(20 * time.Millisecond):
		}
		if time.Now().After(end) {
			m.t.Fatal(err)
		}
	}
}

// leads reports whether it has made itself leader. It listens sooner, and one that is
// killed in between never comes to anything again.
func (m *member) leads() error {
	res, err := http.Get(m.endpoint + "/health")
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("etcd says that its health is %s", res.Status)
	}
	return nil
}

// stop ends it in good order.
func (m *member) stop() {
	m.signal(syscall.SIGTERM)
	<-m.ended
}

// kill ends it at once, as a crash does.
func (m *member) kill() {
	_ = m.process.Process.Kill() // it may have ended
	<-m.ended
}

func (m *member) pause()  { m.signal(syscall.SIGSTOP) }
func (m *member) resume() { m.signal(syscall.SIGCONT) }

func (m *member) signal(s syscall.Signal) {
	m.t.Helper()
	if err := m.process.Process.Signal(s); err != nil {
		m.t.Fatal(err)
	}
}

// open opens a store of the member.
func (m *member) open(t *testing.T, o etcdstore.Options) *etcdstore.Store {
	t.Helper()
	o.Endpoints = []string{m.endpoint}
	s, err := etcdstore.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func port(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}
