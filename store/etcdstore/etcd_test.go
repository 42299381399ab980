package etcdstore_test

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/apoxy-dev/caddy-apoxy/internal/etcdtest"
	"github.com/apoxy-dev/caddy-apoxy/internal/freeport"

	"github.com/apoxy-dev/caddy-apoxy/store/etcdstore"
)

func TestMain(m *testing.M) { etcdtest.Main(m) }

// member is a member of an etcd.
type member struct {
	t         *testing.T
	dir       string
	endpoint  string
	name      string
	peer      string
	cluster   string // of all members, as --initial-cluster
	arguments []string
	process   *exec.Cmd
	ended     chan struct{}
}

// newMember starts an etcd of one member with an empty database.
func newMember(t *testing.T, arguments ...string) *member {
	t.Helper()
	return newCluster(t, 1, arguments...)[0]
}

// newCluster starts an etcd of several members with empty databases.
func newCluster(t *testing.T, n int, arguments ...string) []*member {
	t.Helper()
	var members []*member
	var cluster []string
	for i := range n {
		m := &member{t: t, dir: t.TempDir(), endpoint: "http://" + port(t), name: fmt.Sprint("m", i), peer: "http://" + port(t), arguments: arguments}
		members = append(members, m)
		cluster = append(cluster, m.name+"="+m.peer)
	}
	for _, m := range members {
		m.cluster = strings.Join(cluster, ",")
		m.spawn()
		t.Cleanup(m.kill)
	}
	for _, m := range members {
		m.wait()
	}
	return members
}

func (m *member) start() {
	m.t.Helper()
	m.spawn()
	m.wait()
}

func (m *member) spawn() {
	m.t.Helper()
	log, err := os.OpenFile(filepath.Join(m.dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		m.t.Fatal(err)
	}
	defer log.Close()
	m.process = exec.Command(etcdtest.Program(m.t), append([]string{
		"--name", m.name, "--data-dir", filepath.Join(m.dir, "data"), "--listen-client-urls", m.endpoint, "--advertise-client-urls", m.endpoint,
		"--listen-peer-urls", m.peer, "--initial-advertise-peer-urls", m.peer, "--initial-cluster", m.cluster, "--unsafe-no-fsync", "--log-level", "warn",
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
}

// wait returns once the member answers.
func (m *member) wait() {
	m.t.Helper()
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

// leads reports whether it knows a leader. It listens sooner, and one that is
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

// pause stops it where it is, and returns once no thread of it runs any more.
func (m *member) pause() {
	m.t.Helper()
	m.signal(syscall.SIGSTOP)
	until(m.t, "etcd to stop", func() bool {
		threads, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", m.process.Process.Pid))
		for _, thread := range threads {
			if text, err := os.ReadFile(thread); err == nil && !strings.Contains(string(text), ") T ") {
				return false
			}
		}
		return true
	})
}

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
	return open(t, o)
}

// open opens a store and closes it at the end of the test.
func open(t *testing.T, o etcdstore.Options) *etcdstore.Store {
	t.Helper()
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

func port(t *testing.T) string { return freeport.Address(t) }
