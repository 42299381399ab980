package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"github.com/apoxy-dev/caddy-apoxy/e2e/testnet"
)

func TestMain(m *testing.M) { os.Exit(testnet.Main(m, buildPrograms)) }

// unwatched is the product without the race detector, which takes many times as
// long over 100,000 writes.
const unwatched = "caddy-unwatched"

// buildPrograms compiles the product and the peers that come as Go modules.
// RACE=1 compiles the product with the race detector. Programs that lie in
// the directory E2E_BIN are taken from there.
func buildPrograms(bin string) error {
	race := os.Getenv("RACE") != ""
	for _, program := range []struct {
		name, module, pkg string
		race              bool
		flags             []string
	}{
		{name: "caddy", module: "..", pkg: "./cmd/caddy", race: race},
		{name: unwatched, module: "..", pkg: "./cmd/caddy"},
		{name: "pebble", module: ".", pkg: "github.com/letsencrypt/pebble/v2/cmd/pebble"},
		{name: "etcd", module: ".", pkg: "go.etcd.io/etcd/server/v3"},
		{name: "kubectl", module: ".", pkg: "./kubectl", flags: []string{"-ldflags=-s -w"}},
	} {
		out := filepath.Join(bin, program.name)
		if built := filepath.Join(os.Getenv("E2E_BIN"), program.name); os.Getenv("E2E_BIN") != "" {
			if _, err := os.Stat(built); err == nil {
				if err := os.Symlink(built, out); err != nil {
					return err
				}
				continue
			}
		}
		if program.name == unwatched && !race {
			if err := os.Symlink(filepath.Join(bin, "caddy"), out); err != nil {
				return err
			}
			continue
		}
		if err := testnet.Build(program.module, program.pkg, out, program.race, program.flags...); err != nil {
			return err
		}
	}
	return fetchAxe(bin)
}

// fetchAxe has npm fetch the rules of accessibility that pages are held against, or takes
// them from the directory E2E_BIN.
func fetchAxe(bin string) error {
	const modules = "node_modules"
	if built := filepath.Join(os.Getenv("E2E_BIN"), modules); os.Getenv("E2E_BIN") != "" {
		if _, err := os.Stat(built); err == nil {
			return os.Symlink(built, filepath.Join(bin, modules))
		}
	}
	if err := os.CopyFS(bin, os.DirFS("testdata/axe")); err != nil {
		return err
	}
	out, err := exec.Command("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefix", bin).CombinedOutput()
	if err != nil {
		return fmt.Errorf("fetching axe-core: %w: %s", err, out)
	}
	return nil
}

// sharedNetwork is started by the first test that wants it and ends with the
// process.
var sharedNetwork = sync.OnceValues(testnet.Start)

func network(t *testing.T) *testnet.Network {
	t.Helper()
	n, err := sharedNetwork()
	if err != nil {
		t.Fatal(err)
	}
	return n
}
