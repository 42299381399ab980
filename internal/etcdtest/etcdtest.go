// Package etcdtest starts real etcds for tests. Their program is compiled once per test
// binary, of the module that the end-to-end tests keep.
package etcdtest

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/apoxy-dev/caddy-apoxy/internal/freeport"
)

// build compiles the program into a directory of its own.
var build = sync.OnceValues(func() (string, error) {
	_, here, _, _ := runtime.Caller(0)
	dir, err := os.MkdirTemp("", "etcdtest-*")
	if err != nil {
		return "", err
	}
	programs = dir
	program := filepath.Join(dir, "etcd")
	cmd := exec.Command("go", "build", "-ldflags=-s -w", "-o", program, "go.etcd.io/etcd/server/v3")
	cmd.Dir = filepath.Join(filepath.Dir(here), "..", "..", "e2e")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building etcd: %w: %s", err, out)
	}
	return program, nil
})

var programs string

// Main runs a package's tests and clears away what Start has built: TestMain calls it.
func Main(m *testing.M) {
	status := m.Run()
	if programs != "" {
		_ = os.RemoveAll(programs) // what is left is in the directory for temporary files
	}
	os.Exit(status)
}

// Program is etcd's, for who starts it otherwise than Start does.
func Program(t testing.TB) string {
	t.Helper()
	program, err := build()
	if err != nil {
		t.Fatal(err)
	}
	return program
}

// attempts is how often a port that was free a moment ago may be another's by the time
// that etcd asks for it.
const attempts = 5

// Start starts an etcd of one member with an empty database, waits until it leads, and
// returns its endpoint. It ends with the test.
func Start(t testing.TB, arguments ...string) (endpoint string) {
	t.Helper()
	program := Program(t)
	var said string
	for range attempts {
		if endpoint, said = start(t, program, arguments); endpoint != "" {
			return endpoint
		}
		if !strings.Contains(said, "address already in use") {
			break
		}
	}
	t.Fatalf("etcd has ended: %s", said[max(0, len(said)-2000):])
	return ""
}

// start is one attempt. It returns what etcd said if it has ended.
func start(t testing.TB, program string, arguments []string) (endpoint, said string) {
	t.Helper()
	dir := t.TempDir()
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	endpoint, peer := "http://"+address(t), "http://"+address(t)
	process := exec.Command(program, append([]string{
		"--data-dir", filepath.Join(dir, "data"), "--listen-client-urls", endpoint, "--advertise-client-urls", endpoint,
		"--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", "default=" + peer, "--unsafe-no-fsync", "--log-level", "warn",
	}, arguments...)...)
	process.Stdout, process.Stderr = log, log
	if err := process.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = process.Wait() // its status is of no interest
	}()
	t.Cleanup(func() {
		_ = process.Process.Kill() // it may have ended
		<-ended
	})
	for limit := time.Now().Add(30 * time.Second); ; {
		err := leads(endpoint)
		if err == nil {
			return endpoint, ""
		}
		select {
		case <-ended:
			text, _ := os.ReadFile(log.Name())
			return "", string(text)
		case <-time.After(20 * time.Millisecond):
		}
		if time.Now().After(limit) {
			t.Fatal(err)
		}
	}
}

// leads reports whether the member has made itself leader: it listens sooner.
func leads(endpoint string) error {
	res, err := http.Get(endpoint + "/health")
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("etcd says that its health is %s", res.Status)
	}
	return nil
}

func address(t testing.TB) string { return freeport.Address(t) }
