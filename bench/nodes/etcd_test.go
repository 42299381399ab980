package nodes

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/apoxy-dev/caddy-apoxy/internal/etcdtest"
	"github.com/apoxy-dev/caddy-apoxy/store/etcdstore"
)

func TestMain(m *testing.M) { etcdtest.Main(m) }

// etcd is one of as many members as it has endpoints.
type etcd struct {
	endpoints []string
	dir       string
	members   []*exec.Cmd
}

// startEtcd starts one with an empty database and waits until all members have a leader.
func startEtcd(b *testing.B, members int) *etcd {
	b.Helper()
	e := &etcd{dir: b.TempDir()}
	var peers, cluster []string
	for i := range members {
		e.endpoints, peers = append(e.endpoints, "http://"+address(b)), append(peers, "http://"+address(b))
		cluster = append(cluster, fmt.Sprintf("m%d=%s", i, peers[i]))
	}
	log, err := os.Create(filepath.Join(e.dir, "log"))
	if err != nil {
		b.Fatal(err)
	}
	defer log.Close()
	for i := range members {
		member := exec.Command(etcdtest.Program(b), "--name", fmt.Sprint("m", i), "--data-dir", e.data(i),
			"--listen-client-urls", e.endpoints[i], "--advertise-client-urls", e.endpoints[i],
			"--listen-peer-urls", peers[i], "--initial-advertise-peer-urls", peers[i], "--initial-cluster", strings.Join(cluster, ","),
			"--quota-backend-bytes", fmt.Sprint(8<<30), "--log-level", "warn")
		member.Stdout, member.Stderr = log, log
		if err := member.Start(); err != nil {
			b.Fatal(err)
		}
		e.members = append(e.members, member)
	}
	b.Cleanup(func() {
		e.kill()
		if text, _ := os.ReadFile(log.Name()); b.Failed() {
			b.Logf("etcd's log ends: %s", text[max(0, len(text)-3000):])
		}
	})
	for _, endpoint := range e.endpoints {
		for limit := time.Now().Add(time.Minute); !healthy(endpoint); time.Sleep(20 * time.Millisecond) {
			if time.Now().After(limit) {
				text, _ := os.ReadFile(log.Name())
				b.Fatalf("etcd at %s has no leader after a minute: %s", endpoint, text[max(0, len(text)-1000):])
			}
		}
	}
	return e
}

func healthy(endpoint string) bool {
	res, err := http.Get(endpoint + "/health")
	if err != nil {
		return false
	}
	defer res.Body.Close()
	return res.StatusCode == http.StatusOK
}

// data is a member's directory.
func (e *etcd) data(member int) string { return filepath.Join(e.dir, fmt.Sprint("data", member)) }

// kill ends all members.
func (e *etcd) kill() {
	for _, member := range e.members {
		_ = member.Process.Kill() // it may have ended
		_ = member.Wait()
	}
	e.members = nil
}

// memory is what the first member has of the machine's memory, in bytes, what it has
// mapped of its file among it.
func (e *etcd) memory(b *testing.B) float64 {
	b.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", e.members[0].Process.Pid))
	if err != nil {
		b.Fatal(err)
	}
	var whole, resident float64
	if _, err := fmt.Sscan(string(text), &whole, &resident); err != nil {
		b.Fatal(err)
	}
	return resident * float64(os.Getpagesize())
}

// open is a node's connection to it.
func (e *etcd) open(b *testing.B) *etcdstore.Store {
	b.Helper()
	s, err := etcdstore.Open(etcdstore.Options{Endpoints: e.endpoints})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = s.Close() })
	return s
}

func address(b *testing.B) string {
	b.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}
