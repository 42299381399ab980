package house

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// The small agent is for small machines: what it links is its own to choose.
func TestTheSmallAgentIsSmall(t *testing.T) {
	const most = 15 << 20
	out, err := exec.CommandContext(t.Context(), "go", "list", "-C", root, "-deps", "./cmd/apoxy-tunnel").Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, barred := range []string{"github.com/caddyserver/", "k8s.io/", "go.uber.org/", "github.com/prometheus/"} {
		if strings.Contains(string(out), "\n"+barred) {
			t.Errorf("apoxy-tunnel links %s…: it is for machines that have no room for it", barred)
		}
	}
	file := filepath.Join(t.TempDir(), "apoxy-tunnel")
	build := exec.CommandContext(t.Context(), "go", "build", "-C", root, "-trimpath", "-ldflags=-s -w", "-o", file, "./cmd/apoxy-tunnel")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if said, err := build.CombinedOutput(); err != nil {
		t.Fatalf("building apoxy-tunnel: %v: %s", err, said)
	}
	info, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	if info.Size() > most {
		t.Errorf("apoxy-tunnel has %d bytes, want at most %d", info.Size(), most)
	}
}
