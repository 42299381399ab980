package e2e

import (
	"os"
	"testing"
	"time"

	"github.com/apoxy-dev/caddy-apoxy/e2e/testnet"
)

const (
	// soakLength is how long the soak lasts, about, unless SOAK says otherwise.
	soakLength = 5 * time.Minute
	// soakLifetime is that of its certificates, which are renewed all the while.
	soakLifetime = 90 * time.Second
	// soakResidents are hostnames that are proven throughout.
	soakResidents = 6
)

// Everything at once: records come and go, customers move in and withdraw, 90 second
// certificates are renewed, visitors visit, resolvers ask, the configuration is loaded
// again and the process killed. No acknowledged write is lost, no visitor of a proven
// hostname fails, and memory and goroutines are in the end what they were in the middle.
// SOAK=1h makes it longer.
func TestSoak(t *testing.T) {
	length := soakLength
	if text := os.Getenv("SOAK"); text != "" {
		var err error
		if length, err = time.ParseDuration(text); err != nil {
			t.Fatalf("SOAK: %v; give a duration such as 1h", err)
		}
	}
	n := network(t)
	short, err := testnet.StartCA("127.0.0.66", soakLifetime)
	if err != nil {
		t.Fatal(err)
	}
	migrateConnections(t)
	s := &soak{n: n, p: start(t, n, settings{ca: short, detachAfter: 4 * time.Second, program: unwatched}), errs: make(chan error, 1)}
	s.settle(t)

	lap := length / 3
	s.lap(t, "with kills", lap, 3)
	s.lap(t, "without kills", lap, 0)
	middle := s.vitals(t)
	s.lap(t, "once more", lap, 0)
	end := s.vitals(t)
	t.Logf("in the middle: %v; at the end: %v", middle, end)
	if most := middle.goroutines + 10; end.goroutines > most {
		t.Errorf("%d goroutines at the end, want at most %d: it had %d in the middle", end.goroutines, most, middle.goroutines)
	}
	if most := middle.heap + middle.heap/10 + 4<<20; end.heap > most {
		t.Errorf("%d MiB of live heap at the end, want at most %d: it had %d in the middle", end.heap>>20, most>>20, middle.heap>>20)
	}
}

// migrateConnections has the kernel hand the connections of a listener that is closed to
// the next one, as docs/cluster.md advises who loads configurations under load.
func migrateConnections(t *testing.T) {
	t.Helper()
	const setting = "/proc/sys/net/ipv4/tcp_migrate_req"
	if err := os.WriteFile(setting, []byte("1"), 0o644); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.WriteFile(setting, []byte("0"), 0o644); err != nil {
			t.Error(err)
		}
	})
}
